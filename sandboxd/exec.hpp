// One command in a running sandbox, beside its steps: started by the runtime with the sandbox's own
// process settings (user, no capability, no-new-privileges, seccomp, cgroup, namespaces), its bytes
// moved between the engine and its pipes or its terminal by a thread of its own. Nothing of it is
// durable: it ends with its sandbox's step, with the session to the engine, and with sandboxd, also
// by `kill -9` (init/exec.hpp says how).
//
//   Exec exec(host, request, events);     // begins
//   exec.input("ls\n", false); exec.credit(4096); exec.resize(80, 24); exec.end("cancelled");
//   // events.ended comes last; then it may be destroyed
//
// The environment is that of the steps without the secrets; secrets in its output are masked.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sandboxd/plan.hpp"
#include "storage/base/files.hpp"

namespace muster::sandbox {

/// Bytes under way in one direction of one command.
constexpr std::uint64_t kExecWindow = 64u << 10;

struct ExecRequest {
  std::uint64_t number = 0;
  std::string sandbox;
  std::vector<std::string> argv;
  std::map<std::string, std::string> env;
  std::string workdir;
  bool tty = false;
  unsigned columns = 0, rows = 0;
  std::int64_t timeout_ms = 0;
  std::uint64_t max_output_bytes = 0;
  std::uint64_t memory_bytes = 0;
  std::int64_t cpu_ms = 0;
};

struct ExecOutcome {
  int exit_code = -1;
  int signal = 0;
  std::string reason, message;
};

/// Called on the command's thread.
struct ExecEvents {
  std::function<void(std::uint64_t more)> credit;  ///< The first: it runs.
  std::function<void(std::uint8_t stream, std::string bytes)> output;
  std::function<void(ExecOutcome)> ended;
};

/// What it is started with.
struct ExecTools {
  Paths paths;
  std::string runtime;
  std::filesystem::path muster_init;
};

class Exec {
 public:
  Exec(ExecTools tools, ExecRequest request, ExecEvents events);
  ~Exec();  ///< Kills and waits.
  Exec(const Exec&) = delete;
  Exec& operator=(const Exec&) = delete;

  // Any thread.
  /// False when that is more than was granted.
  bool input(std::string_view bytes, bool eof);
  void resize(unsigned columns, unsigned rows);
  void signal(int number);
  void credit(std::uint64_t more);
  /// Kills it; `reason` is what its end says. The first one counts.
  void end(const std::string& reason);

 private:
  class Run;

  /// What others ask of the thread; under mutex_.
  struct Asked {
    std::string input;
    bool eof = false;
    std::uint64_t may_send = 0;  ///< Input that was granted and has not come.
    std::uint64_t credit = 0;
    unsigned columns = 0, rows = 0;
    std::string signals;
    std::string end;
  };
  void wake();

  const ExecTools tools_;
  const ExecRequest request_;
  const ExecEvents events_;
  std::mutex mutex_;
  Asked asked_;
  Fd wake_;
  std::thread thread_;  // last
};

}  // namespace muster::sandbox
