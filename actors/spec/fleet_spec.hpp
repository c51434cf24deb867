// The fleet file as values: what tools/schema/fleet.schema.json describes, with every default
// filled in.
//
// JSON in (the client turns YAML into JSON, musterd gets JSON), a FleetSpec or all problems out.
// The canonical form is JSON again: every key present, keys sorted, units in their shortest exact
// form; it is itself a valid fleet file, and reading it back gives the same FleetSpec. Pure; any
// thread.
//
//   auto fleet =
//   parse_fleet(R"({"name":"x","repositories":[{"path":"/srv/git/*.git"}],"agent":{"run":"true"}})");
//   if (!fleet) for (const Problem& p : fleet.error()) report(p.pointer, p.message);
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "actors/common_generated.h"
#include "storage/base/time.hpp"

namespace muster::actors {

// Named limits of a fleet file.
inline constexpr std::size_t kMaxSpecBytes = 1u << 20;
inline constexpr std::size_t kMaxText = 64u << 10;  ///< prompt, body, one command
inline constexpr std::size_t kMaxSources = 50'000;  ///< entries of repositories
inline constexpr std::size_t kMaxListed = 200;      ///< entries of any other list
inline constexpr std::size_t kMaxSteps =
    200;  ///< setup and verify together: a log frame has 8 bits
inline constexpr Duration kMaxDuration{7LL * 24 * 3600 * 1000};

/// A string runs under `bash -eo pipefail -c`; a list is argv.
struct Command {
  std::string shell;  ///< Empty when it is argv.
  std::vector<std::string> argv;
  bool operator==(const Command&) const = default;
  [[nodiscard]] bool empty() const { return shell.empty() && argv.empty(); }
  /// What is executed.
  [[nodiscard]] std::vector<std::string> to_argv() const;
};

struct RepositorySource {
  enum class Kind : std::uint8_t { path, file, url };
  Kind kind = Kind::path;
  std::string value;        ///< Path or glob, file name, or URL; relative to the fleet file.
  std::string base_branch;  ///< Empty: the remote's HEAD.
  std::map<std::string, std::string> labels;
  bool operator==(const RepositorySource&) const = default;
};

/// A file that travels with the fleet and lies in each sandbox before its first step.
struct PlacedFile {
  std::string source;  ///< Relative to the fleet file.
  std::string path;    ///< Absolute, below /home/agent or /tmp.
  std::uint32_t mode = 0644;
  bool root = false;  ///< Owned by root, else by the agent.
  bool operator==(const PlacedFile&) const = default;
};

struct Environment {
  std::string image = "host";
  std::vector<Command> setup;
  std::map<std::string, std::string> env;
  std::vector<std::string> secrets;
  std::vector<PlacedFile> files;
  bool host_network = false;
  std::uint32_t cpus_milli = 1000;
  std::uint64_t memory_bytes = 2ull << 30;
  std::uint32_t pids = 512;
  std::uint64_t disk_bytes = 4ull << 30;
  bool operator==(const Environment&) const = default;
};

/// A repository beside the run's own, in /repositories/NAME: for reading and running; nothing of it is delivered.
struct WorkspaceRepository {
  std::string name;
  std::string location;     ///< What git fetches; a path is whole once the client has read the file.
  bool path = false;
  std::string base_branch;  ///< Empty: the remote's HEAD.
  bool operator==(const WorkspaceRepository&) const = default;
};
inline constexpr std::size_t kMaxWorkspaceRepositories = 16;

/// Work in progress of an attempt that does not pass.
struct CheckpointPolicy {
  Duration interval{0};  ///< While the agent runs, and at its end; 0: none are made.
  bool resume = true;    ///< The next attempt begins with the last one.
  bool operator==(const CheckpointPolicy&) const = default;
};
inline constexpr Duration kCheckpointInterval{5 * 60'000};  ///< Where the file says no other.

struct Agent {
  Command run;
  std::vector<std::string> files;
  Duration timeout{20 * 60'000};       ///< Of the agent, and of each setup command.
  Duration idle_timeout{10 * 60'000};  ///< 0: no limit.
  bool operator==(const Agent&) const = default;
};

struct Verification {
  std::string name;
  Command run;
  std::string if_exists;  ///< Empty: always applies.
  Duration timeout{10 * 60'000};
  bool operator==(const Verification&) const = default;
};

/// A cumulative bound: a count of repositories, or a share of all.
struct Wave {
  std::uint32_t count = 0;  ///< 0 where permille counts.
  std::uint32_t permille = 0;
  bool operator==(const Wave&) const = default;
};

struct RetrySpec {
  std::uint32_t max_attempts = 3;
  std::vector<fbs::FailureClass> on{fbs::FailureClass::infrastructure, fbs::FailureClass::agent,
                                    fbs::FailureClass::verification};
  Duration backoff{10'000};
  Duration max_backoff{5 * 60'000};
  bool operator==(const RetrySpec&) const = default;
};

struct Rollout {
  std::vector<Wave> waves{{5, 0}, {0, 100}, {0, 1000}};
  std::uint32_t concurrency = 50;
  std::uint32_t halt_permille = 200;  ///< 0: never halts.
  std::uint32_t halt_min_runs = 10;
  std::int32_t priority = 0;  ///< Higher first.
  RetrySpec retry;
  Duration timeout{24LL * 3600 * 1000};
  std::vector<std::string> escalate;
  bool operator==(const Rollout&) const = default;
};

struct CommitText {
  std::string message;  ///< Empty: the prompt's first line.
  std::string author_name = "Muster";
  std::string author_email = "muster@localhost";
  bool manual = false;  ///< Keep the agent's own commits.
  bool operator==(const CommitText&) const = default;
};

struct PullSpec {
  std::string title;  ///< Empty: the commit message's first line.
  std::string body;
  bool draft = false;
  std::vector<std::string> labels, reviewers, assignees;
  bool operator==(const PullSpec&) const = default;
};

struct Delivery {
  fbs::DeliveryMode mode = fbs::DeliveryMode::pull_request;
  std::string branch;  ///< Default: muster/NAME.
  fbs::ConflictStrategy conflict_strategy = fbs::ConflictStrategy::skip;
  CommitText commit;
  PullSpec pull_request;
  bool operator==(const Delivery&) const = default;
};

struct FleetSpec {
  std::string name;
  std::string prompt;
  std::vector<RepositorySource> repositories;
  std::vector<std::string> exclude;  ///< Globs over OWNER/NAME; `*` also matches a slash.
  std::vector<WorkspaceRepository> workspace;
  Environment environment;
  Agent agent;
  CheckpointPolicy checkpoint;
  std::vector<Verification> verify;  ///< Empty: nothing is verified.
  Rollout rollout;
  Delivery delivery;
  bool operator==(const FleetSpec&) const = default;
};

/// One thing that is wrong with a fleet file, and where.
struct Problem {
  std::string pointer;  ///< JSON pointer: /rollout/waves/1; "" is the whole file.
  std::string message;
  bool at_key = false;  ///< About the key, not its value.
  bool operator==(const Problem&) const = default;
};

/// All problems at once, in the order of the file's keys as documented. Checks the embedded JSON
/// Schema too.
tl::expected<FleetSpec, std::vector<Problem>> parse_fleet(std::string_view json);

/// The same for one who goes on looking after a problem: what was understood; a key with a problem holds its
/// default or a part. Adds to `problems`.
FleetSpec read_fleet_json(std::string_view json, std::vector<Problem>& problems);

/// Every key present, sorted, without blanks.
std::string to_canonical_json(const FleetSpec& spec);

/// "rollout.concurrency: 50 -> 20", one line each, between two fleets' JSON; at most 50 lines.
std::vector<std::string> differences(std::string_view old_json, std::string_view new_json);

/// "rollout.waves[1]" for "/rollout/waves/1".
std::string dotted(std::string_view pointer);

}  // namespace muster::actors
