// How facets become one line: who works, what is merged next, what a failing verification costs,
// when to stop. A pure step: (state, event, now) changes the state and gives commands; no clock, no
// git. The integration of one repository; a durable kind carries it.
//
//   waiting ─► working ─► handed_in ─► trying ─► merged
//      ▲          │            ▲          │
//      └──────────┴── again ───┴─ evicted ┘           every one of them ─► rejected, with its
//      reason
//
// - Batches: what was handed in is merged onto green, in the plan's order, and verified together.
// When it passes,
//   green moves to it. When it fails, it is split, and each half is tried on the green of then; one
//   facet that fails alone is evicted. So the good ones of a batch are kept, and of two that fail
//   only together the first is.
// - An evicted facet is worked on again from the newest green, a bounded number of times, then
// rejected.
// - Green only moves from a verified state to the next, by compare-and-swap.
// - Commands may be carried out twice, and their answers may come twice or late: an answer counts
// only under the
//   number (or attempt) that is awaited. The same command over the same objects makes the same
//   commits.
// - The ledger says of each commit that was handed in what became of it; at the end none is open.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "actors/swarm/ledger.hpp"
#include "storage/base/time.hpp"

namespace muster::actors::swarm {

enum class FacetState { waiting, working, handed_in, trying, merged, rejected };

struct FacetRow {
  std::string id;
  std::vector<std::size_t> needs;  ///< Positions of rows.
  FacetState state = FacetState::waiting;
  std::uint32_t attempt = 0;    ///< The current one, from 1.
  std::uint32_t failures = 0;   ///< Attempts without a commit.
  std::uint32_t evictions = 0;  ///< Commits that could not be merged or failed verification.
  std::string commit;           ///< The newest handed in.
  std::string why;  ///< Of the last failure, eviction or rejection; the next attempt's context.
};

struct IntegrationLimits {
  std::uint32_t agents = 50;    ///< At work at once.
  std::uint32_t attempts = 3;   ///< Without a commit, per facet.
  std::uint32_t evictions = 3;  ///< Per facet.
  std::uint32_t batch = 20;
  std::int64_t stall_ms = 2LL * 3600 * 1000;  ///< Stops when nothing was merged for so long.
};

/// An agent works on a facet; answered by HandedIn or WorkFailed.
struct WorkOrder {
  std::size_t facet = 0;
  std::uint32_t attempt = 0;
  std::string base;  ///< A green commit.
  std::string why;   ///< What went wrong before; empty at first.
};
/// Merges the heads one after the other onto `onto`, leaving out what conflicts; answered by
/// Merged.
struct MergeOrder {
  std::uint64_t number = 0;
  std::string onto;
  std::vector<std::size_t> facets;
  std::vector<std::string> heads;
  std::int64_t unix_seconds = 0;  ///< Of the commits.
};
/// Runs the verification on a tip; answered by Verified.
struct VerifyOrder {
  std::uint64_t number = 0;
  std::string tip;
};
/// Sets the green ref; done already is done. Answered by GreenMoved.
struct MoveGreen {
  std::uint64_t number = 0;
  std::string from, to;
};
using SwarmCommand = std::variant<WorkOrder, MergeOrder, VerifyOrder, MoveGreen>;

/// `commit` descends from the attempt's base, and is another.
struct HandedIn {
  std::size_t facet = 0;
  std::uint32_t attempt = 0;
  std::string commit;
};
struct WorkFailed {
  std::size_t facet = 0;
  std::uint32_t attempt = 0;
  std::string why;
};
struct MergedHead {
  std::size_t facet = 0;
  std::string merge;  ///< The merge commit; empty: a conflict.
  std::string why;    ///< Of a conflict.
};
struct Merged {
  std::uint64_t number = 0;
  std::string tip;
  std::vector<MergedHead> heads;
};
struct Verified {
  std::uint64_t number = 0;
  bool passed = false;
  std::string why;
};
struct GreenMoved {
  std::uint64_t number = 0;
  std::string why_not;  ///< Somebody else moved the ref; empty: it is done.
};
/// Time passes: at least once each minute or so.
struct Tick {};
struct StopSwarm {
  std::string why;
};
using SwarmEvent =
    std::variant<HandedIn, WorkFailed, Merged, Verified, GreenMoved, Tick, StopSwarm>;

enum class LineState { idle, merging, verifying, moving };

struct Integration {
  IntegrationLimits limits;
  std::vector<FacetRow> facets;  ///< In the order of integration: each after what it needs.
  Ledger ledger;
  std::string green;
  std::string stopped;  ///< Why it stopped before its end; empty: it did not.
  bool begun = false;

  LineState line = LineState::idle;
  std::uint64_t number = 0;       ///< Of the last order to the line.
  std::string tip;                ///< What is verified.
  std::vector<MergedHead> tried;  ///< What `tip` has beyond green.
  std::vector<std::vector<std::size_t>>
      halves;                    ///< Of failed batches, to be tried; the last is next.
  std::int64_t progress_ms = 0;  ///< When something was merged last.
};

/// Every facet is merged or rejected, and nothing is awaited from the line.
bool ended(const Integration& state);

std::vector<SwarmCommand> step(Integration& state, const SwarmEvent& event, std::int64_t now_ms);

}  // namespace muster::actors::swarm
