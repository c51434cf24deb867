#include "tools/muster/cli.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <utility>

#include "actors/spec/units.hpp"
#include "tools/muster/commands/commands.hpp"
#include "tools/muster/completion.hpp"
#include "tools/muster/console/session.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

constexpr const char* kCommon =
    "Everywhere: --json (one document on stdout), --root DIR, --url URL (else MUSTER_URL), --help.";
constexpr const char* kExits =
    "Exit: 0 all delivered, unchanged or skipped; 1 some failed, halted or cancelled; 2 usage or a "
    "bad file;\n"
    "3 not found; 4 refused; 5 conflict; 6 unreachable; 7 overloaded; 124 time-out; 130 detached.";

const CLI::IsMember kRunStates({"waiting", "queued", "provisioning", "running", "verifying",
                                "delivering", "delivered", "unchanged", "skipped", "failed",
                                "cancelled", "superseded"});
/// CLI11 takes -1 for the largest number there is.
const CLI::Validator kCount(
    [](std::string& text) {
      const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
      return digits ? std::string() : text + " is no whole number from 0";
    },
    "");
const CLI::IsMember kFleetStates({"pending", "running", "paused", "halted", "completed",
                                  "completed_with_failures", "cancelled"});
const CLI::IsMember kSwarmStates({"pending", "running", "delivering", "completed",
                                  "completed_with_rejections", "stopped", "cancelled"});
const CLI::IsMember kClasses({"infrastructure", "agent", "verification", "delivery", "policy"});

/// One value each time the option is given: "-R a -R b", never "-R a b", which would swallow the
/// fleet file.
CLI::Option* many(CLI::App* app, const std::string& names, std::vector<std::string>& to,
                  const std::string& what) {
  return app->add_option(names, to, what)->allow_extra_args(false)->take_all();
}

CLI::Option* duration(CLI::App* app, const std::string& names, Duration& to,
                      const std::string& what) {
  return app
      ->add_option_function<std::string>(
          names,
          [&to, names](const std::string& text) {
            const auto parsed = parse_duration(text);
            if (!parsed) throw CLI::ValidationError(names, parsed.error().message);
            to = *parsed;
          },
          what)
      ->type_name("DURATION");
}

class CommandLine {
 public:
  CommandLine()
      : app_("Muster: one intent over many repositories, each in an isolated run of an agent.",
             "muster") {
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.set_version_flag("--version", std::string("muster ") + MUSTER_VERSION);
    app_.add_flag("--json", globals_.json, "One JSON document on stdout");
    app_.add_option("--root", globals_.root,
                    "musterd's --root: its socket is DIR/run/muster/musterd.sock")
        ->type_name("DIR");
    app_.add_option("--url", globals_.url, "Where musterd is: https://HOST:7412 or unix:/PATH")
        ->type_name("URL");
    app_.add_option("--ca", globals_.ca,
                    "Who signed the certificate of an https address (MUSTER_CA)")
        ->type_name("FILE");
    app_.footer(kExits);
    add_fleet();
    add_swarm();
    add_run();
    add_pull();
    add_host();
    add_console();
    add_audit();
    add_backup();
    add_rest();
  }

  /// The command that was chosen; throws CLI::ParseError.
  std::function<int(Context&)> parse(const std::vector<std::string>& arguments) {
    const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
    std::vector<std::string> own(arguments.begin(), dashes);
    if (dashes != arguments.end()) run_.input.command.assign(dashes + 1, arguments.end());
    std::reverse(own.begin(), own.end());  // what CLI11 wants of a vector
    app_.parse(std::move(own));
    if (dashes != arguments.end() && !takes_command_) throw CLI::ExtrasError({"--"});
    return chosen_;
  }

  [[nodiscard]] const Globals& globals() const { return globals_; }
  [[nodiscard]] const CLI::App& app() const { return app_; }

 private:
  using Action = std::function<int(Context&)>;

