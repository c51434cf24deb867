// The effect port "forge": PushBranch, CreatePullRequest, MergeBranch and DeleteBranch of
// actors/ports/effects.fbs, carried out by a Forge on threads of its own. Repositories on this
// machine and those behind a network have separate threads, so that a forge that does not answer
// holds up nobody else.
//
// Every operation finds out by itself what an earlier try left behind, so a repeated effect needs
// no lookup. An effect that can't be taken or read is left to its deadline (unknown), and told to
// `complain`.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "actors/ports/forge.hpp"
#include "engine/core/engine.hpp"
#include "storage/base/blobs.hpp"

namespace muster::actors {

struct ForgePortOptions {
  std::size_t local_threads = 2;
  std::size_t remote_threads = 8;
  std::size_t queue = 16'384;  ///< Effects waiting, each for local and remote.
  std::function<void(const std::string&)> complain = [](const std::string&) {};
};

/// `packs` is where the hosts' packs lie. The pack of a pushed branch is removed: a repeat of the
/// push finds the branch and needs none. Destroying the port drops effects that were not begun; the
/// engine repeats them.
std::unique_ptr<engine::EffectPort> make_forge_port(std::unique_ptr<Forge> forge, Blobs packs,
                                                    ForgePortOptions options = {});

}  // namespace muster::actors
