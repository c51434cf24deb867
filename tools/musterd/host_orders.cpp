#include "tools/musterd/host_orders.hpp"

#include <condition_variable>
#include <mutex>

namespace muster::musterd {
namespace {

/// The answer of one order, waited for here and given by the link, in either order.
struct PendingOrder {
  std::mutex mutex;
  std::condition_variable given;
  std::optional<wire::ExecEndT> end;
};

Errc code_named(const std::string& name) {
  for (int code = 0; code <= static_cast<int>(Errc::key_reused); ++code)
    if (name == to_string(static_cast<Errc>(code))) return static_cast<Errc>(code);
  return name == "host_lost" ? Errc::unreachable : Errc::internal;
}

Result<Json> read_answer(const std::string& host, const wire::ExecEndT& end) {
  if (end.reason == storage::kKnowsNoOrders)
    return fail(Errc::refused, "the sandboxd of host " + host + " is older than snapshots: upgrade it");
  if (end.exit_code != 0 || !end.reason.empty())
    return fail(code_named(end.reason), "host " + host + ": " + end.message);
  Json answer = Json::parse(end.message, nullptr, false);
  if (answer.is_discarded()) return fail(Errc::corrupt, "host " + host + " gave no answer that can be read");
  return answer;
}

std::string text_in(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::int64_t number_in(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

}  // namespace

Result<Json> order_host(actors::ExecPort& hosts, const actors::ExecPlace& place,
                        const storage::HostOrder& order, Duration limit) {
  auto pending = std::make_shared<PendingOrder>();
  auto sink = std::make_shared<actors::ExecSink>();
  sink->credit = [](std::uint64_t) {};
  sink->output = [](std::uint8_t, const std::string&) {};
  sink->ended = [pending](wire::ExecEndT end) {
    const std::lock_guard lock(pending->mutex);
    pending->end = std::move(end);
    pending->given.notify_all();
  };
  const auto number = hosts.open(place, storage::to_exec(order), std::move(sink));
  if (!number) return tl::unexpected<Error>(number.error());
  std::unique_lock lock(pending->mutex);
  if (pending->given.wait_for(lock, limit, [&] { return pending->end.has_value(); }))
    return read_answer(place.host, *pending->end);
  lock.unlock();
  hosts.abandon(*number);
  return fail(Errc::timed_out, "host " + place.host + " has not answered yet");
}

std::optional<Json> snapshot_json(const Json& said, const std::string& host, const std::string& run) {
  if (!said.is_object()) return std::nullopt;
  const std::string of = text_in(said, "run");
  if (text_in(said, "id").empty() || of.empty() || (!run.empty() && of != run)) return std::nullopt;
  return Json{{"id", text_in(said, "id")},
              {"run", of},
              {"attempt", number_in(said, "attempt")},
              {"name", text_in(said, "name")},
              {"host", host},
              {"repository", text_in(said, "repository")},
              {"base_sha", text_in(said, "base_sha")},
              {"bytes", number_in(said, "bytes")},
              {"created_at", time_json(number_in(said, "created_unix_ms"))}};
}

}  // namespace muster::musterd
