// muster-init: process 1 of every sandbox, and the only program of ours inside. It has no privilege (uid 1000,
// no capability, no_new_privs, seccomp); what it has over the agent is that it was there first:
//
// - it is not dumpable, so the agent (same uid) can't trace it, read its memory or open its descriptors;
// - it alone holds the pipe to the log, so step reports in it can't be forged;
// - between two steps it kills every other process, so nothing of the agent is alive while git commits.
//
// Secrets are masked here, before a byte of output becomes log: no store, no link and no restart has to care.
//
// It writes the run's log (storage/base/log_frame.hpp) on its standard output. No exceptions, statically linked.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sandboxd/init/mask.hpp"
#include "storage/base/log_frame.hpp"

namespace muster::sandbox::init {

struct Step {
  std::uint8_t index = 0;
  std::string name;
  std::vector<std::string> argv;
  std::string if_exists;
  std::int64_t timeout_ms = 0;  // 0: none
  std::int64_t idle_ms = 0;     // 0: none
};

enum class ActionKind : std::uint8_t { checkout, step, hold, commit };

struct Action {
  ActionKind kind = ActionKind::step;
  Step step;
};

/// A repository beside the workspace's.
struct OtherRepository {
  std::string name, objects, base, branch, url;
};

struct Plan {
  std::string work, objects, out, base, branch, url;
  std::string message, author_name, author_email, date_s;
  std::string checked_out;  // the commit that the workspace was made of before this plan came; empty: none
  bool warm = false;
  std::int64_t max_pack = 0;
  bool manual = false;
  std::string resume, resume_objects;  // a checkpoint that the workspace begins with; empty: none
  bool fork = false;                   // the workspace is another sandbox's, as its agent left it
  std::int64_t checkpoint_ms = 0;      // 0: none are made
  std::int64_t max_log = 0;  // 0: none
  Mask mask;
  std::vector<std::string> env;
  std::vector<OtherRepository> others;
  std::vector<Action> actions;
};

bool parse_plan(std::string_view text, Plan& plan);

// ---- frames.cpp ----
std::int64_t unix_ms();
void emit(LogType type, std::uint8_t step, std::string_view bytes);
/// What steps print, counted and in frames of the right size. From the limit on nothing more is written but one note.
void emit_output(LogType type, std::uint8_t step, std::string_view bytes);
/// For emit_output; 0: none.
void limit_log(std::int64_t bytes);
bool log_is_full();
/// A JSON string literal.
std::string quoted(std::string_view text);

// ---- supervise.cpp ----

/// Something that is done beside a command, again and again, by a child of this process.
class Beside {
 public:
  virtual ~Beside() = default;
  [[nodiscard]] virtual std::int64_t every_ms() const = 0;
  /// The child's number; not above 0: there is none.
  virtual pid_t begin() = 0;
  virtual void ended(bool well) = 0;
};

struct Command {
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::string directory;
  std::int64_t timeout_ms = 0;
  std::int64_t idle_ms = 0;
  std::int64_t max_file_bytes = 0;  // RLIMIT_FSIZE of the command; 0: as it is
  int in = -1;                      // -1: /dev/null
  int out = -1;                     // -1: into the log
  std::string* capture = nullptr;   // standard output goes here (64 KiB) instead
  const Mask* mask = nullptr;       // hides secrets in what goes into the log
  std::uint8_t frame_step = 0;
  Beside* beside = nullptr;         // while it runs
};

struct Ended {
  int exit_code = -1;
  int signal = 0;
  std::string reason;  // timed_out | idle | log_limit | stopped | start_failed, or empty
  std::int64_t user_ms = 0, system_ms = 0, max_rss_kb = 0;
};

/// Runs the command, copies its output into the log, enforces its limits, and returns when no process but this
/// one is left in the sandbox.
Ended supervise(const Command& command);
/// Only runs the command, its standard streams nowhere where none are named; its exit code. For a child of this process.
int run_aside(const Command& command);
/// Once, before the first supervise(): SIGCHLD and SIGTERM arrive by descriptor from then on.
bool watch_signals();
/// Waits for SIGUSR1 from outside the sandbox, or for a stop.
void wait_for_go();
/// SIGTERM came from outside the sandbox: begin nothing more.
bool stop_requested();

// ---- git.cpp ----

/// What the two git actions keep between them.
class Repository {
 public:
  explicit Repository(const Plan& plan) : plan_(plan) {}
  Ended checkout();
  /// Whether every tracked file is as the checkout left it.
  Ended tracked_unchanged(bool& unchanged);
  /// `head` is empty when there was nothing to commit; `pack` is relative to Plan::out.
  Ended commit(std::string& head, std::string& pack);

  /// A repository of our own in `directory`, with the checkout's index and `parent` as its branch.
  [[nodiscard]] bool write_commit_git(const std::string& directory, const std::string& parent) const;
  /// With that repository, and the workspace as its work tree.
  [[nodiscard]] Command git(const std::string& directory, std::vector<std::string> args, std::uint8_t step) const;

 private:
  Ended checkout_other(const OtherRepository& other);
  [[nodiscard]] std::string clone_config(const std::string& url) const;
  bool write_workspace_git();
  bool save_index(const std::string& directory);
  Ended take_over();
  Ended apply_checkpoint();
  std::string agent_head(Ended& ended);

  const Plan& plan_;
  std::string index_;           // as the checkout left it: the agent's own may lie
  std::int64_t index_mtime_[2] = {0, 0};  // seconds, nanoseconds
};

// ---- checkpoint.cpp ----

/// Work in progress, kept while the agent runs and at the end of an attempt that does not pass.
class Checkpoints final : public Beside {
 public:
  Checkpoints(const Plan& plan, const Repository& repository) : plan_(plan), repository_(repository) {}
  [[nodiscard]] std::int64_t every_ms() const override { return plan_.checkpoint_ms; }
  pid_t begin() override;
  void ended(bool well) override;
  /// One more, when nothing else lives; bounded in time.
  void last();

 private:
  [[nodiscard]] int collect() const;
  [[nodiscard]] bool git(std::vector<std::string> args, const std::string& into, const std::string& from) const;
  [[nodiscard]] std::string pack_file(unsigned number) const;

  const Plan& plan_;
  const Repository& repository_;
  std::string directory_;
  unsigned said_ = 0;
  std::int64_t started_ = 0;
  std::string last_;  // commit
};

}  // namespace muster::sandbox::init