  CLI::App* group(const std::string& name, const std::string& what) {
    CLI::App* sub = app_.add_subcommand(name, what);
    sub->require_subcommand(1);
    sub->fallthrough();
    return sub;
  }

  CLI::App* command(CLI::App* parent, const std::string& name, const std::string& what,
                    Action action) {
    CLI::App* sub = parent->add_subcommand(name, what);
    sub->fallthrough();
    sub->footer(kCommon);
    sub->callback([this, action = std::move(action)] { chosen_ = action; });
    return sub;
  }

  CLI::App* named(CLI::App* parent, const std::string& name, const std::string& what,
                  const std::string& subject, Action action) {
    CLI::App* sub = command(parent, name, what, std::move(action));
    sub->add_option(subject, name_)->required();
    return sub;
  }

  void add_wait(CLI::App* sub, WaitFlags& flags) {
    sub->add_flag("--detach", flags.detach, "Return as soon as it is started");
    duration(sub, "--timeout", flags.timeout,
             "Stop waiting after so long (exit 124); the work goes on");
  }

  void add_fleet_run(CLI::App* fleet) {
    FleetInput& in = run_.input;
    CLI::App* sub = command(fleet, "run", "Start a fleet, show its plan, wait and report",
                            [this](Context& c) { return fleet_run(c, run_); });
    sub->preparse_callback([this](std::size_t) { takes_command_ = true; });
    sub->add_option("FILE", in.file,
                    "The fleet file; or everything by options, and the command after --");
    many(sub, "-R,--repo", in.repositories, "A repository: path, glob or URL (repeatable)");
    many(sub, "--repos", in.lists, "A file with one repository a line (repeatable)");
    many(sub, "--exclude", in.exclude, "Glob over OWNER/NAME (repeatable)");
    sub->add_option("--limit", in.limit, "Only the first N repositories")->check(kCount);
    sub->add_option("--base-branch", in.base_branch,
                    "Of every -R and --repos; default: each remote's HEAD");
    sub->add_option("--name", in.name, "The fleet's identity; default: the branch's last part");
    sub->add_option("--prompt", in.prompt,
                    "The intent: for the agent, and quoted in pull requests");
    sub->add_option("-B,--branch", in.branch, "The branch to deliver");
    sub->add_option("-m,--commit-message", in.message, "Default: the prompt's first line");
    sub->add_option("-t,--pr-title,--title", in.title, "Default: the commit message's first line");
    sub->add_option("-b,--pr-body,--body", in.body,
                    "Precedes the intent, the verifications and the summary");
    sub->add_flag("--draft", in.draft, "Pull requests are drafts");
    many(sub, "--label", in.labels, "Label of pull requests (repeatable)");
    many(sub, "-r,--reviewer", in.reviewers, "Reviewer of pull requests (repeatable)");
    many(sub, "-a,--assignee", in.assignees, "Assignee of pull requests (repeatable)");
    sub->add_option("-C,--concurrent", in.concurrency, "At most N runs at a time")->check(kCount);
    sub->add_option("--max-attempts", in.max_attempts, "Attempts of one repository")->check(kCount);
    sub->add_option("--conflict-strategy", in.conflict_strategy,
                    "When the branch exists: skip or replace")
        ->check(CLI::IsMember({"skip", "replace"}));
    many(sub, "--verify", in.verify, "A command that must exit 0 before delivery (repeatable)");
    many(sub, "--file", in.files, "A file or directory that travels with the agent (repeatable)");
    sub->add_option("--image", in.image,
                    "host, devcontainer, env:NAME, dir:PATH, tar:PATH, oci:PATH[:TAG] or "
                    "docker://HOST/NAME[:TAG]");
    sub->add_flag("-d,--dry-run", run_.dry_run, "Do everything but push, and show the diffs");
    add_wait(sub, run_.wait);
    sub->footer(std::string("In one line: muster fleet run --repos repos.txt -B BRANCH -m MESSAGE "
                            "-- ./script.sh ARG...\n") +
                kCommon);
  }

