#include "actors/swarm/merge_drivers.hpp"

#include <algorithm>

#include "actors/swarm/scope.hpp"

namespace muster::actors::swarm {

Driver Drivers::of(std::string_view path) const {
  for (const std::string& pattern : declared)
    if (matches(pattern, path)) return Driver::regenerate;
  const std::string_view name = path.substr(path.rfind('/') + 1);  // npos + 1 is 0.
  if (std::find(unite.begin(), unite.end(), name) != unite.end()) return Driver::unite;
  if (std::find(regenerate.begin(), regenerate.end(), name) != regenerate.end())
    return Driver::regenerate;
  return Driver::none;
}

Drivers usual_drivers() {
  return {{"CHANGELOG", "CHANGELOG.md", "CHANGELOG.rst", "CHANGELOG.txt", "CHANGES", "CHANGES.md",
           "CHANGES.rst", "HISTORY.md", "NEWS", "NEWS.md"},
          {"package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "Cargo.lock",
           "Gemfile.lock", "composer.lock", "poetry.lock", "Pipfile.lock", "uv.lock", "flake.lock",
           "go.sum"}};
}

}  // namespace muster::actors::swarm
