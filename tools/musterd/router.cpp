#include "tools/musterd/router.hpp"

namespace muster::musterd {

bool matches(std::string_view pattern, const std::vector<std::string>& segments,
             std::map<std::string, std::string, std::less<>>& params) {
  params.clear();
  pattern.remove_prefix(1);
  std::size_t at = 0;
  while (!pattern.empty()) {
    const std::string_view part = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(std::min(part.size() + 1, pattern.size()));
    if (at == segments.size()) return false;
    if (part.front() == '{') {
      if (segments[at].empty()) return false;
      params.emplace(part.substr(1, part.size() - 2), segments[at]);
    } else if (part != segments[at]) {
      return false;
    }
    ++at;
  }
  return at == segments.size();
}

Result<const Route*> Router::find(Request& request) const {
  std::string allowed;
  const Route* get = nullptr;
  std::map<std::string, std::string, std::less<>> params;
  for (const Route& route : routes_) {
    if (!matches(route.pattern, request.segments, params)) continue;
    if (route.method == request.method) {
      request.params = std::move(params);
      return &route;
    }
    if (route.method == "GET" && request.method == "HEAD") {
      get = &route;
      request.params = params;
    }
    allowed += (allowed.empty() ? "" : ", ") + route.method;
  }
  if (get != nullptr) return get;
  if (allowed.empty()) return fail(Errc::not_found, "no such address: " + request.path);
  return fail(Errc::refused, allowed);
}

}  // namespace muster::musterd
