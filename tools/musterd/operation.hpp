// What an operator does to many at once: which targets are meant, what is done to each, and what
// came of it.
//
// A plan says what would happen without doing anything (the dry run); carried out, each target gets
// a call of its own under a key made from the request's, so that a repeat of the request does
// nothing twice.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/core/engine.hpp"
#include "tools/musterd/actor_schemas.hpp"

namespace muster::musterd {

inline constexpr std::size_t kMaxTargets = 10'000;  ///< Of one operation.
inline constexpr std::size_t kCallsInFlight = 256;
inline constexpr std::size_t kFailuresShown = 1'000;
inline constexpr std::size_t kTargetsShown = 20;
inline constexpr Duration kOperationLimit{60'000};

struct OperationTarget {
  std::string name;  ///< "run/ER8SXG…", or a dead letter's "0-17".
  std::function<void(std::string key, engine::CallDone done)> act;
};

struct OperationFailure {
  std::string target;
  Error error;
};

struct OperationPlan {
  std::string action;
  std::vector<OperationTarget> targets;
  std::vector<OperationFailure> impossible;  ///< Meant, but the action is nothing to them.
  // What the targets would decide, as far as a dry run rehearsed it.
  std::size_t messages = 0;
  std::size_t effects = 0;
};

struct OperationOutcome {
  std::size_t done = 0;
  std::vector<OperationFailure> failures;
};

/// A UUIDv7 of the request's time, the same for the same request and target.
std::string key_for(std::string_view request_key, std::string_view target);

/// Does it, a bounded number at a time. What has no answer within kOperationLimit is told as
/// unknown.
OperationOutcome carry_out(const OperationPlan& plan, const std::string& request_key);

/// What the plan would be done to, in a few words: "run/A, run/B, … (12 in all)".
std::string targets_text(const OperationPlan& plan);

/// `outcome` null: a dry run.
Json operation_json(const OperationPlan& plan, const OperationOutcome* outcome);

}  // namespace muster::musterd
