// What a message led to: the messages that its step sent, the results of its effects, the timers it
// set, and, across the scheduler and the hosts, the placement of a run that it queued and what the
// run's host then told.
//
// The engine's own links are exact (each message names the one whose step sent it). Those across
// the outside are found by what is said: a proposal and a host's event name their run and attempt.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/core/inspect.hpp"
#include "tools/musterd/actor_schemas.hpp"

namespace muster::musterd {

inline constexpr std::size_t kMaxTreeMessages = 1'000;
inline constexpr std::size_t kMaxTreeScan =
    500'000;  ///< Messages looked at, of all shards together.

struct TreeNode {
  std::uint32_t shard = 0;
  engine::Envelope message;
  std::optional<std::size_t> parent;  ///< Its place in the tree; none for the first.
  std::string link;                   ///< sent, effect, timer, scheduler, host
};

struct CausalTree {
  std::vector<engine::Envelope>
      ancestors;                ///< From the root down to what sent the first; without it.
  std::vector<TreeNode> nodes;  ///< Each after its parent.
  bool more = false;            ///< A limit was reached.
};

/// Errc::not_found: the message is not kept.
Result<CausalTree> causal_tree(const engine::Journals& journals, std::uint32_t shard,
                               engine::Sequence sequence, std::size_t limit);

Json tree_json(const CausalTree& tree);

}  // namespace muster::musterd
