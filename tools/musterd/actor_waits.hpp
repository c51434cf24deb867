// What an actor waits for besides its messages, timers and effects, in words: of fleets, swarms,
// repositories, pull requests and hosts. Of runs the scheduler and their own state know more.
#pragma once

#include <string>
#include <string_view>

namespace muster::musterd {

/// From its committed head: "its runs: 2 running, 3 queued"; "" when nothing is waited for, or the
/// kind is another one.
std::string what_it_waits_for(std::string_view kind, std::string_view head);

}  // namespace muster::musterd
