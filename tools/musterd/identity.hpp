// Who asks, and what they may do.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::musterd {

/// Each may what the ones before it may. `nobody` may ask whether musterd lives, and nothing else.
enum class Role { nobody, viewer, operator_, admin };

constexpr std::string_view name_of(Role role) {
  switch (role) {
    case Role::nobody:
      return "nobody";
    case Role::viewer:
      return "viewer";
    case Role::operator_:
      return "operator";
    case Role::admin:
      return "admin";
  }
  return "nobody";
}

inline std::optional<Role> role_of(std::string_view name) {
  for (const Role role : {Role::viewer, Role::operator_, Role::admin})
    if (name_of(role) == name) return role;
  return std::nullopt;
}

/// What a token reaches. Empty lists: everything.
struct Scope {
  std::vector<std::string> orgs;
  std::vector<std::string> fleets;  ///< Globs over fleets' names.

  [[nodiscard]] bool whole() const { return orgs.empty() && fleets.empty(); }
  [[nodiscard]] bool covers_org(std::string_view org) const;
  [[nodiscard]] bool covers_fleet(std::string_view fleet) const;
};

struct Identity {
  std::string name;  ///< "alice", "uid 0": stands in the audit log.
  std::string how;   ///< "socket", "token 8K2M…", "proxy 8K2M…".
  Role role = Role::nobody;
  Scope scope;
  /// On the owner's socket the "by" in a body counts, because whoever owns the socket may be
  /// anybody; else `name` stands in its place.
  bool may_name_others = false;
};

}  // namespace muster::musterd