  void add_fleet() {
    CLI::App* fleet = group("fleet", "Fleets: one intent over many repositories");
    CLI::App* init = command(fleet, "init", "Write a commented fleet file to start from",
                             [this](Context& c) { return fleet_init(c, init_file_, force_); });
    init->add_option("FILE", init_file_, "Default: fleet.yaml");
    init->add_flag("--force", force_, "Replace the file");
    CLI::App* validate =
        command(fleet, "validate", "Check a fleet file and every repository that it selects",
                [this](Context& c) { return fleet_validate(c, run_.input); });
    validate->add_option("FILE", run_.input.file, "The fleet file")->required();
    validate->add_flag("!--offline", run_.input.check_repositories,
                       "Don't look at the repositories");
    add_fleet_run(fleet);
    CLI::App* all =
        command(fleet, "list", "List fleets", [this](Context& c) { return fleet_list(c, list_); });
    all->add_option("--state", list_.state, "Only those in this state")->check(kFleetStates);
    all->add_option("--limit", list_.limit, "At most N (100); 0: all")->check(kCount);
    CLI::App* status =
        named(fleet, "status", "Counts per state, wave, time left, why runs wait", "NAME",
              [this](Context& c) { return fleet_status(c, name_, watch_, wait_.timeout); });
    status->add_flag("-w,--watch", watch_, "Until it ends, with progress");
    duration(status, "--timeout", wait_.timeout, "With --watch: stop after so long (exit 124)");
    CLI::App* report =
        named(fleet, "report", "Outcomes, failures by cause, pull requests, time per phase", "NAME",
              [this](Context& c) { return fleet_report(c, name_, format_); });
    report->add_option("--format", format_, "table, markdown, csv (one line per run) or json")
        ->check(CLI::IsMember({"table", "markdown", "csv", "json"}));
    for (const auto& [verb, what] : {std::pair{"pause", "Start nothing new; what runs goes on"},
                                     std::pair{"resume", "Go on after a pause or a halt"},
                                     std::pair{"cancel", "End every run that has not ended"}}) {
      CLI::App* sub = named(fleet, verb, what, "NAME", [this, v = std::string(verb)](Context& c) {
        return fleet_change(c, name_, v, reason_);
      });
      sub->add_option("--reason", reason_, "Recorded and shown");
    }
    CLI::App* retry = named(fleet, "retry", "Run what failed again", "NAME",
                            [this](Context& c) { return fleet_retry(c, name_, retry_); });
    retry->add_flag("--failed", failed_, "What failed (the default)");
    many(retry, "--class", retry_.classes, "Only failures of this class (repeatable)")
        ->check(kClasses);
    retry->add_option("--repo", retry_.repository, "Only these: a glob over OWNER/NAME");
    retry->add_option("--reason", retry_.reason, "Recorded and shown");
    add_wait(retry, retry_.wait);
    for (const auto& [verb, what] : {std::pair{"merge", "Merge the fleet's open pull requests"},
                                     std::pair{"close", "Close the fleet's open pull requests"}}) {
      CLI::App* sub = named(fleet, verb, what, "NAME", [this, v = std::string(verb)](Context& c) {
        return fleet_pulls(c, name_, v, list_.repository, reason_);
      });
      sub->add_option("--repo", list_.repository, "Only these: a glob over OWNER/NAME");
      sub->add_option("--reason", reason_, "Recorded and shown");
    }
    CLI::App* logs = named(fleet, "logs", "Write the runs' logs, a file per repository", "NAME",
                           [this](Context& c) { return fleet_logs(c, name_, failed_, file_); });
    logs->add_flag("--failed", failed_, "Only of runs that failed");
    logs->add_option("--output,-o", file_, "The directory")->required();
  }

