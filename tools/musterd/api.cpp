#include "tools/musterd/api.hpp"

#include <spdlog/spdlog.h>

#include "engine/core/revision.hpp"
#include "storage/base/ids.hpp"
#include "tools/musterd/access.hpp"
#include "tools/musterd/api_base.hpp"
#include "tools/musterd/api_inside.hpp"
#include "tools/musterd/exec_sessions.hpp"
#include "tools/musterd/problem.hpp"
#include "tools/musterd/revision.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kMaxCorrelation = 64;  // An Idempotency-Key's 36, unless it is none.
constexpr std::size_t kMaxLoggedPath = 256;

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

/// The route's pattern; "" for an address that is not served.
std::string pattern_of(const Router& router, Request& request) {
  const auto route = router.find(request);
  return route ? (*route)->pattern : "";
}

Response no_route(const Error& why) {
  if (why.code != Errc::refused) return problem(why);
  Response response = problem(kMethodNotAllowed, Errc::refused, "allowed here: " + why.message);
  response.headers.emplace_back("Allow", why.message);
  return response;
}

bool reads(const Request& request) {
  return request.method == "GET" || request.method == "HEAD";
}

Response answer(const ApiContext& api, const Route& route, const Gate& gate, Request& request) {
  if (auto reaches = gate.reaches(request, route.pattern); !reaches)
    return reaches.error().code == Errc::refused
               ? problem(kForbidden, Errc::refused, reaches.error().message)
               : problem(reaches.error());
  if (request.method == "POST")
    if (auto key = check_key(request.header("Idempotency-Key")); !key) return problem(key.error());
  if (!reads(request))
    if (auto refused = check_precondition(request, route.pattern)) return std::move(*refused);
  // Read before what is told: a revision that is too old costs a reader another request, one that
  // is too new would hide a change from it.
  const std::string revision =
      reads(request) ? revision_to_tell(api, request, route.pattern) : std::string();
  if (!revision.empty() && names_revision(request.header("If-None-Match"), revision))
    return not_modified(revision);
  auto response = route.handler(request);
  if (!response)
    if (const auto revision_now = engine::is_outdated(response.error()))
      return precondition_failed(*revision_now);
  if (!response) return problem(response.error());
  if (!revision.empty() && response->status == 200)
    response->headers.emplace_back("ETag", '"' + revision + '"');
  return std::move(*response);
}

/// Writes, and what only admins may read. A refusal was noted where it was made.
bool is_noted(const Request& request, const Route& route) {
  return !reads(request) || access_of(request.method, route.pattern).role == Role::admin;
}

}  // namespace

Api::Api(ApiParts parts)
    : parts_(std::move(parts)),
      view_(parts_.engine, parts_.org),
      gate_(parts_.identify, parts_.audit, view_, parts_.org),
      execs_(std::make_unique<ExecSessions>()) {
  const ApiContext context{parts_, view_, lists_, rows_};
  add_fleet_routes(router_, context);
  add_swarm_routes(router_, context);
  add_run_routes(router_, context);
  add_snapshot_routes(router_, context);
  add_exec_routes(router_, context, *execs_);
  add_pull_routes(router_, context);
  add_host_routes(router_, context);
  add_system_routes(router_, context);
  add_actor_routes(router_, context);
  add_engine_routes(router_, context);
  add_operation_routes(router_, context);
  add_move_routes(router_, context);
  add_watch_routes(router_, context);
  if (parts_.limits != nullptr) add_limits_routes(router_, context);
  if (parts_.audit_log != nullptr) {
    add_audit_routes(router_, context);
    add_admin_routes(router_, context);
  }
}

Api::~Api() = default;

std::optional<Response> Api::admit(Request& request) const {
  const engine::Stopwatch watch;
  const std::string pattern = pattern_of(router_, request);
  request.trace = trace_of(request.header("traceparent"), request.header("Idempotency-Key"));
  auto refused = gate_.admit(request, pattern);
  if (refused) finish(request, pattern, *refused, watch);
  return refused;
}

Response Api::handle(Request& request) const {
  const engine::Stopwatch watch;
  const LogContext context(request.header("Idempotency-Key").substr(0, kMaxCorrelation),
                           request.trace.trace_id);
  const auto route = router_.find(request);
  Response response;
  try {
    response =
        route ? answer({parts_, view_, lists_, rows_}, **route, gate_, request) : no_route(route.error());
  } catch (const std::exception& broken) {
    response = problem({Errc::internal, broken.what()});
  }
  if (response.stream) response.stream = gate_.guard(std::move(response.stream), request);
  if (route && is_noted(request, **route))
    gate_.note(request, (*route)->pattern, std::to_string(response.status), "");
  finish(request, route ? (*route)->pattern : "", response, watch);
  return response;
}

/// What is known of an answered request goes to the metrics, the log and the collector.
void Api::finish(const Request& request, const std::string& pattern, Response& response,
                 const engine::Stopwatch& watch) const {
  const std::uint64_t us = watch.us();
  const std::string route = pattern.empty() ? "none" : pattern;
  constexpr double kMicrosecond = 1e-6;
  parts_.metrics.count_request(request.method, route, response.status,
                               static_cast<double>(us) * kMicrosecond);
  response.headers.emplace_back("traceparent", request.trace.traceparent());
  spdlog::log(reads(request) ? spdlog::level::debug : spdlog::level::info,
              "{} {} {} for {} in {} us", request.method.substr(0, 16),
              request.path.substr(0, kMaxLoggedPath), response.status,
              request.who.name.empty() ? request.peer.address : request.who.name, us);
  if (parts_.traces == nullptr || !request.trace.sampled) return;
  Span span;
  span.trace_id = request.trace.trace_id;
  span.span_id = request.trace.span;
  span.parent = request.trace.parent;
  span.name = request.method.substr(0, 16) + " " + route;
  span.server = true;
  span.end = wall_clock_now();
  span.begin = span.end - Duration{static_cast<std::int64_t>(us / 1000)};
  span.failed = response.status >= 500;
  span.attributes = {{"http.request.method", request.method.substr(0, 16)},
                     {"http.route", route},
                     {"http.response.status_code", std::to_string(response.status)},
                     {kCorrelation, std::string(LogContext::correlation())}};
  parts_.traces->add(std::move(span));
}

std::size_t Api::body_limit(Request& request) const {
  const auto route = router_.find(request);
  return route ? (*route)->body_limit : kMaxBody;  // What has no route is answered, not measured.
}

bool Api::urgent(Request& request) const {
  return is_urgent(request.method, pattern_of(router_, request));
}

}  // namespace muster::musterd
