// How long a run may stay in each state that is not an end. The host enforces the limits of the fleet file; these
// are the engine's backstop, so that no lost message keeps a run for ever.
#pragma once

#include <chrono>

#include "storage/base/time.hpp"

namespace muster::actors::limits {

using namespace std::chrono_literals;

/// waiting (wave, repo) and queued end at the fleet's deadline; the fleet itself cancels first, so add a margin.
inline constexpr Duration kDeadlineMargin = 1min;
/// The same for a fleet without a deadline.
inline constexpr Duration kLongestWait = 7 * 24h;

/// provisioning: fetching the repository and making the sandbox.
inline constexpr Duration kProvisioning = 15min;
/// The effect "start": until the host has made the Start durable.
inline constexpr Duration kStartEffect = 2min;
/// The effect "stop". Nothing waits for it: kStop does.
inline constexpr Duration kStopEffect = 1min;
/// The effect "steer": until what people said is durable on the host. Nothing waits for it.
inline constexpr Duration kSteerEffect = 2min;
/// running and verifying: the policy's attempt_timeout_ms and this margin. Much longer than a lease, so that an
/// unreachable host is decided by HostLost and not by this timer.
inline constexpr Duration kAttemptMargin = 10min;
/// A timer that fires so much later than it was due says nothing about the host: the engine was away, or its clock jumped.
inline constexpr Duration kHeldUp = 1min;
/// The attempt's limit when the policy names none.
inline constexpr Duration kDefaultAttempt = 1h;
/// From telling the host to stop until the run goes on without its word: grace, teardown, a lease.
inline constexpr Duration kStop = 3min;

/// One try of the effect "push"; it is repeated after `unknown`, because a push finds itself already there.
inline constexpr Duration kPushEffect = 5min;
inline constexpr unsigned kPushTries = 3;
/// delivering, as a whole: pushes and the pull request.
inline constexpr Duration kDelivering = 1h;

/// A person's releases of one run; each is an attempt with a row.
inline constexpr unsigned kMostReleased = 100;

/// What is kept of one report, so that a row stays small beside a decision's 1 MiB.
inline constexpr std::size_t kSummaryBytes = 64u << 10;
inline constexpr std::size_t kResultBytes = 64u << 10;
inline constexpr std::size_t kTailBytes = 8u << 10;
inline constexpr std::size_t kTailsBytes = 256u << 10;  ///< Of all steps together; the last ones first.
inline constexpr std::size_t kSteps = 64;
inline constexpr std::size_t kWarnings = 100;
inline constexpr std::size_t kLineBytes = 500;  ///< Messages, warnings.
inline constexpr std::size_t kOtherBases = 64;
/// So many attempts are looked through for a checkpoint.
inline constexpr std::uint32_t kCheckpointsBack = 20;
/// Feedback for the next attempt: the failing step's output.
inline constexpr std::size_t kFeedbackBytes = 8u << 10;
/// What people may say to one agent: messages, and bytes of each; and what of it a sandbox is given, the newest.
inline constexpr std::uint32_t kMessages = 1'000;
inline constexpr std::size_t kMessageBytes = 4u << 10;
inline constexpr std::size_t kMessagesGiven = 50;

}  // namespace muster::actors::limits