  void add_swarm() {
    CLI::App* swarm = group("swarm", "Swarms: many agents on facets of one outcome");
    CLI::App* init = command(swarm, "init", "Write a commented swarm file to start from",
                             [this](Context& c) { return swarm_init(c, init_file_, force_); });
    init->add_option("FILE", init_file_, "Default: swarm.yaml");
    init->add_flag("--force", force_, "Replace the file");
    CLI::App* validate = command(swarm, "validate", "Check a swarm file and its repositories",
                                 [this](Context& c) { return swarm_validate(c, file_); });
    validate->add_option("FILE", file_, "The swarm file")->required();
    CLI::App* run = command(swarm, "run", "Start a swarm, show its tree, wait for its end",
                            [this](Context& c) { return swarm_run(c, file_, wait_); });
    run->add_option("FILE", file_, "The swarm file")->required();
    add_wait(run, wait_);
    CLI::App* all =
        command(swarm, "list", "List swarms", [this](Context& c) { return swarm_list(c, list_); });
    all->add_option("--state", list_.state, "Only those in this state")->check(kSwarmStates);
    all->add_option("--limit", list_.limit, "At most N (100); 0: all")->check(kCount);
    CLI::App* status =
        named(swarm, "status", "The tree: repositories, facets, what each does", "NAME",
              [this](Context& c) { return swarm_status(c, name_, watch_, wait_.timeout); });
    status->add_flag("-w,--watch", watch_, "Until it ends, with progress");
    duration(status, "--timeout", wait_.timeout, "With --watch: stop after so long (exit 124)");
    CLI::App* show = named(swarm, "show", "One facet's story", "NAME",
                           [this](Context& c) { return swarm_show(c, name_, facet_); });
    show->add_option("FACET", facet_)->required();
    named(swarm, "ledger", "What became of every commit, proven from git (exit 1: it can't be)",
          "NAME", [this](Context& c) { return swarm_ledger(c, name_); });
    named(swarm, "report", "Markdown: what the facets found, each one's outcome, who is missing",
          "NAME", [this](Context& c) { return swarm_report(c, name_); });
    for (const auto& [verb, what] :
         {std::pair{"pause", "Start nothing new; what runs goes on"},
          std::pair{"resume", "Go on after a pause"},
          std::pair{"drain", "Begin no more facets; integrate what runs, then end"},
          std::pair{"cancel", "End all work; what is open is rejected"}}) {
      CLI::App* sub = named(swarm, verb, what, "NAME", [this, v = std::string(verb)](Context& c) {
        return swarm_change(c, name_, v, reason_);
      });
      sub->add_option("--reason", reason_, "Recorded and shown");
    }
    CLI::App* steer =
        named(swarm, "steer", "Tell agents something, also those at work (MUSTER_STEER_FILE)", "NAME",
              [this](Context& c) { return swarm_steer(c, name_, facet_, text_); });
    steer->add_option("--facet", facet_, "Only the agents of this facet");
    steer->add_option("TEXT", text_)->required();
    CLI::App* retry = named(swarm, "retry", "Try again what was rejected", "NAME",
                            [this](Context& c) { return swarm_retry(c, name_, reason_, wait_); });
    retry->add_option("--reason", reason_, "Recorded and shown");
    add_wait(retry, wait_);
  }

