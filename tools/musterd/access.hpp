// What each address asks of its caller: one table, so that it can be read in one go. What the table
// does not name is for admins.
#pragma once

#include <string_view>

#include "tools/musterd/identity.hpp"

namespace muster::musterd {

/// Which of a token's fleets matter at an address.
enum class Reach {
  anybody,   ///< Needs no token.
  filtered,  ///< A list shows, and a write makes, only what the scope covers: its handler sees to
             ///< that.
  fleet,     ///< {name} is a fleet.
  run,       ///< {id} is a run.
  pull,      ///< {id} is a pull request.
  installation,  ///< Concerns everybody: needs a token without a scope.
};

struct Access {
  Role role = Role::admin;
  Reach reach = Reach::installation;
};

Access access_of(std::string_view method, std::string_view pattern);

/// Whether it goes through the server's urgent lane: orders that end trouble, which take no longer
/// than a call or a bounded number of them, and the few reads by which trouble is seen.
bool is_urgent(std::string_view method, std::string_view pattern);

}  // namespace muster::musterd
