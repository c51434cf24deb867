#include "tools/musterd/api.hpp"

#include <condition_variable>
#include <mutex>

#include "storage/base/ids.hpp"
#include "tools/musterd/api_base.hpp"
#include "tools/musterd/api_inside.hpp"
#include "tools/musterd/cursor.hpp"
#include "tools/musterd/problem.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kMaxShortText = 4096;

/// The reply of one call, waited for by a worker and given by the engine, in either order.
struct PendingReply {
  std::mutex mutex;
  std::condition_variable given;
  std::optional<Result<std::string>> reply;
};

Result<void> check_key(const std::string& key) {
  if (key.empty())
    return fail(
        Errc::invalid,
        "an Idempotency-Key header is required: a UUIDv7, new for every request and the same "
        "when it is repeated");
  if (!uuid_v7_time(key))
    return fail(Errc::invalid, "the Idempotency-Key '" + key + "' is not a UUIDv7");
  return {};
}

Response answer(const Router& router, Request& request, std::string& pattern) {
  auto route = router.find(request);
  if (!route && route.error().code == Errc::refused) {
    Response response =
        problem(kMethodNotAllowed, Errc::refused, "allowed here: " + route.error().message);
    response.headers.emplace_back("Allow", route.error().message);
    return response;
  }
  if (!route) return problem(route.error());
  pattern = (*route)->pattern;
  if (request.method == "POST")
    if (auto key = check_key(request.header("Idempotency-Key")); !key) return problem(key.error());
  auto response = (*route)->handler(request);
  if (response) return std::move(*response);
  return problem(response.error());
}

}  // namespace

Api::Api(ApiParts parts) : parts_(std::move(parts)), view_(parts_.engine, parts_.org) {
  const ApiContext context{parts_, view_};
  add_fleet_routes(router_, context);
  add_run_routes(router_, context);
  add_pull_routes(router_, context);
  add_host_routes(router_, context);
  add_system_routes(router_, context);
  add_actor_routes(router_, context);
  add_engine_routes(router_, context);
  add_operation_routes(router_, context);
  add_watch_routes(router_, context);
}

Response Api::handle(Request& request) const {
  std::string pattern = "none";
  Response response;
  try {
    response = answer(router_, request, pattern);
  } catch (const std::exception& broken) {
    response = problem({Errc::internal, broken.what()});
  }
  parts_.metrics.count_request(request.method, pattern, response.status);
  return response;
}

std::size_t Api::body_limit(Request& request) const {
  const auto route = router_.find(request);
  return route ? (*route)->body_limit : kMaxBody;  // What has no route is answered, not measured.
}

// ---- what handlers share ----

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
  return Page{std::move(*after), static_cast<std::size_t>(*limit)};
}

Json PageFill::next() const {
  return more_ ? Json(encode_cursor(last_)) : Json(nullptr);
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

}  // namespace muster::musterd