  void add_run() {
    CLI::App* run = group("run", "Runs: one repository in one fleet");
    CLI::App* all =
        command(run, "list", "List runs", [this](Context& c) { return run_list(c, list_); });
    all->add_option("--fleet", list_.fleet, "Only of this fleet");
    all->add_option("--state", list_.state, "Only in this state")->check(kRunStates);
    all->add_option("--class", list_.failure_class, "Only failures of this class")->check(kClasses);
    all->add_option("--repo", list_.repository, "Only these: a glob over OWNER/NAME");
    all->add_option("--limit", list_.limit, "At most N (100); 0: all")->check(kCount);
    const std::string id = "RUN";
    named(run, "show", "A run's whole story: attempts, steps, times, verifications", id,
          [this](Context& c) { return run_show(c, name_); });
    CLI::App* logs = named(run, "logs", "A run's log", id,
                           [this](Context& c) { return run_logs(c, name_, log_); });
    logs->add_flag("-f,--follow", log_.follow, "Go on until the attempt ends");
    logs->add_option("--attempt", log_.attempt, "Default: the last")->check(kCount);
    logs->add_option("--step", log_.step, "Only this step: setup:1, agent, verify:NAME");
    logs->add_option("--tail", log_.tail, "Only the last N lines")->check(kCount);
    logs->add_option("--since", log_.since, "Only what is newer: 10m, or a time");
    logs->add_flag("--timestamps", log_.timestamps, "Begin each line with its time");
    logs->add_flag("--failed", log_.failed, "Only the step that failed");
    CLI::App* cancel = named(run, "cancel", "End a run", id,
                             [this](Context& c) { return run_cancel(c, name_, reason_); });
    cancel->add_option("--reason", reason_, "Recorded and shown");
    named(run, "steer", "Tell its agent something, also while it works (MUSTER_STEER_FILE)", id,
          [this](Context& c) { return run_steer(c, name_, text_); })
        ->add_option("TEXT", text_)
        ->required();
    CLI::App* move =
        named(run, "move", "Take a run off its host; it begins again on another", id,
              [this](Context& c) { return run_move(c, name_, to_, reason_, dry_run_); });
    move->add_option("--to", to_, "On this host (default: on any other that has room)");
    move->add_option("--reason", reason_, "Recorded and shown");
    move->add_flag("--dry-run", dry_run_, "Only say what would happen");
    add_snapshots(run);
    named(run, "diff", "What a run changed, as a patch", id,
          [this](Context& c) { return run_diff(c, name_); });
    CLI::App* artifacts =
        named(run, "artifacts", "Files that an attempt left in $MUSTER_OUTPUT/artifacts", id,
              [this](Context& c) { return run_artifacts(c, name_, log_.attempt, file_); });
    artifacts->add_option("--attempt", log_.attempt, "Default: the newest that left any")->check(kCount);
    artifacts->add_option("--output,-o", file_, "Write them to this directory, over nothing");
    CLI::App* copy = command(run, "cp", "Copy files between a run's sandbox and here",
                             [this](Context& c) { return run_copy(c, name_, file_); });
    copy->add_option("FROM", name_, "RUN:PATH (below the workspace, or whole), a path here, or - for a tar stream")->required();
    copy->add_option("TO", file_, "The other one")->required();
    add_exec(run);
  }

  void add_snapshots(CLI::App* run) {
    const std::string id = "RUN";
    CLI::App* take = named(run, "snapshot", "Keep the files of a run's sandbox as they are now; it goes on", id,
                           [this](Context& c) { return run_snapshot(c, name_, text_, remove_); });
    take->add_option("NAME", text_, "What to call it");
    take->add_option("--remove", remove_, "Remove this snapshot instead");
    take->footer(std::string("Example: muster run snapshot 7K3F before-the-refactoring\n") + kCommon);
    named(run, "snapshots", "What was kept of a run's sandbox", id,
          [this](Context& c) { return run_snapshots(c, name_); });
    CLI::App* fork = named(run, "fork", "A new run that begins with a snapshot, beside the old one", id,
                           [this](Context& c) { return run_fork(c, name_, fork_); });
    fork->add_option("--snapshot", fork_.snapshot, "This one (default: one is taken now)");
    fork->add_option("--name", fork_.name, "Of its fleet, which has this run only; its branch is muster/NAME");
    fork->add_option("--prompt", fork_.prompt, "Another intent than the old one's");
    fork->add_option("--command", fork_.command, "What its agent runs, for bash");
    fork->footer(std::string("Example: muster run fork 7K3F --prompt \"Try it with a cache instead\"\n") + kCommon);
  }

