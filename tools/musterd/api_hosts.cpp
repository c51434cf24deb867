// /v1/hosts
#include "tools/musterd/api_base.hpp"

namespace muster::musterd {
namespace {

Result<Response> list_hosts(const ApiContext& api, const Request&) {
  Json hosts = Json::array();
  Result<void> read{};
  const auto listed = api.view.each_host([&](const std::string& name) {
    const auto head = api.view.host(name);
    if (head) {
      hosts.push_back(host_json(*head));
    } else {
      read = tl::unexpected<Error>(head.error());
    }
    return read.has_value();
  });
  if (!listed) return tl::unexpected<Error>(listed.error());
  if (!read) return tl::unexpected<Error>(read.error());
  return json_response({{"hosts", hosts}});
}

template <class Message>
RouteHandler order(const ApiContext& api) {
  return [api](const Request& request) -> Result<Response> {
    const std::string& name = request.params.at("name");
    const auto body = read_object(request, {"reason", "by"});
    if (!body) return tl::unexpected<Error>(body.error());
    auto reason = read_text(*body, "reason");
    if (!reason) return tl::unexpected<Error>(reason.error());
    auto by = read_text(*body, "by");
    if (!by) return tl::unexpected<Error>(by.error());
    if (auto exists = api.view.host(name); !exists) return tl::unexpected<Error>(exists.error());
    Message message;
    message.reason = std::move(*reason);
    message.by = std::move(*by);
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
  router.add({"POST", "/v1/hosts/{name}/cordon", order<fbs::CordonT>(api), kMaxBody});
  router.add({"POST", "/v1/hosts/{name}/uncordon", order<fbs::UncordonT>(api), kMaxBody});
  router.add({"POST", "/v1/hosts/{name}/drain", order<fbs::DrainT>(api), kMaxBody});
}

}  // namespace muster::musterd
