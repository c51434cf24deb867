// Every command as a function: options in, exit code out. What parses the options is cli.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/time.hpp"
#include "tools/muster/context.hpp"
#include "tools/muster/prepare.hpp"

namespace muster::cli {

struct WaitFlags {
  bool detach = false;
  Duration timeout{0};
};

struct FleetRunFlags {
  FleetInput input;
  WaitFlags wait;
  bool dry_run = false;
};
struct ListFlags {
  std::string fleet, state, failure_class, repository;
  std::size_t limit = 100;  ///< 0: all
};
struct RetryFlags {
  std::vector<std::string> classes;
  std::string repository;
  std::string reason;
  WaitFlags wait;
};
struct LogFlags {
  bool follow = false, timestamps = false, failed = false;
  unsigned attempt = 0;  ///< 0: the last
  std::string step;
  std::optional<std::size_t> tail;
  std::string since;  ///< A duration back from now, or a time.
};

struct ExecFlags {
  bool tty = false;
  std::vector<std::string> env;  ///< NAME=VALUE, or NAME: this process's own.
  std::string workdir;           ///< Relative to the workspace; empty: that.
  Duration timeout{0};
};

struct ForkFlags {
  std::string snapshot;                ///< Empty: one is taken now.
  std::string name, prompt, command;   ///< Of its fleet; empty: musterd names it, the origin's.
};

struct AuditFlags {
  std::size_t lines = 20;
  bool follow = false;
  std::string who, action, since, file, key, heads, reason;
  std::uint64_t upto = 0;  ///< 0: the newest
};

int fleet_init(Context& context, const std::string& file, bool force);
int fleet_validate(Context& context, const FleetInput& input);
int fleet_run(Context& context, const FleetRunFlags& flags);

/// A commented file to start from.
struct Template {
  std::string file;
  std::string kind;  ///< fleet, swarm
  std::string_view text;
  bool force = false;  ///< Also over a file that is there.
};
int write_template(Context& context, const Template& to);
/// Prints what is wrong with a fleet file or a swarm file: nothing was started.
int report_problems(Context& context, const FleetProblems& found);

int fleet_list(Context& context, const ListFlags& flags);
int fleet_status(Context& context, const std::string& name, bool watch, Duration timeout);
int fleet_report(Context& context, const std::string& name, const std::string& format);
/// `verb`: pause, resume or cancel.
int fleet_change(Context& context, const std::string& name, const std::string& verb,
                 const std::string& reason);
int fleet_retry(Context& context, const std::string& name, const RetryFlags& flags);
/// `verb`: merge or close, of every open pull request of the fleet.
int fleet_pulls(Context& context, const std::string& name, const std::string& verb,
                const std::string& repository, const std::string& reason);
int fleet_logs(Context& context, const std::string& name, bool failed, const std::string& output);

int swarm_init(Context& context, const std::string& file, bool force);
int swarm_validate(Context& context, const std::string& file);
int swarm_run(Context& context, const std::string& file, const WaitFlags& flags);
int swarm_list(Context& context, const ListFlags& flags);
int swarm_status(Context& context, const std::string& name, bool watch, Duration timeout);
int swarm_show(Context& context, const std::string& name, const std::string& facet);
/// Exit 1: something was found.
int swarm_ledger(Context& context, const std::string& name);
int swarm_report(Context& context, const std::string& name);
/// `verb`: pause, resume, drain or cancel.
int swarm_change(Context& context, const std::string& name, const std::string& verb,
                 const std::string& reason);
int swarm_steer(Context& context, const std::string& name, const std::string& facet,
                const std::string& text);
int swarm_retry(Context& context, const std::string& name, const std::string& reason,
                const WaitFlags& flags);

int run_list(Context& context, const ListFlags& flags);
int run_show(Context& context, const std::string& id);
int run_logs(Context& context, const std::string& id, const LogFlags& flags);
int run_cancel(Context& context, const std::string& id, const std::string& reason);
int run_steer(Context& context, const std::string& id, const std::string& text);
/// Off its host, to begin again on host `to`; empty: on any other.
int run_move(Context& context, const std::string& id, const std::string& to,
             const std::string& reason, bool dry_run);
/// Takes one, called `name`; with `remove`, the id of one, removes that.
int run_snapshot(Context& context, const std::string& id, const std::string& name, const std::string& remove);
int run_snapshots(Context& context, const std::string& id);
int run_fork(Context& context, const std::string& id, const ForkFlags& flags);
int run_diff(Context& context, const std::string& id);
/// Lists them, or with `output` writes them there, over nothing. `attempt` 0: the newest that left any.
int run_artifacts(Context& context, const std::string& id, unsigned attempt, const std::string& output);

/// Its exit code is the command's. Standard input, output and error are the command's own.
int run_exec(Context& context, const std::string& id, const ExecFlags& flags,
             const std::vector<std::string>& command);
/// One of the two is RUN:PATH, the other a path here, or "-" for a tar stream.
int run_copy(Context& context, const std::string& from, const std::string& to);
/// A shell with a terminal; "~." at the beginning of a line leaves it.
int run_attach(Context& context, const std::string& id, const ExecFlags& flags);

int pull_list(Context& context, const ListFlags& flags);
int pull_show(Context& context, const std::string& id);
int pull_diff(Context& context, const std::string& id);
int pull_change(Context& context, const std::string& id, const std::string& verb,
                const std::string& reason);

int host_list(Context& context);
int host_show(Context& context, const std::string& name);
int host_change(Context& context, const std::string& name, const std::string& verb,
                const std::string& reason);

/// What a command adds to the report's document.
using ReportAddition = std::function<Answer<void>(nlohmann::json& report)>;

/// Waits with progress, then prints the report (its document and `addition` with --json); the exit
/// code of the fleet.
int wait_and_report(Context& context, Client& client, const std::string& name,
                    const WaitFlags& flags, const ReportAddition& addition = {});

/// For completion scripts: the names of `kind` (fleet, swarm, run, pr, host), a line each; at most
/// kNamesShown, within kNamesLimit, and nothing at all when they can't be had.
int print_names(Context& context, const std::string& kind);

/// The path of a run in the API: an id, a prefix of one, or FLEET/OWNER/NAME.
std::string run_path(const std::string& id);

int backup_create(Context& context, const std::string& directory, const std::string& reason);
int backup_list(Context& context, const std::string& directory);

int audit_tail(Context& context, const AuditFlags& flags);
int audit_verify(Context& context, const AuditFlags& flags);
int audit_export(Context& context, const AuditFlags& flags);
int audit_prune(Context& context, const AuditFlags& flags);

}  // namespace muster::cli
