// Blobs, events, health, metrics, and the API's own description
#include <algorithm>

#include "actors/indexes.hpp"
#include "storage/base/ids.hpp"
#include "tools/musterd/api_base.hpp"
#include "tools/musterd/sse.hpp"

namespace muster::musterd {
namespace {

Result<std::string> digest_of(const Request& request) {
  const std::string& digest = request.params.at("sha256");
  if (!is_sha256_hex(digest))
    return fail(Errc::invalid,
                "a blob's name is the SHA-256 of its bytes: 64 lower-case hexadecimal "
                "digits");
  return digest;
}

Result<Response> put_blob(const ApiContext& api, const Request& request) {
  const auto digest = digest_of(request);
  if (!digest) return tl::unexpected<Error>(digest.error());
  const bool known = api.parts.blobs.has(*digest);
  if (auto put = api.parts.blobs.put(*digest, request.body); !put)
    return tl::unexpected<Error>(put.error());
  return json_response({{"sha256", *digest}, {"bytes", request.body.size()}}, known ? 200 : 201);
}

Result<Response> head_blob(const ApiContext& api, const Request& request) {
  const auto digest = digest_of(request);
  if (!digest) return tl::unexpected<Error>(digest.error());
  if (!api.parts.blobs.touch(*digest)) return fail(Errc::not_found, "no blob " + *digest);
  Response response;
  response.content_type = "application/octet-stream";
  return response;
}

Result<Response> events(const ApiContext& api, const Request& request) {
  const auto position = last_event_id(request, api.parts.events.last());
  if (!position) return tl::unexpected<Error>(position.error());
  return event_response(api.parts.events, *position,
                        {request.parameter("kind"), request.parameter("key")});
}

Result<Response> live(const Request&) {
  return json_response({{"status", "live"}});
}

Result<Response> ready(const ApiContext& api, const Request&) {
  const std::vector<std::string> why = api.parts.not_ready();
  if (why.empty()) return json_response({{"status", "ready"}});
  return json_response({{"status", "not ready"}, {"why", why}}, 503);
}

/// Fleets, and what their heads count of their runs.
bool count_fleets(const ApiContext& api, Metrics::Now& now) {
  for (const fbs::RunState state : fbs::EnumValuesRunState())
    now.runs[std::string(name_of(state))] = 0;
  for (const fbs::FleetState state : fbs::EnumValuesFleetState())
    now.fleets[std::string(name_of(state))] = 0;
  std::size_t fleets = 0;
  const auto listed = api.view.each_fleet("", [&](const std::string& name) {
    const auto head = api.view.fleet(name);
    if (!head) return true;
    ++now.fleets[std::string(name_of(head->state))];
    for (const fbs::RunState state : fbs::EnumValuesRunState())
      if (const auto index = static_cast<std::size_t>(state); index < head->counts.size())
        now.runs[std::string(name_of(state))] += head->counts[index];
    for (const fbs::FailureClass failure : fbs::EnumValuesFailureClass())
      if (const auto index = static_cast<std::size_t>(failure);
          failure != fbs::FailureClass::none && index < head->failed_by_class.size())
        now.failed_runs[std::string(name_of(failure))] += head->failed_by_class[index];
    return ++fleets < kMaxScanned;
  });
  return listed.has_value();
}

/// Queued runs by what the scheduler says of them.
void count_queue(const ApiContext& api, Metrics::Now& now) {
  if (!api.parts.cause_queued) return;
  const Instant present = api.view.now();
  std::size_t runs = 0;
  const auto listed =
      api.parts.engine.list(actors::index::kQueued, "", "\xff",
                            [&](std::string_view, const engine::ActorId&, std::string_view value) {
                              const auto queued = engine::decode_table<fbs::QueuedRunT>(value);
                              if (!queued) return true;
                              const std::string cause = api.parts.cause_queued(queued->run);
                              const Duration waited = present - Instant{queued->queued_unix_ms};
                              ++now.queued_by_cause[cause];
                              Duration& longest = now.longest_wait_by_cause[cause];
                              longest = std::max(longest, waited);
                              return ++runs < kMaxScanned;
                            });
  (void)listed;  // A read that fails shows as trouble already.
}

void count_hosts(const ApiContext& api, Metrics::Now& now) {
  for (const fbs::HostState state : fbs::EnumValuesHostState())
    now.hosts[std::string(name_of(state))] = 0;
  const auto listed = api.view.each_host([&](const std::string& name) {
    const auto head = api.view.host(name);
    if (!head) return true;
    ++now.hosts[std::string(name_of(head->state))];
    now.slots += head->slots;
    now.used_slots += head->used.size();
    const auto lease = api.parts.lease ? api.parts.lease(name) : std::nullopt;
    if (!lease || !lease->pool) return true;
    now.warm_waiting += lease->pool->waiting;
    now.warm_making += lease->pool->making;
    now.warm_max += lease->pool->max;
    return true;
  });
  (void)listed;  // A read that fails shows as trouble already.
}

Result<Response> metrics(const ApiContext& api, const Request&) {
  Metrics::Now now;
  now.engine_in_trouble = !count_fleets(api, now) || !api.parts.engine.trouble().empty();
  count_queue(api, now);
  count_hosts(api, now);
  now.connections = api.parts.connections();
  now.shards = api.parts.engine.stats();
  for (const engine::ShardStats& shard : now.shards) now.messages += shard.position;
  now.log_bytes = api.parts.logs.taken_bytes();
  if (api.parts.free_bytes) now.data_free_bytes = api.parts.free_bytes();
  if (api.parts.retention) now.retention = api.parts.retention();
  if (api.parts.audit_log != nullptr) {
    now.audit_in_trouble = !api.parts.audit_log->trouble().empty();
    const auto head = api.parts.audit_log->head();
    now.audit_entries = head ? head->number : 0;
  }
  if (api.parts.traces != nullptr) {
    now.traces_sent = api.parts.traces->sent();
    now.traces_dropped = api.parts.traces->dropped();
  }
  Response response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = api.parts.metrics.scrape(now);
  return response;
}

Result<Response> whoami(const Request& request) {
  const Identity& who = request.who;
  return json_response({{"name", who.name},
                        {"how", who.how},
                        {"role", name_of(who.role)},
                        {"orgs", who.scope.orgs},
                        {"fleets", who.scope.fleets}});
}

Result<Response> openapi(const Request&) {
  Response response;
  response.content_type = "application/yaml";
  response.body = std::string(openapi_text());
  return response;
}

}  // namespace

void add_system_routes(Router& router, ApiContext api) {
  const auto with = [api](auto handler) {
    return [api, handler](const Request& request) { return handler(api, request); };
  };
  router.add({"PUT", "/v1/blobs/{sha256}", with(put_blob), kMaxBlob});
  router.add({"HEAD", "/v1/blobs/{sha256}", with(head_blob), 0});
  router.add({"GET", "/v1/events", with(events), 0});
  router.add({"GET", "/v1/whoami", whoami, 0});
  router.add({"GET", "/healthz/live", live, 0});
  router.add({"GET", "/healthz/ready", with(ready), 0});
  router.add({"GET", "/metrics", with(metrics), 0});
  router.add({"GET", "/v1/openapi.yaml", openapi, 0});
}

}  // namespace muster::musterd
