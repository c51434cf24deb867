// The body of POST /v1/fleets: checked, and turned into the blobs and the message that make the
// fleet. Pure.
//
// The snapshot blob has the form that actors/ports/snapshot_port.hpp reads, in the order of the
// request.
#pragma once

#include <string>
#include <vector>

#include "actors/spec/derive.hpp"
#include "tools/musterd/render.hpp"

namespace muster::musterd {

inline constexpr std::size_t kMaxRepositories = 50'000;

struct FleetRequest {
  actors::FleetSpec spec;
  std::string spec_json;  ///< Canonical: the spec blob.
  std::string snapshot;   ///< The snapshot blob.
  std::uint32_t repositories = 0;
  std::string agent_bundle;  ///< Digest, or "".
  bool dry_run = false;
  std::string author;

  [[nodiscard]] actors::FleetDigests digests() const;
};

/// Errc::invalid lists everything that is wrong with the spec, or the first wrong repository.
Result<FleetRequest> read_fleet_request(const Json& body);

/// "POINTER: MESSAGE", one a line.
std::string problem_lines(const std::vector<actors::Problem>& problems);

/// What is different between two fleets of one name, in lines: of the specs, the snapshots, the
/// agent's files.
std::vector<std::string> fleet_differences(const FleetRequest& now, const fbs::CreateFleetT& old,
                                           const std::string& old_spec_json,
                                           const std::string& old_snapshot);

}  // namespace muster::musterd
