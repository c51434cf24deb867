#include "tools/musterd/access.hpp"

#include <algorithm>
#include <iterator>

namespace muster::musterd {
namespace {

struct Row {
  std::string_view prefix;
  Reach reach;
  Role reads;
  Role writes;
};

// The first row whose prefix fits counts.
constexpr Row kTable[] = {
    {"/healthz/", Reach::anybody, Role::nobody, Role::admin},
    {"/v1/openapi.yaml", Reach::anybody, Role::nobody, Role::admin},
    {"/v1/fleets/{name}", Reach::fleet, Role::viewer, Role::operator_},
    {"/v1/fleets", Reach::filtered, Role::viewer, Role::operator_},
    {"/v1/swarms/{name}", Reach::fleet, Role::viewer, Role::operator_},  // its fleet has its name
    {"/v1/swarms", Reach::filtered, Role::viewer, Role::operator_},
    {"/v1/runs/{id}/exec", Reach::run, Role::operator_, Role::operator_},
    {"/v1/runs/{id}", Reach::run, Role::viewer, Role::operator_},
    {"/v1/runs", Reach::filtered, Role::viewer, Role::operator_},
    {"/v1/pulls/{id}", Reach::pull, Role::viewer, Role::operator_},
    {"/v1/pulls", Reach::filtered, Role::viewer, Role::operator_},
    {"/v1/blobs/", Reach::filtered, Role::operator_, Role::operator_},
    {"/v1/events", Reach::installation, Role::viewer, Role::admin},
    {"/v1/hosts", Reach::installation, Role::viewer, Role::operator_},
    {"/v1/actors", Reach::installation, Role::viewer, Role::admin},
    {"/v1/dead-letters", Reach::installation, Role::viewer, Role::admin},
    {"/v1/messages", Reach::installation, Role::viewer, Role::admin},
    {"/v1/kinds", Reach::installation, Role::viewer, Role::admin},
    {"/v1/steps", Reach::installation, Role::viewer, Role::admin},
    {"/v1/hot", Reach::installation, Role::viewer, Role::admin},
    {"/v1/engine", Reach::installation, Role::viewer, Role::admin},
    {"/v1/queue", Reach::installation, Role::viewer, Role::admin},
    {"/v1/limits", Reach::installation, Role::viewer, Role::admin},
    {"/v1/operations", Reach::installation, Role::admin, Role::admin},
    {"/v1/whoami", Reach::filtered, Role::viewer, Role::admin},
    {"/metrics", Reach::installation, Role::viewer, Role::admin},
};

constexpr std::string_view kUrgentOrders[] = {"/v1/operations",
                                              "/v1/limits",
                                              "/v1/admin/log-level",
                                              "/v1/fleets/{name}/pause",
                                              "/v1/fleets/{name}/resume",
                                              "/v1/fleets/{name}/cancel",
                                              "/v1/swarms/{name}/pause",
                                              "/v1/swarms/{name}/resume",
                                              "/v1/swarms/{name}/drain",
                                              "/v1/swarms/{name}/cancel",
                                              "/v1/runs/{id}/cancel",
                                              "/v1/runs/{id}/move",
                                              "/v1/hosts/{name}/cordon",
                                              "/v1/hosts/{name}/drain",
                                              "/v1/hosts/{name}/uncordon",
                                              "/v1/actors/{kind}/{key}/messages"};
constexpr std::string_view kUrgentReads[] = {"/healthz/live", "/healthz/ready", "/metrics",
                                             "/v1/engine",    "/v1/limits",     "/v1/kinds"};

}  // namespace

Access access_of(std::string_view method, std::string_view pattern) {
  const bool reads = method == "GET" || method == "HEAD";
  for (const Row& row : kTable)
    if (pattern.starts_with(row.prefix)) return {reads ? row.reads : row.writes, row.reach};
  return {};
}

bool is_urgent(std::string_view method, std::string_view pattern) {
  if (method == "POST") return std::ranges::find(kUrgentOrders, pattern) != std::end(kUrgentOrders);
  return method == "GET" && std::ranges::find(kUrgentReads, pattern) != std::end(kUrgentReads);
}

}  // namespace muster::musterd
