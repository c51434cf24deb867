// The swarm: many agents on facets of one outcome, which become one line of commits in each repository. Key: its
// name.
//
//   facet:  waiting ─► working ─► handed_in ─► trying ─► merged        line:  starting ─► idle ◄──────────────┐
//              ▲          │                      │                                        ▼                   │
//              │          └──────► unchanged     │                                     merging ─► verifying ─► moving
//              └──────────── evicted ────────────┘   … ─► rejected                        └─► idle     └─► idle
//
// Reads its plan in pages, makes the green branch of every repository, and gives each facet that needs nothing any
// more a run in the fleet of its own name, on the green of then. What runs hand in is merged in batches in the order
// of the plan, by the port "swarm", and verified by a run; green moves only to what passed. A batch that fails is
// split; who fails alone, conflicts or leaves its scope is evicted: it is done again from the newest green with the
// whole trouble as feedback, a bounded number of times, then rejected. At the end: one pull request per repository.
//
// Promises, in every order and with every repetition of messages:
// - every facet ends as merged, unchanged or rejected with a reason, and every commit as merged, superseded or
//   rejected (rows "commit/"), each said once;
// - a line has one order under way; an answer counts only under its number;
// - counts in the head change with the facets' rows (swarm::recount is the proof);
// - what concerns many facets goes in pages of kPage, by ContinueSwarm to itself;
// - every state that is not an end has the timer "stall";
// - when it is removed (removal.cpp), its fleet and all runs of it are gone before.
#pragma once

#include <string>
#include <vector>

#include "actors/swarm/swarm_generated.h"
#include "engine/core/kind.hpp"

namespace muster::actors {

struct Swarm {
  static constexpr std::string_view kName = "swarm";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::SwarmHeadT;
  using Messages = engine::MessageSet<fbs::SwarmBodyUnionTraits, fbs::CreateSwarmT, fbs::PlanPageT,
                                      fbs::LineStartedT, fbs::SwarmRunEndedT, fbs::LineMergedT,
                                      fbs::GreenMovedT, fbs::SwarmPullOpenedT, fbs::FleetTakenT,
                                      fbs::CancelSwarmT, fbs::RetrySwarmT, fbs::SwarmTickT,
                                      fbs::ContinueSwarmT, fbs::EffectUnknownT, fbs::PauseSwarmT,
                                      fbs::ResumeSwarmT, fbs::DrainSwarmT, fbs::PlanAdoptedT,
                                      fbs::CandidatesShownT, fbs::SteerSwarmT, fbs::ForgetSwarmT,
                                      fbs::FleetForgottenT>;
  using Message = Messages::Variant;
  static bool creates(const Message& m) { return std::holds_alternative<fbs::CreateSwarmT>(m); }
  static void step(State& state, const Message& message, engine::Context& ctx);
};

namespace swarm {

/// Facets that one step of a fan-out changes.
inline constexpr std::size_t kPage = 100;
/// Runs that one step makes, and the bytes that it spends on their feedback.
inline constexpr std::size_t kRunsPerStep = 40;
inline constexpr std::size_t kFeedbackPerStep = 256u << 10;
/// At work at once in one swarm; the file may say less.
inline constexpr std::uint32_t kMaxAgents = 200;
/// Facets merged and verified together; the file may say less.
inline constexpr std::uint32_t kMaxBatch = 200;
inline constexpr std::uint32_t kMaxLines = 100;
/// Tries of one order to a line when its port gives no answer or an error.
inline constexpr std::uint32_t kOrderTries = 4;
/// … and of a move of green, which may have happened: an hour of no answers.
inline constexpr std::uint32_t kMoveTries = 30;
/// Of one facet's feedback.
inline constexpr std::size_t kFeedbackBytes = 32u << 10;
inline constexpr std::size_t kWhyBytes = 500;
/// Of all results together, that a reducer run is given.
inline constexpr std::size_t kReducerBytes = 384u << 10;
/// What one run may note, how long each, and what one swarm hears.
inline constexpr std::size_t kNotesOfRun = 20;
inline constexpr std::size_t kNoteBytes = 1'000;
inline constexpr std::uint32_t kMaxNotes = 10'000;
/// That a planner is given when it plans again.
inline constexpr std::size_t kNotesGiven = 200;
inline constexpr std::size_t kPartsGiven = 500;
/// What people may say to one swarm; each text has at most kMessageBytes.
inline constexpr std::uint32_t kMaxMessages = 1'000;
inline constexpr std::size_t kMessageBytes = 4u << 10;
/// That a new run is told, the newest.
inline constexpr std::size_t kMessagesTold = 50;
/// Messages to runs in one step.
inline constexpr std::size_t kTellsPerStep = 100;

inline constexpr std::string_view kFacetPrefix = "facet/";
inline constexpr std::string_view kFacetEnd = "facet0";  ///< Behind all of them: '0' follows '/'.
inline constexpr std::string_view kResultPrefix = "result/";
inline constexpr std::string_view kNotePrefix = "note/";
inline constexpr std::string_view kMessagePrefix = "message/";
inline constexpr std::string_view kReduced = "reduced";
inline constexpr std::string_view kCommitPrefix = "commit/";
inline constexpr std::string_view kCommitEnd = "commit0";

/// "facet/00012", and the others alike: rows in the order of numbers.
std::string numbered(std::string_view prefix, std::uint32_t number);

/// merged, unchanged, rejected.
bool is_over(fbs::FacetState state);
bool is_end(fbs::SwarmState state);

/// "muster-swarm/NAME/…": the branches that a swarm writes, and nobody else.
std::string green_branch(const std::string& swarm);
std::string try_branch(const std::string& swarm);
std::string remade_branch(const std::string& swarm);
std::string facet_branch(const std::string& swarm, const std::string& facet);
std::string candidate_branch(const std::string& swarm, const std::string& facet, std::size_t number);
std::string marked_branch(const std::string& swarm, const std::string& facet);

/// Facets by state, from nothing: what a head's `counts` must say.
std::vector<std::uint32_t> recount(const std::vector<fbs::FacetRowT>& rows);

}  // namespace swarm

}  // namespace muster::actors
