#include "tools/musterd/api_base.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "storage/base/ids.hpp"
#include "tools/musterd/cursor.hpp"
#include "tools/musterd/revision.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kMaxShortText = 4096;

// A cursor that names its list begins so; no key of a list does.
constexpr std::string_view kListMark = "\x01list ";
constexpr char kListEnd = ' ';

/// The reply of one call, waited for by a worker and given by the engine, in either order.
struct PendingReply {
  std::mutex mutex;
  std::condition_variable given;
  std::optional<Result<std::string>> reply;
};

}  // namespace

Response json_response(const Json& json, int status) {
  Response response;
  response.status = status;
  response.body = to_text(json);
  return response;
}

Result<Json> read_object(const Request& request, std::initializer_list<std::string_view> keys) {
  if (request.body.empty()) return Json::object();
  Json json = Json::parse(request.body, nullptr, false);
  if (json.is_discarded()) return fail(Errc::invalid, "the body is not JSON");
  if (!json.is_object()) return fail(Errc::invalid, "the body must be a JSON object");
  for (const auto& [key, value] : json.items())
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      return fail(Errc::invalid, "unknown key '" + key + "' in the body");
  return json;
}

Result<std::string> read_text(const Json& object, std::string_view key) {
  const auto found = object.find(std::string(key));
  if (found == object.end() || found->is_null()) return std::string();
  if (!found->is_string()) return fail(Errc::invalid, "'" + std::string(key) + "' must be text");
  auto text = found->get<std::string>();
  if (text.size() > kMaxShortText)
    return fail(Errc::invalid, "'" + std::string(key) + "' is longer than 4 KiB");
  return text;
}

Result<bool> read_flag(const Json& object, std::string_view key) {
  const auto found = object.find(std::string(key));
  if (found == object.end()) return false;
  if (!found->is_boolean())
    return fail(Errc::invalid, "'" + std::string(key) + "' must be true or false");
  return found->get<bool>();
}

Result<std::optional<Instant>> read_since(const Request& request) {
  const std::string text = request.parameter("since");
  if (text.empty()) return std::optional<Instant>{};
  if (const auto time = parse_rfc3339(text)) return std::optional<Instant>{*time};
  const auto back = parse_duration(text);
  if (!back)
    return fail(Errc::invalid,
                "since=" + text + " is neither a time (RFC 3339) nor a duration (10m)");
  return std::optional<Instant>{wall_clock_now() - *back};
}

Result<std::string> read_by(const Json& object, const Request& request) {
  auto by = read_text(object, "by");
  if (!by) return by;
  return request.who.may_name_others && !by->empty() ? by : request.who.name;
}

Result<OrderWords> read_order(const Request& request) {
  const auto body = read_object(request, {"reason", "by"});
  if (!body) return tl::unexpected<Error>(body.error());
  auto reason = read_text(*body, "reason");
  if (!reason) return tl::unexpected<Error>(reason.error());
  auto by = read_by(*body, request);
  if (!by) return tl::unexpected<Error>(by.error());
  return OrderWords{std::move(*reason), std::move(*by)};
}

Result<void> note_order(const ApiContext& api, const Request& request, const OrderNote& note) {
  if (api.parts.audit_log == nullptr) return {};
  return api.parts.audit_log->note_now({note.by, request.who.how, request.peer.address, note.action,
                                        note.target, "asked", note.reason,
                                        request.header("Idempotency-Key")});
}

Result<std::uint64_t> read_number(const Request& request, std::string_view name,
                                  std::uint64_t absent, std::uint64_t max) {
  const std::string text = request.parameter(name);
  if (text.empty()) return absent;
  const bool digits = text.size() < 20 && text.find_first_not_of("0123456789") == std::string::npos;
  const std::uint64_t value = digits ? std::stoull(text) : 0;
  if (!digits || value > max)
    return fail(Errc::invalid,
                std::string(name) + "=" + text + " is not a number up to " + std::to_string(max));
  return value;
}

Result<Page> read_page(const Request& request) {
  auto after = decode_cursor(request.parameter("cursor"));
  if (!after) return tl::unexpected<Error>(after.error());
  auto limit = read_number(request, "limit", kDefaultPage, kMaxPage);
  if (!limit) return tl::unexpected<Error>(limit.error());
  if (*limit == 0) return fail(Errc::invalid, "limit must be at least 1");
  Page page{std::move(*after), static_cast<std::size_t>(*limit), ""};
  if (page.after.starts_with(kListMark)) {
    const std::size_t end = page.after.find(kListEnd, kListMark.size());
    if (end == std::string::npos) return fail(Errc::invalid, "not a cursor of this API");
    page.list = page.after.substr(kListMark.size(), end - kListMark.size());
    page.after.erase(0, end + 1);
  }
  return page;
}

Json PageFill::next(const std::string& list) const {
  if (!more_) return nullptr;
  return encode_cursor(list.empty() ? last_ : std::string(kListMark) + list + kListEnd + last_);
}

Result<std::string> call_actor(const ApiContext& api, const Request& request, engine::ActorId to,
                               engine::Payload payload, engine::Lane lane) {
  engine::Call call;
  call.to = std::move(to);
  call.payload = std::move(payload);
  call.lane = lane;
  call.key = request.header("Idempotency-Key");
  call.digest = sha256_hex(request.method + "\n" + request.path + "\n" + request.body);
  call.correlation = call.key;
  put_precondition(request, call);
  auto pending = std::make_shared<PendingReply>();
  api.parts.engine.call(std::move(call), [pending](Result<std::string> reply) {
    const std::lock_guard lock(pending->mutex);
    pending->reply = std::move(reply);
    pending->given.notify_all();
  });
  std::unique_lock lock(pending->mutex);
  if (!pending->given.wait_for(lock, kCallLimit, [&] { return pending->reply.has_value(); }))
    return fail(Errc::timed_out, "the engine did not answer within 30s");
  return std::move(*pending->reply);
}

std::string state_parameter(const Request& request) {
  const std::string state = request.parameter("state");
  return state.empty() ? request.parameter("status") : state;
}

bool CommonFilter::takes(std::int64_t changed_unix_ms,
                         std::initializer_list<std::string_view> fields) const {
  if (since && changed_unix_ms < since->unix_ms) return false;
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  };
  return text.empty() || std::any_of(fields.begin(), fields.end(), [&](std::string_view field) {
           return std::search(field.begin(), field.end(), text.begin(), text.end(), same) !=
                  field.end();
         });
}

Result<CommonFilter> read_common_filter(const Request& request) {
  auto since = read_since(request);
  if (!since) return tl::unexpected<Error>(since.error());
  return CommonFilter{*since, request.parameter("text")};
}

}  // namespace muster::musterd
