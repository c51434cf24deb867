// /v1/hosts
#include "tools/musterd/api_base.hpp"
#include "tools/musterd/list_stream.hpp"

namespace muster::musterd {
namespace {

/// What a host made ahead, as its last heartbeat said; null when it has no warm pool or is not connected.
std::shared_ptr<const actors::HostPool> pool_of(const ApiContext& api, const std::string& host) {
  const auto lease = api.parts.lease ? api.parts.lease(host) : std::nullopt;
  return lease ? lease->pool : nullptr;
}

Json pool_json(const std::shared_ptr<const actors::HostPool>& pool) {
  if (!pool) return nullptr;
  return {{"max", pool->max},
          {"waiting", pool->waiting},
          {"making", pool->making},
          {"hits", pool->hits},
          {"misses", pool->misses}};
}

/// A host with its pool's counts.
Json host_row(const ApiContext& api, const fbs::HostHeadT& head) {
  Json json = host_json(head);
  json["warm_pool"] = pool_json(pool_of(api, head.name));
  return json;
}

Result<Response> list_hosts(const ApiContext& api, const Request& request) {
  const std::string state = state_parameter(request);
  if (auto known = check_name("state", state, fbs::EnumValuesHostState()); !known)
    return tl::unexpected<Error>(known.error());
  const auto common = read_common_filter(request);
  if (!common) return tl::unexpected<Error>(common.error());
  const auto takes = [state, common = *common](const fbs::HostHeadT& head) {
    return (state.empty() || state == name_of(head.state)) &&
           common.takes(head.changed_unix_ms, {head.name, head.version});
  };
  if (wants_events(request))
    return list_stream(api, request, "host", [api, takes](const engine::ActorId& id) {
      const auto head = api.view.host(id.key);
      if (!head) return ListItem::left("name", id.key);  // It was removed.
      if (!takes(*head)) return ListItem::left("name", id.key);
      return ListItem::shown(host_row(api, *head));
    });
  const auto page = read_page(request);
  if (!page) return tl::unexpected<Error>(page.error());
  const engine::Sequence position = api.parts.events.last();
  PageFill fill(*page);
  Result<void> read{};
  const auto listed = api.view.each_host([&](const std::string& name) {
    if (name <= page->after && !page->after.empty()) return true;
    if (!fill.room()) return false;
    const auto head = api.view.host(name);
    if (!head && head.error().code == Errc::not_found) return true;  // It went meanwhile.
    fill.seen(name);
    if (!head) {
      read = tl::unexpected<Error>(head.error());
    } else if (takes(*head)) {
      fill.items.push_back(host_row(api, *head));
    }
    return read.has_value();
  });
  if (!listed) return tl::unexpected<Error>(listed.error());
  if (!read) return tl::unexpected<Error>(read.error());
  return list_response(api, *page, "hosts", fill, position);
}

// ---- one ----

Json lease_json(const ApiContext& api, const std::string& host) {
  if (!api.parts.lease) return nullptr;
  const auto lease = api.parts.lease(host);
  if (!lease) return nullptr;
  return {{"connected", lease->connected},
          {"session", lease->session},
          {"holds", lease->leased},
          {"ends_in_ms", lease->left.count()},
          {"orders_waiting", lease->orders}};
}

Json pool_lines_json(const std::shared_ptr<const actors::HostPool>& pool) {
  Json lines = Json::array();
  if (!pool) return lines;
  for (const actors::HostPoolLine& line : pool->lines)
    lines.push_back({{"url", line.url},
                     {"branch", line.branch},
                     {"image", line.image},
                     {"waiting", line.waiting},
                     {"wanted", line.wanted},
                     {"hits", line.hits},
                     {"misses", line.misses}});
  return lines;
}

/// With what stands there: its lease, sandboxes, those made ahead, and the repositories it has mirrors of.
Result<Response> get_host(const ApiContext& api, const Request& request) {
  const std::string& name = request.params.at("name");
  const auto head = api.view.host(name);
  if (!head) return tl::unexpected<Error>(head.error());
  const Instant now = api.view.now();
  Json json = host_json(*head);
  const auto pool = pool_of(api, name);
  json["warm_pool"] = pool_json(pool);
  json["warm_lines"] = pool_lines_json(pool);
  json["lease"] = lease_json(api, name);
  json["sandboxes"] = Json::array();
  for (const auto& slot : head->used)
    json["sandboxes"].push_back({{"id", slot->run + "-" + std::to_string(slot->attempt)},
                                 {"run", slot->run},
                                 {"attempt", slot->attempt},
                                 {"fleet", slot->fleet},
                                 {"since", time_json(slot->since_unix_ms)},
                                 {"held_ms", (now - Instant{slot->since_unix_ms}).count()},
                                 {"cpus_milli", slot->cpus_milli},
                                 {"memory_bytes", slot->memory_bytes}});
  json["warm_repositories"] = Json::array();
  for (const std::string& url : api.view.host_warm(*head)) {
    if (json["warm_repositories"].size() == kMaxPage) break;
    json["warm_repositories"].push_back(url);
  }
  return json_response(json);
}

template <class Message>
RouteHandler host_order(const ApiContext& api) {
  return [api](const Request& request) -> Result<Response> {
    const std::string& name = request.params.at("name");
    auto words = read_order(request);
    if (!words) return tl::unexpected<Error>(words.error());
    if (auto exists = api.view.host(name); !exists) return tl::unexpected<Error>(exists.error());
    Message message;
    message.reason = std::move(words->reason);
    message.by = std::move(words->by);
    auto reply = call_actor(api, request, api.view.actor("host", name),
                            payload_of<fbs::HostBodyUnionTraits>(message));
    if (!reply) return tl::unexpected<Error>(reply.error());
    const auto head = api.view.host(name);
    if (!head) return tl::unexpected<Error>(head.error());
    return json_response(host_json(*head));
  };
}

}  // namespace

void add_host_routes(Router& router, ApiContext api) {
  router.add(
      {"GET", "/v1/hosts", [api](const Request& request) { return list_hosts(api, request); }, 0});
  router.add({"GET", "/v1/hosts/{name}",
              [api](const Request& request) { return get_host(api, request); }, 0});
  router.add({"POST", "/v1/hosts/{name}/cordon", host_order<fbs::CordonT>(api), kMaxBody});
  router.add({"POST", "/v1/hosts/{name}/uncordon", host_order<fbs::UncordonT>(api), kMaxBody});
  router.add({"POST", "/v1/hosts/{name}/drain", host_order<fbs::DrainT>(api), kMaxBody});
}

}  // namespace muster::musterd
