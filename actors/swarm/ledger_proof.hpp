// Reads from git what the ledger claims: what the deliverable reaches, the merges of the line, and
// whether each holds what merging its two parents gives. That last is done by merging all of them
// again: those that need no git cost about a millisecond each. Never called by a step.
#pragma once

#include "actors/swarm/ledger.hpp"
#include "actors/swarm/merge.hpp"

namespace muster::actors::swarm {

/// More commits than that are no line of a swarm.
constexpr std::size_t kMaxLineCommits = 1'000'000;

/// `begin` is where the line began, `deliverable` its tip. `drivers` as the merges had them.
Result<GitFacts> read_line(const std::string& objects, const std::filesystem::path& scratch,
                           const std::string& begin, const std::string& deliverable,
                           Drivers drivers = usual_drivers());

}  // namespace muster::actors::swarm
