// Runs a program and waits for it: the one place that forks on behalf of musterd, sandboxd and the tools.
//
// The child gets exactly the given environment, its own process group, /dev/null or the given bytes as
// standard input, no inherited descriptor above 2 but those named, and is killed as a whole group at the
// deadline. It dies with the calling thread unless `outlives_parent` (that is how the kernel counts a parent:
// call from threads that live long). Programs that use this ignore SIGPIPE.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/time.hpp"

namespace muster {

struct ProcessSpec {
  std::vector<std::string> argv;             ///< argv[0] is looked up in PATH of this process.
  std::map<std::string, std::string> env;    ///< Whole environment; nothing is inherited.
  std::string directory;                     ///< Working directory; empty: the caller's.
  std::string input;                         ///< Standard input; empty: /dev/null.
  Duration timeout{60'000};                  ///< Then SIGKILL to the group.
  std::size_t max_output = 1u << 20;         ///< Per stream; what is beyond is read and dropped.
  std::vector<int> inherited_fds;            ///< Kept open in the child, under the same numbers.
  int out_fd = -1, err_fd = -1;              ///< Standard output and error go there, not into the result.
  bool outlives_parent = false;
  std::function<bool()> give_up;             ///< Asked about every second; true: as at the deadline.
};

struct ProcessResult {
  int exit_code = 0;    ///< 128 + signal when it died of a signal.
  int signal = 0;
  bool timed_out = false;
  bool output_truncated = false;
  std::string out;
  std::string err;

  [[nodiscard]] bool ok() const { return exit_code == 0 && !timed_out; }
};

/// Errc::not_found when the program is missing, Errc::io when it can't be started. A program that runs and
/// fails is a result, not an error.
Result<ProcessResult> run_process(const ProcessSpec& spec);

/// As run_process, but anything other than exit 0 is an error carrying the last lines of stderr.
Result<std::string> run_checked(const ProcessSpec& spec);

/// The environment git gets wherever Muster runs it: no system or user configuration, no prompt, no editor,
/// no hooks, C.UTF-8, and PATH.
std::map<std::string, std::string> git_environment();

/// Options every git call begins with ("git", "-c", "core.hooksPath=/dev/null", …): no hook, no fsmonitor, no
/// pager, no automatic gc, no ext:: transport.
std::vector<std::string> git_command();

}  // namespace muster