  void add_exec(CLI::App* run) {
    CLI::App* exec = named(run, "exec", "Run a command in a run's sandbox, after --", "RUN", [this](Context& c) {
      return run_exec(c, name_, exec_, run_.input.command);
    });
    exec->preparse_callback([this](std::size_t) { takes_command_ = true; });
    exec->add_flag("-t,--tty", exec_.tty, "With a terminal; \"~.\" at the beginning of a line leaves it");
    many(exec, "-e,--env", exec_.env, "NAME=VALUE, or NAME for this shell's own (repeatable)");
    exec->add_option("-w,--workdir", exec_.workdir, "Where, in the workspace or by whole path");
    duration(exec, "--timeout", exec_.timeout, "End it after so long (exit 124)");
    CLI::App* attach = named(run, "attach", "A shell with a terminal in a run's sandbox", "RUN",
                             [this](Context& c) { return run_attach(c, name_, exec_); });
    many(attach, "-e,--env", exec_.env, "NAME=VALUE, or NAME for this shell's own (repeatable)");
    attach->add_option("-w,--workdir", exec_.workdir, "Where, in the workspace or by whole path");
  }

  void add_pull() {
    CLI::App* pull = group("pr", "Pull requests: OWNER/NAME#N");
    CLI::App* all = command(pull, "list", "List pull requests",
                            [this](Context& c) { return pull_list(c, list_); });
    all->add_option("--fleet", list_.fleet, "Only of this fleet");
    all->add_option("--repo", list_.repository, "Only these: a glob over OWNER/NAME");
    all->add_option("--state", list_.state, "open, merged or closed")
        ->check(CLI::IsMember({"open", "merged", "closed"}));
    all->add_option("--limit", list_.limit, "At most N (100); 0: all")->check(kCount);
    const std::string id = "PULL";
    named(pull, "show", "A pull request and its text", id,
          [this](Context& c) { return pull_show(c, name_); });
    named(pull, "diff", "A pull request's patch", id,
          [this](Context& c) { return pull_diff(c, name_); });
    for (const auto& [verb, what] : {std::pair{"merge", "Merge it into its base branch"},
                                     std::pair{"close", "Close it without merging"}}) {
      CLI::App* sub = named(pull, verb, what, id, [this, v = std::string(verb)](Context& c) {
        return pull_change(c, name_, v, reason_);
      });
      sub->add_option("--reason", reason_, "Recorded and shown");
    }
  }

  void add_host() {
    CLI::App* host = group("host", "Hosts: machines that run sandboxes");
    command(host, "list", "List hosts", [](Context& c) { return host_list(c); });
    named(host, "show", "Its lease, sandboxes, warm pool and warm repositories", "HOST",
          [this](Context& c) { return host_show(c, name_); });
    for (const auto& [verb, what] :
         {std::pair{"cordon", "Place nothing new there"},
          std::pair{"uncordon", "Place runs there again"},
          std::pair{"drain", "Place nothing new there and let its runs end"}}) {
      CLI::App* sub = named(host, verb, what, "HOST", [this, v = std::string(verb)](Context& c) {
        return host_change(c, name_, v, reason_);
      });
      sub->add_option("--reason", reason_, "Recorded and shown");
    }
  }

  void add_console() {
    CLI::App* sub = command(&app_, "console", "Look into actors and their journals: a prompt",
                            [this](Context& c) { return console::run_console(c, lines_); });
    many(sub, "--exec", lines_,
         "Run this line and leave (repeatable; stops at the first that fails)");
    sub->footer(std::string("Lines also come from a pipe. `help` lists what can be typed.\n") +
                kCommon);
  }

