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
  bool operator==(const Facet&) const = default;
};

struct SwarmLimits {
  std::uint32_t agents = 50;
  std::uint32_t conflicts = 3;
  std::uint32_t batch = 20;
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

struct SwarmSpec {
  std::string name;
  std::string prompt;
  std::vector<SwarmRepository> repositories;
  std::vector<std::string> shared;
  Command agent;
  std::vector<FacetCheck> verify;
  std::vector<Facet> facets;
  std::string result_schema;  ///< A JSON Schema that each facet's result must meet; empty: any.
  std::vector<ResultSpec> results;
  SwarmLimits limits;
  bool operator==(const SwarmSpec&) const = default;
};

tl::expected<SwarmSpec, std::vector<Problem>> parse_swarm(std::string_view json);

/// The published schema, embedded.
std::string_view swarm_schema();

}  // namespace muster::actors::swarm
