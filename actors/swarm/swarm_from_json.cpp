// Reading: one function per section of the swarm file.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/spec/json_walk.hpp"
#include "actors/spec/schema.hpp"
#include "actors/spec/units.hpp"
#include "actors/swarm/plan.hpp"
#include "actors/swarm/reduce.hpp"
#include "actors/swarm/scope.hpp"
#include "actors/swarm/swarm_spec.hpp"

namespace muster::actors::swarm {
namespace {

using detail::Walk;
using nlohmann::json;

void check_name(Walk& walk, const std::string& key, const std::string& name) {
  if (!name.empty() && !is_fleet_name(name))
    walk.problem(
        key, "\"" + name + "\" must be lower-case letters, digits, dots and dashes, at most 63");
  else if (!name.empty() && !is_branch_name("muster-swarm/" + name))
    walk.problem(key, "\"" + name + "\" can't be part of a branch's name, and must be");
}

void read_patterns(Walk& walk, const std::string& key, std::vector<std::string>& patterns) {
  walk.texts(key, patterns);
  for (std::size_t i = 0; i < patterns.size(); ++i)
    if (const std::string trouble = trouble_in_pattern(patterns[i]); !trouble.empty())
      walk.problem(key + "/" + std::to_string(i), "\"" + patterns[i] + "\" " + trouble);
}

void read_agent(Walk walk, Command& agent) {
  if (!walk.present()) return;
  walk.required("run");
  walk.command("run", agent);
  walk.finish();
}

void read_checks(Walk& walk, std::vector<FacetCheck>& checks) {
  walk.each("verify", kMaxListed, [&](const json& value, const std::string& at) {
    Walk one(&value, at, walk.problems());
    FacetCheck check;
    one.required("name");
    one.text("name", check.name, 100);
    one.required("run");
    one.command("run", check.run);
    one.duration("timeout", check.timeout);
    one.finish();
    checks.push_back(std::move(check));
  });
}

void read_repository(const json& value, const std::string& at, SwarmSpec& spec,
                     std::vector<Problem>& problems) {
  Walk walk(&value, at, problems);
  SwarmRepository repository;
  walk.required("id");
  walk.text("id", repository.id, 200);
  check_name(walk, "id", repository.id);
  walk.text("path", repository.path);
  walk.text("url", repository.url);
  walk.text("base_branch", repository.base_branch, 200);
  if (!repository.base_branch.empty() && !is_branch_name(repository.base_branch))
    walk.problem("base_branch",
                 "\"" + repository.base_branch + "\" is not a branch name that git accepts");
  walk.finish();
  if (walk.present() && repository.path.empty() == repository.url.empty())
    problems.push_back({at, "must have exactly one of path and url"});
  const bool twice = std::any_of(spec.repositories.begin(), spec.repositories.end(),
                                 [&](const auto& other) { return other.id == repository.id; });
  if (twice && !repository.id.empty())
    walk.problem("id", "another repository is called \"" + repository.id + "\" already");
  spec.repositories.push_back(std::move(repository));
}

void read_place(Walk& walk, const SwarmSpec& spec, Facet& facet) {
  walk.text("repository", facet.repository, 200);
  std::vector<std::string> known;
  for (const SwarmRepository& repository : spec.repositories) known.push_back(repository.id);
  if (facet.repository.empty()) {
    if (known.size() == 1) facet.repository = known[0];
    if (known.size() > 1) walk.required("repository");
  } else if (std::find(known.begin(), known.end(), facet.repository) == known.end()) {
    const std::string meant = nearest(facet.repository, known);
    walk.problem("repository", "no repository is called \"" + facet.repository + "\"" +
                                   (meant.empty() ? "" : "; did you mean \"" + meant + "\"?"));
  }
}

void read_facet(const json& value, const std::string& at, SwarmSpec& spec,
                std::vector<Problem>& problems) {
  Walk walk(&value, at, problems);
  Facet facet;
  facet.agent = spec.agent;
  for (const char* key : {"id", "task", "scope"}) walk.required(key);
  walk.text("id", facet.id, 200);
  check_name(walk, "id", facet.id);
  walk.text("task", facet.task, kMaxText);
  read_place(walk, spec, facet);
  read_patterns(walk, "scope", facet.scope);
  if (value.is_object() && value.contains("scope") && facet.scope.empty())
    walk.problem("scope", "names no path: this facet could change nothing");
  walk.texts("needs", facet.needs);
  if (Walk agent = walk.child("agent"); agent.present()) {
    facet.agent = {};
    read_agent(agent, facet.agent);
  }
  read_checks(walk, facet.verify);
  Walk budget = walk.child("budget");
  budget.number("attempts", facet.attempts, 1, 20);
  budget.duration("timeout", facet.timeout);
  budget.finish();
  walk.finish();
  spec.facets.push_back(std::move(facet));
}

void read_limits(Walk walk, SwarmLimits& limits) {
  walk.number("agents", limits.agents, 1, 10'000);
  walk.number("conflicts", limits.conflicts, 0, 20);
  walk.number("batch", limits.batch, 1, 1000);
  walk.duration("timeout", limits.timeout);
  walk.duration("stall", limits.stall);
  walk.finish();
}

void read_results(Walk walk, SwarmSpec& spec) {
  if (const json* schema = walk.find("schema")) spec.result_schema = schema->dump();
  Walk values = walk.child("values");
  const json* declared = walk.find("values");
  if (declared != nullptr && declared->is_object()) {
    for (const auto& [name, reducer] : declared->items()) {
      values.find(name);
      if (const auto parsed = parse_reducer(reducer); !parsed)
        values.problem(name, parsed.error().message);
      spec.results.push_back({name, reducer.dump()});
    }
    if (declared->size() > kMaxResults)
      walk.problem("values", "are more than " + std::to_string(kMaxResults));
  }
  values.finish();
  walk.finish();
}

void read_swarm(Walk walk, SwarmSpec& spec) {
  auto& problems = walk.problems();
  std::uint32_t version = 1;
  walk.number("version", version, 1, 1);
  for (const char* key : {"name", "repositories", "agent", "facets"}) walk.required(key);
  walk.text("name", spec.name, 200);
  check_name(walk, "name", spec.name);
  walk.text("prompt", spec.prompt, kMaxText);
  walk.each("repositories", kMaxSwarmRepositories, [&](const json& value, const std::string& at) {
    read_repository(value, at, spec, problems);
  });
  read_patterns(walk, "shared", spec.shared);
  read_agent(walk.child("agent"), spec.agent);
  read_checks(walk, spec.verify);
  walk.each("facets", kMaxFacets, [&](const json& value, const std::string& at) {
    read_facet(value, at, spec, problems);
  });
  if (const json* list = walk.find("facets"); list != nullptr && list->is_array() && list->empty())
    walk.problem("facets", "is an empty plan: nothing would be done");
  if (Walk results = walk.child("results"); results.present()) read_results(results, spec);
  read_limits(walk.child("limits"), spec.limits);
  walk.finish();
}

}  // namespace

tl::expected<SwarmSpec, std::vector<Problem>> parse_swarm(std::string_view text) {
  std::vector<Problem> problems;
  if (text.size() > kMaxSwarmBytes) {
    problems.push_back({"", "is larger than " + size_text(kMaxSwarmBytes)});
    return tl::unexpected(std::move(problems));
  }
  const json document = json::parse(text, nullptr, false);
  if (document.is_discarded()) {
    problems.push_back({"", "is not valid JSON"});
    return tl::unexpected(std::move(problems));
  }
  SwarmSpec spec;
  read_swarm(Walk(&document, "", problems), spec);
  add_schema_problems(text, swarm_schema(), problems);
  if (problems.empty()) problems = plan_problems(spec);
  if (!problems.empty()) return tl::unexpected(std::move(problems));
  return spec;
}

}  // namespace muster::actors::swarm
