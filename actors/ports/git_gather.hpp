// Few packs instead of many. Each delivery and each batch of a swarm leaves a pack in the repository
// on this machine, and whoever looks for an object asks one pack after another.
//
// Only packs that Muster installed (installed_by_muster) are gathered, and those not that somebody
// marked: with .keep, .bitmap, .promisor, .mtimes. A repository with a multi-pack-index has an owner
// who looks after its packs: nothing is done there.
//
// Readers go on: git and libgit2 look again when a pack is gone. A death at any point loses
// nothing: the new pack is installed, durably, before an old one goes, and what is half there (a
// pack without index) goes with the next gathering.
#pragma once

#include <cstdint>

#include "actors/ports/git_pack.hpp"

namespace muster::actors::git {

/// Fewer are left as they are.
constexpr std::size_t kFewestGathered = 8;
/// What one gathering may hold; larger packs stay as they are.
constexpr std::uint64_t kMaxGatheredBytes = 1u << 30;
constexpr std::size_t kMaxGatheredPacks = 100'000;

/// How many of the smallest become one, by the sizes of all, which ascend; 0: none. Afterwards each
/// pack but the seven smallest is larger than all smaller ones together, so that there are about
/// log2 of them, and an object is written anew about as often. Pure.
std::size_t packs_to_gather(const std::vector<std::uint64_t>& sizes);

/// How many packs became one; 0: nothing was to be done. `pack_directory` is objects/pack below
/// `objects`. An error: the repository is as it was, or has both the old packs and the new.
Result<std::size_t> gather_packs(const std::string& objects, int pack_directory,
                                 const std::filesystem::path& scratch);

}  // namespace muster::actors::git
