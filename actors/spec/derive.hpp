// What follows from a fleet file: the message that makes the fleet, and the sandbox of one attempt.
// Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "actors/fleet/fleet_generated.h"
#include "actors/ports/effects_generated.h"
#include "actors/spec/fleet_spec.hpp"
#include "storage/base/error.hpp"
#include "storage/schema/wire_generated.h"

namespace muster::actors {

/// Time an attempt may take beside its steps: fetch, create, pack, teardown.
inline constexpr Duration kAttemptMargin{10 * 60'000};
inline constexpr std::uint64_t kMaxPackBytes = 64ull << 20;  ///< Of one delivered commit.
inline constexpr std::uint64_t kMaxArtifactBytes = 64ull << 20;  ///< Of one attempt's artefacts, as a tar.

/// SHA-256 of each blob; agent_bundle is empty when nothing travels.
struct FleetDigests {
  std::string spec;
  std::string snapshot;
  std::string agent_bundle;
};

/// Identity of a fleet's content: same digest, same fleet. A dry run is another fleet.
std::string fleet_digest(const FleetDigests& digests, bool dry_run);

/// `repositories` is the snapshot's length; `now` starts the fleet's deadline.
fbs::CreateFleetT make_create_fleet(const FleetSpec& spec, const FleetDigests& digests,
                                    std::uint32_t repositories, const std::string& author,
                                    bool dry_run, Instant now);

/// All steps' limits and a margin.
Duration attempt_timeout(const FleetSpec& spec);

/// The commit's message when the fleet file has none: the prompt's first line, else the fleet's
/// name.
std::string commit_message(const FleetSpec& spec);
std::string pull_title(const FleetSpec& spec);
/// The text of the file (or the rest of the commit message), then the intent as a quotation.
std::string pull_body(const FleetSpec& spec);

/// The blob that StartSandbox.spec_digest names. Errc::corrupt when it is not a valid fleet file. Costs milliseconds: keep it.
Result<FleetSpec> stored_fleet(std::string_view spec_json);
/// Everything a host needs for one attempt.
muster::wire::SandboxSpecT sandbox_spec_of(const FleetSpec& spec,
                                             const fbs::StartSandboxT& start);

}  // namespace muster::actors
