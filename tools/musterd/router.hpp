// Which handler answers which method and path. The table is data, so that a test can compare it
// with openapi.yaml.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/musterd/http.hpp"

namespace muster::musterd {

using RouteHandler = std::function<Result<Response>(const Request&)>;

struct Route {
  std::string method;
  std::string pattern;  ///< "/v1/runs/{id}/logs": {name} stands for one segment.
  RouteHandler handler;
  std::size_t body_limit = 0;
};

class Router {
 public:
  void add(Route route) { routes_.push_back(std::move(route)); }
  [[nodiscard]] const std::vector<Route>& routes() const { return routes_; }

  /// The route for a request, with its params filled in; HEAD finds GET's. Errc::not_found for an
  /// unknown path; Errc::refused for a known path under another method, the message listing the
  /// allowed ones.
  Result<const Route*> find(Request& request) const;

 private:
  std::vector<Route> routes_;
};

/// Whether `segments` are of that pattern; fills `params`.
bool matches(std::string_view pattern, const std::vector<std::string>& segments,
             std::map<std::string, std::string, std::less<>>& params);

}  // namespace muster::musterd
