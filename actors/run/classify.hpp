// What the facts of an attempt mean. The one place that knows exit codes and reasons; tests hold its table.
//
// | fact                                              | verdict                              | retried    |
// |---------------------------------------------------|--------------------------------------|------------|
// | changed, verified                                 | delivering                           |            |
// | changed, but every verification was skipped       | failed(verification, none_applied)   | by policy  |
// | changed, but head, base or pack are not digests   | failed(policy, bad_pack)             | never      |
// | unchanged                                         | unchanged(no_change)                 |            |
// | agent exits 75                                    | failed(infrastructure, temporary)    | by policy  |
// | agent exits 77                                    | skipped(does_not_apply)              |            |
// | agent exits 78                                    | failed(agent, gave_up)               | never      |
// | agent exits otherwise / by a signal               | failed(agent, exit_code / signal)    | by policy  |
// | agent at a limit (timed_out, idle, …)             | failed(agent, that limit)            | by policy  |
// | a verification exits, dies or is at a limit       | failed(verification, verify_failed or the limit) | by policy |
// | a setup command fails in whatever way             | failed(infrastructure, setup_failed or the limit) | by policy |
// | the host's trouble (fetch_failed, no_space, …)    | failed(infrastructure, that reason)  | by policy  |
// | base_missing: the base branch is not there        | failed(infrastructure, base_missing) | never      |
// | bad_environment: no valid devcontainer.json       | failed(infrastructure, bad_environment) | never   |
// | bad_pack, pack_too_large, not_allowed, bad_spec   | failed(policy, that reason)          | never      |
// | cancelled by our Stop                             | cancelled                            |            |
//
// A failing setup is infrastructure: it is the environment of the fleet file (a package server, a tool that is
// missing), before the agent did anything; in the report it must not stand among the agent's failures.
// A missing base branch or a bad devcontainer.json can't be mended by another attempt, so it is not retried whatever the policy says.
#pragma once

#include <string>

#include "actors/run/run_generated.h"

namespace muster::actors {

enum class Retry : std::uint8_t { by_policy, always, never };

struct Verdict {
  fbs::RunState state = fbs::RunState::failed;
  fbs::FailureClass cls = fbs::FailureClass::none;
  std::string reason;
  std::string message;  ///< One line, the same for the same trouble in other repositories, so that it groups.
  Retry retry = Retry::by_policy;

  bool operator==(const Verdict&) const = default;
};

/// Of a finished attempt. `delivering`: there is a verified commit.
Verdict classify(const muster::wire::AttemptReportT& report);

/// Of a host's `refused` with that reason, before anything ran.
Verdict classify_refused(const std::string& reason);

/// Of a push. `delivering`: the branch is there with our head. base_moved is always retried (within
/// max_attempts): it is nobody's failure.
Verdict classify_push(const fbs::PushDoneT& done, fbs::ConflictStrategy strategy);

/// Whether `verdict`, a failure, may be followed by another attempt.
bool may_retry(const Verdict& verdict, const fbs::RunPolicyT& policy, std::uint32_t attempt);

}  // namespace muster::actors
