// The swarm file as values: what tools/schema/swarm.schema.json describes, with every default
// filled in, its plan checked. JSON in (the client turns YAML into JSON), a SwarmSpec or all
// problems out, each with the JSON pointer from which the client knows line and column. Pure; any
// thread.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "actors/spec/fleet_spec.hpp"

namespace muster::actors::swarm {

// Named limits of a swarm file.
inline constexpr std::size_t kMaxSwarmBytes = 16u << 20;
inline constexpr std::size_t kMaxFacets = 10'000;
inline constexpr std::size_t kMaxSwarmRepositories = 100;
inline constexpr std::size_t kMaxResults = 100;
inline constexpr std::uint32_t kMaxCandidates = 8;
/// So many problems of the plan are named; a wrong plan of 10,000 facets has millions.
inline constexpr std::size_t kMaxPlanProblems = 50;

struct SwarmRepository {
  std::string id;
  std::string path, url;    ///< Exactly one is not empty.
  std::string base_branch;  ///< Empty: the remote's HEAD.
  bool operator==(const SwarmRepository&) const = default;
};

struct FacetCheck {
  std::string name;
  Command run;
  Duration timeout{10 * 60'000};
  bool operator==(const FacetCheck&) const = default;
};

/// Several agents try a facet, and the best try is kept: by the number `score` in the result.json
/// of a command that runs on each try, or by the number `best` in that of a judge that sees all of
/// them.
struct Choice {
  std::uint32_t agents = 1;  ///< 1: there is nothing to choose.
  bool judged = false;
  Command run;
  Duration timeout{10 * 60'000};
  bool operator==(const Choice&) const = default;
};

struct Facet {
  std::string id;
  std::string task;
  std::string repository;
  std::vector<std::string> scope;
  std::vector<std::string> needs;
  Command agent;  ///< The swarm's when it has none of its own.
  std::vector<FacetCheck> verify;
  std::uint32_t attempts = 3;
  Duration timeout{20 * 60'000};
  Choice best_of;
  bool planner = false;      ///< Its agent plans facets within its scope, and changes nothing.
  std::uint32_t rounds = 1;  ///< … so often.
  std::string owner;         ///< The planner that planned it; empty: it stands in the file.
  bool operator==(const Facet&) const = default;
};

struct SwarmLimits {
  std::uint32_t agents = 50;
  std::uint32_t conflicts = 3;
  std::uint32_t batch = 20;
  std::uint32_t depth = 2;        ///< Planners below planners; 1: planners plan no planners.
  std::uint32_t facets = 1000;    ///< With those that planners add.
  std::uint32_t evictions = 0;    ///< Of all facets together; 0: no limit. Here and below.
  std::uint64_t tokens = 0;       ///< Of all runs together, as they say.
  std::uint64_t cost_micros = 0;  ///< The same in millionths of a dollar.
  Duration timeout{24LL * 3600 * 1000};
  Duration stall{2LL * 3600 * 1000};
  bool operator==(const SwarmLimits&) const = default;
};

/// One value made of all facets' results.
struct ResultSpec {
  std::string name;
  std::string reducer;  ///< As JSON; reduce.hpp reads it.
  bool operator==(const ResultSpec&) const = default;
};

/// When less than all is enough.
struct Converge {
  std::uint32_t answers = 0;  ///< So many results; 0: all of them.
  Duration after{0};          ///< … or this time after the start; 0: no such end.
  std::string vote;           ///< … or this value is decided, which is a vote with a quorum.
  bool operator==(const Converge&) const = default;
};

/// A run beside the facets: a reducer, which is given all results; a resolver, which is given a
/// conflict.
struct Helper {
  Command run;  ///< Empty: there is none.
  Duration timeout{20 * 60'000};
  std::uint32_t tries = 1;
  bool operator==(const Helper&) const = default;
};

/// A file that a program writes, and how it is made anew when two facets changed it.
struct MergeDriver {
  std::string path;  ///< A pattern as in scopes.
  Command run;       ///< In the file's directory.
  Duration timeout{10 * 60'000};
  bool operator==(const MergeDriver&) const = default;
};
inline constexpr std::size_t kMaxDrivers = 50;
/// The engine's backstop knows the number of files only.
inline constexpr Duration kLongestRemake{60 * 60'000};

struct SwarmSpec {
  std::string name;
  std::string prompt;
  std::vector<SwarmRepository> repositories;
  std::vector<std::string> shared;
  Environment environment;  ///< Of every run: facets, verifications, and the runs beside them.
  Command agent;
  std::vector<std::string> files;  ///< Travel with it, beside the scripts.
  std::vector<FacetCheck> verify;
  std::vector<Facet> facets;
  std::string result_schema;  ///< A JSON Schema that each facet's result must meet; empty: any.
  std::vector<ResultSpec> results;
  std::vector<MergeDriver> drivers;
  Helper reducer;
  Helper resolver;
  Converge converge;
  SwarmLimits limits;
  std::size_t listed =
      0;  ///< Facets that stand in the file; the rest was planned, each after what it needs.
  bool operator==(const SwarmSpec&) const = default;
};

tl::expected<SwarmSpec, std::vector<Problem>> parse_swarm(std::string_view json);

/// Facets of one plan.
inline constexpr std::size_t kMaxPlanned = 200;

/// What the planner `planner` said (its result.json, tools/schema/plan.schema.json), added to the
/// facets: they are called PLANNER.ID, belong to the planner, lie within its scope, and stand
/// behind all others in an order. Problems point into what the planner said. An empty plan is one,
/// unless it planned before (`again`).
tl::expected<SwarmSpec, std::vector<Problem>> add_plan(SwarmSpec spec, const std::string& planner,
                                                       std::string_view said, bool again);

/// A swarm file as it is kept once planners added to it: {"swarm": FILE, "plans": [{"planner": ID,
/// "said": PLAN}]}; or as it came, with no plans.
tl::expected<SwarmSpec, std::vector<Problem>> parse_kept_swarm(std::string_view json);
std::string keep_plan(std::string_view kept, const std::string& planner, std::string_view said);

std::string_view plan_schema();

/// The published schema, embedded.
std::string_view swarm_schema();

}  // namespace muster::actors::swarm
