// The file that tells muster-init what to do. sandboxd writes it, muster-init reads it inside the sandbox;
// neither needs more than this header. Grammar:
//
//   plan  := field*
//   field := key ' ' length '\n' bytes[length] '\n'          length in decimal, keys as below
//
// Fields in order of use:
//   work DIR                 the workspace            objects DIR     where the mirror's objects are mounted
//   out DIR                  for the commit's pack    max_pack BYTES
//   env KEY=VALUE            of every step            mask VALUE      a secret: "***" in the log (mask.hpp)
//   max_log BYTES            of all steps' output
//   base SHA, branch NAME, url TEXT
//   other NAME               a repository beside it; followed by other_objects DIR, other_base SHA, other_branch, other_url
//   resume SHA, resume_objects DIR                    a checkpoint that the workspace begins with
//   fork                     the workspace is there already: nothing of it is touched
//   checkpoint_ms N                                   how often work in progress is kept
//   message, author_name, author_email, date_s        of the commit; manual 0|1
//   warm                     no attempt is known yet: make the workspace, say so (OUT/ready), wait for SIGUSR1 from outside, then
//                            read this file again
//   checkout                 an action: make the workspace
//   step NAME                an action: run a command; followed by its index, arg…, if_exists, timeout_ms, idle_ms
//   hold                     an action: say whether tracked files are as they were, wait for SIGUSR1 from outside
//   commit                   an action: commit and pack what the steps so far changed
#pragma once

#include <string>
#include <string_view>

namespace muster::sandbox {

/// Index of the actions that are not in SandboxSpec.steps, in frames of their own.
constexpr unsigned char kCheckpointStep = 252;
constexpr unsigned char kHoldStep = 253;
constexpr unsigned char kCheckoutStep = 254;
constexpr unsigned char kCommitStep = 255;
constexpr std::size_t kMaxSteps = 250;

class PlanWriter {
 public:
  void add(std::string_view key, std::string_view value) {
    text_.append(key).append(" ").append(std::to_string(value.size())).append("\n");
    text_.append(value).append("\n");
  }
  void add(std::string_view key, long long value) { add(key, std::to_string(value)); }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

/// Takes the next field off the front of `plan`; false at its end or when it is broken.
inline bool take_field(std::string_view& plan, std::string_view& key, std::string_view& value) {
  const std::size_t space = plan.find(' ');
  const std::size_t newline = plan.find('\n');
  if (space == std::string_view::npos || newline == std::string_view::npos || newline < space)
    return false;
  std::size_t length = 0;
  for (const char c : plan.substr(space + 1, newline - space - 1)) {
    if (c < '0' || c > '9' || length > (64u << 20)) return false;
    length = length * 10 + static_cast<std::size_t>(c - '0');
  }
  if (plan.size() < newline + 1 + length + 1) return false;
  key = plan.substr(0, space);
  value = plan.substr(newline + 1, length);
  plan.remove_prefix(newline + 1 + length + 1);
  return true;
}

}  // namespace muster::sandbox
