// What people say to the agent of an attempt. It is kept beside the attempt's record, and stands in the sandbox as a file that the
// agent reads when it likes (MUSTER_STEER_FILE): a line of JSON for each message, in the order of their numbers, each once.
//
//   keep_messages(places, messages);   // durable: now the engine may be told
//   show_messages(places);             // once the sandbox is there; and again after a restart
//
// The sandbox's file is always a beginning of the kept one, so whoever dies between the two, or in the middle of a line, goes on where
// it ended. One thread for each attempt.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sandboxd/plan.hpp"

namespace muster::sandbox {

using SteerMessages = std::vector<std::unique_ptr<wire::SteerMessageT>>;

/// Of all messages of one attempt, as they are kept.
constexpr std::size_t kMaxSteerBytes = 16u << 20;

/// Adds those that are not kept yet. Every message below the number that it returns is durable. Errc::overloaded beyond
/// kMaxSteerBytes.
Result<std::uint32_t> keep_messages(const Places& places, const SteerMessages& messages);

/// What is kept; empty when nothing is.
std::string kept_messages(const Places& places);

/// Brings the sandbox's file up to what is kept. Errc::not_found: there is no such sandbox yet.
Result<void> show_messages(const Places& places);

}  // namespace muster::sandbox
