// Blobs, events, health, metrics, and the API's own description
#include "storage/base/ids.hpp"
#include "tools/musterd/api_base.hpp"

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
  if (!known)
    if (auto put = api.parts.blobs.put(*digest, request.body); !put)
      return tl::unexpected<Error>(put.error());
  return json_response({{"sha256", *digest}, {"bytes", request.body.size()}}, known ? 200 : 201);
}

Result<Response> head_blob(const ApiContext& api, const Request& request) {
  const auto digest = digest_of(request);
  if (!digest) return tl::unexpected<Error>(digest.error());
  if (!api.parts.blobs.has(*digest)) return fail(Errc::not_found, "no blob " + *digest);
  Response response;
  response.content_type = "application/octet-stream";
  return response;
}

Result<Response> events(const ApiContext& api, const Request& request) {
  const std::string last = request.header("Last-Event-ID");
  engine::Sequence position = api.parts.events.last();
  if (!last.empty()) {
    if (last.size() >= 20 || last.find_first_not_of("0123456789") != std::string::npos)
      return fail(Errc::invalid, "Last-Event-ID must be the id of an event");
    position = std::stoull(last);
  }
  Response response;
  response.content_type = "text/event-stream";
  response.stream = make_event_stream(api.parts.events, position);
  return response;
}

Result<Response> live(const Request&) {
  return json_response({{"status", "live"}});
}

Result<Response> ready(const ApiContext& api, const Request&) {
  const std::vector<std::string> why = api.parts.not_ready();
  if (why.empty()) return json_response({{"status", "ready"}});
  return json_response({{"status", "not ready"}, {"why", why}}, 503);
}

Result<Response> metrics(const ApiContext& api, const Request&) {
  Metrics::Now now;
  for (const fbs::RunState state : fbs::EnumValuesRunState())
    now.runs[std::string(name_of(state))] = 0;
  std::size_t fleets = 0;
  const auto listed = api.view.each_fleet("", [&](const std::string& name) {
    const auto head = api.view.fleet(name);
    if (!head) return true;
    for (const fbs::RunState state : fbs::EnumValuesRunState())
      if (const auto index = static_cast<std::size_t>(state); index < head->counts.size())
        now.runs[std::string(name_of(state))] += head->counts[index];
    return ++fleets < kMaxScanned;
  });
  now.engine_in_trouble = !listed || !api.parts.engine.trouble().empty();
  now.connections = api.parts.connections();
  now.messages = api.parts.events.last();
  Response response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = api.parts.metrics.scrape(now);
  return response;
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
  router.add({"GET", "/healthz/live", live, 0});
  router.add({"GET", "/healthz/ready", with(ready), 0});
  router.add({"GET", "/metrics", with(metrics), 0});
  router.add({"GET", "/v1/openapi.yaml", openapi, 0});
}

}  // namespace muster::musterd