  void add_audit() {
    CLI::App* audit = group("audit", "The audit log: who did what, and whether it is whole");
    CLI::App* tail = command(audit, "tail", "The newest entries",
                             [this](Context& c) { return audit_tail(c, audit_); });
    tail->add_option("-n,--lines", audit_.lines, "At most N (20)");
    tail->add_flag("-f,--follow", audit_.follow, "Go on with what comes");
    tail->add_option("--who", audit_.who, "Only of this caller");
    tail->add_option("--action", audit_.action, "Only where the action holds this text");
    tail->add_option("--since", audit_.since, "Only what is newer: 10m, or a time");
    CLI::App* verify =
        command(audit, "verify", "Check every hash and signature (exit 1: something is wrong)",
                [this](Context& c) { return audit_verify(c, audit_); });
    verify->add_option("--file", audit_.file,
                       "An exported file instead of musterd's log; needs --key");
    verify->add_option("--key", audit_.key, "The public half: audit.key.pub");
    verify->add_option("--heads", audit_.heads, "The signed heads, for --file");
    CLI::App* exported = command(audit, "export", "Write all entries into a file",
                                 [this](Context& c) { return audit_export(c, audit_); });
    exported->add_option("-o,--output", audit_.file, "The file")->required();
    exported->add_option("--upto", audit_.upto, "Only up to this entry");
    CLI::App* prune =
        command(audit, "prune", "Give up what an export holds; a signed checkpoint stays",
                [this](Context& c) { return audit_prune(c, audit_); });
    prune->add_option("--export", audit_.file, "The exported file")->required();
    prune->add_option("--reason", audit_.reason, "Recorded and shown");
  }

  void add_backup() {
    CLI::App* backup = group("backup", "Backups of the whole installation, made while it runs");
    CLI::App* create =
        named(backup, "create", "Make one in a directory of musterd's machine", "DIR",
              [this](Context& c) { return backup_create(c, name_, reason_); });
    create->add_option("--reason", reason_, "Recorded and shown");
    named(backup, "list", "The backups in a directory of musterd's machine", "DIR",
          [this](Context& c) { return backup_list(c, name_); });
  }

  void add_rest() {
    CLI::App* completion = command(&app_, "completion", "A completion script for bash, zsh or fish",
                                   [this](Context& c) {
                                     std::vector<CompletionEntry> entries;
                                     collect(app_, "", entries);
                                     c.out() << completion_script(name_, entries);
                                     return 0;
                                   });
    completion->add_option("SHELL", name_)
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    // For the completion scripts: the names that there are, a line each.
    CLI::App* names =
        command(&app_, "names", "", [this](Context& c) { return print_names(c, name_); });
    names->group("");  // hides it
    names->add_option("KIND", name_)->required();
    command(&app_, "version", "This program's version", [](Context& c) {
      if (c.json())
        c.out() << dumped({{"version", MUSTER_VERSION}}) << "\n";
      else
        c.out() << "muster " << MUSTER_VERSION << "\n";
      return 0;
    });
  }

  static bool hidden(const CLI::App& app) { return app.get_group().empty(); }

  /// The words of a CLI::IsMember, which are nowhere but in the type's name: "TEXT:{a,b}".
  static std::vector<std::string> words_taken(const CLI::Option& option) {
    const std::string type = option.get_type_name();
    const std::size_t begin = type.find('{'), end = type.find('}');
    if (begin == std::string::npos || end == std::string::npos) return {};
    return CLI::detail::split(type.substr(begin + 1, end - begin - 1), ',');
  }

  /// Whose names a command's argument takes, by its name in the usage.
  static std::string names_behind(const std::string& path, const std::string& argument) {
    if (argument == "NAME" && path.starts_with("fleet ")) return "fleet";
    if (argument == "NAME" && path.starts_with("swarm ")) return "swarm";
    if (argument == "RUN") return "run";
    if (argument == "PULL") return "pr";
    return argument == "HOST" ? "host" : "";
  }

