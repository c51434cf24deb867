// The secondary indexes that the kinds keep and that lists, the API and the dispatcher read.
#pragma once

#include <string_view>

namespace muster::actors::index {

/// fleet name -> "".
inline constexpr std::string_view kFleet = "fleet";
/// fleet name -> why, while nothing new of it may be placed (paused, halted, cancelled).
inline constexpr std::string_view kFleetHeld = "fleet-held";
/// run id -> "FLEET\nOWNER/NAME"; run ids are found by prefix.
inline constexpr std::string_view kRun = "run";
/// run id -> QueuedRun (run.fbs), while the run is queued.
inline constexpr std::string_view kQueued = "queued";
/// run id -> QueuedRun, from placement until its sandbox is gone.
inline constexpr std::string_view kPlaced = "placed";
/// host name -> "".
inline constexpr std::string_view kHost = "host";
/// swarm name -> "".
inline constexpr std::string_view kSwarm = "swarm";
/// "OWNER/NAME#N" -> "FLEET\nSTATE".
inline constexpr std::string_view kPull = "pull";
/// "FLEET\0OWNER/NAME#N" -> STATE.
inline constexpr std::string_view kPullByFleet = "pull-by-fleet";

}  // namespace muster::actors::index