  static void collect(const CLI::App& app, const std::string& path,
                      std::vector<CompletionEntry>& out) {
    CompletionEntry entry{path, {}, {}, {}, ""};
    const auto subs = app.get_subcommands([](const CLI::App* sub) { return !hidden(*sub); });
    for (const CLI::App* sub : subs) entry.commands.push_back(sub->get_name());
    for (const CLI::Option* option : app.get_options([](const CLI::Option*) { return true; })) {
      std::vector<std::string> own;
      for (const std::string& name : option->get_lnames()) own.push_back("--" + name);
      for (const std::string& name : option->get_snames()) own.push_back("-" + name);
      entry.options.insert(entry.options.end(), own.begin(), own.end());
      const std::vector<std::string> words = words_taken(*option);
      if (own.empty()) {
        entry.commands.insert(entry.commands.end(), words.begin(), words.end());
        entry.names = names_behind(path, option->get_single_name());
        continue;
      }
      const std::string names = own.front() == "--fleet" ? "fleet"
                                : own.front() == "--to"  ? "host"
                                                         : "";
      if (words.empty() && names.empty()) continue;
      for (const std::string& name : own) entry.values.push_back({name, words, names});
    }
    if (!path.empty())
      entry.options.insert(entry.options.end(), {"--json", "--root", "--url", "--ca"});
    out.push_back(std::move(entry));
    for (const CLI::App* sub : subs)
      collect(*sub, path + (path.empty() ? "" : " ") + sub->get_name(), out);
  }

  CLI::App app_;
  Globals globals_;
  Action chosen_;
  bool takes_command_ = false;
  std::vector<std::string> lines_;
  std::string name_, facet_, text_, remove_, reason_, to_, format_ = "table", file_, init_file_;
  bool force_ = false, watch_ = false, failed_ = false, dry_run_ = false;
  WaitFlags wait_;
  FleetRunFlags run_;
  ListFlags list_;
  RetryFlags retry_;
  LogFlags log_;
  ExecFlags exec_;
  ForkFlags fork_;
  AuditFlags audit_;
};

/// The deepest command that the words name, for its help and for what may follow it.
const CLI::App& command_meant(const CLI::App& app, const std::vector<std::string>& words,
                              std::string& unknown) {
  const CLI::App* at = &app;
  bool value = false;  // of a global option, before the command
  for (const std::string& word : words) {
    if (std::exchange(value, word == "--root" || word == "--url" || word == "--ca") ||
        word.starts_with("-"))
      continue;
    const auto subs = at->get_subcommands([](const CLI::App*) { return true; });
    const auto found = std::find_if(subs.begin(), subs.end(),
                                    [&](const CLI::App* sub) { return sub->get_name() == word; });
    if (found == subs.end()) {
      if (!subs.empty()) unknown = word;
      break;
    }
    at = *found;
  }
  return *at;
}

std::string full_name(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name()
                                     : full_name(*app.get_parent()) + " " + app.get_name();
}

int refuse(const CommandLine& line, const std::vector<std::string>& arguments,
           const CLI::ParseError& error, Context& context) {
  std::string unknown;
  const CLI::App& meant = command_meant(line.app(), arguments, unknown);
  std::string message = error.what(), hint = full_name(meant) + " --help";
  if (!unknown.empty()) {
    std::vector<std::string> names;
    for (const CLI::App* sub : meant.get_subcommands([](const CLI::App*) { return true; }))
      names.push_back(sub->get_name());
    const std::string near = actors::nearest(unknown, names);
    message = "there is no command \"" + full_name(meant) + " " + unknown + "\"";
    if (!near.empty()) hint = "did you mean \"" + full_name(meant) + " " + near + "\"?";
  }
  return context.usage(message, hint);
}

}  // namespace

int run_cli(const std::vector<std::string>& arguments, Io& io) {
  CommandLine line;
  try {
    const auto action = line.parse(arguments);
    Context context(io, line.globals());
    const int code = action(context);
    io.out.to.flush();
    if (!io.out.to) return context.fail({Errc::io, "can't write to standard output", ""});
    return code;
  } catch (const CLI::CallForHelp&) {
    std::string unknown;
    const CLI::App& meant = command_meant(line.app(), arguments, unknown);
    const CLI::App* parent = meant.get_parent();
    io.out.to << meant.help(parent == nullptr ? "" : full_name(*parent));
    return 0;
  } catch (const CLI::CallForVersion& version) {
    io.out.to << version.what() << "\n";
    return 0;
  } catch (const CLI::ParseError& error) {
    Context context(io, line.globals());
    return refuse(line, arguments, error, context);
  }
}

}  // namespace muster::cli
