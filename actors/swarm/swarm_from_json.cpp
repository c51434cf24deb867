// Reading: one function per section of the swarm file.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/spec/json_walk.hpp"
#include "actors/spec/schema.hpp"
#include "actors/spec/units.hpp"
#include "actors/swarm/plan.hpp"
#include "actors/swarm/reduce.hpp"
#include "actors/swarm/result_schema.hpp"
#include "actors/swarm/scope.hpp"
#include "actors/swarm/swarm_walk.hpp"

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

/// Dollars, kept as millionths.
void read_cost(Walk& walk, const std::string& key, std::uint64_t& micros) {
  const json* value = walk.find(key);
  if (value == nullptr) return;
  if (!value->is_number() || value->get<double>() < 0 || value->get<double>() > 1e6)
    return walk.problem(key, "must be an amount of dollars, at most 1000000");
  micros = static_cast<std::uint64_t>(value->get<double>() * 1e6 + 0.5);
}

void read_helper(Walk walk, Command& run, Duration& timeout) {
  if (!walk.present()) return;
  walk.required("run");
  walk.command("run", run);
  walk.duration("timeout", timeout);
  walk.finish();
}

void read_choice(Walk walk, Choice& choice) {
  if (!walk.present()) return;
  walk.required("agents");
  walk.number("agents", choice.agents, 2, kMaxCandidates);
  Walk score = walk.child("score"), judge = walk.child("judge");
  if (score.present() == judge.present())
    walk.problem("agents", "must have exactly one of score and judge beside it");
  choice.judged = judge.present();
  read_helper(choice.judged ? judge : score, choice.run, choice.timeout);
  walk.finish();
}

void read_planner(Walk walk, Facet& facet) {
  if (!walk.present()) return;
  facet.planner = true;
  walk.number("rounds", facet.rounds, 1, 10);
  walk.finish();
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

}  // namespace

void read_facet(const json& value, const std::string& at, SwarmSpec& spec,
                std::vector<Problem>& problems, const Facet* planner) {
  Walk walk(&value, at, problems);
  Facet facet;
  facet.agent = spec.agent;
  if (planner != nullptr) facet.repository = planner->repository;
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
  read_planner(walk.child("planner"), facet);
  read_choice(walk.child("best_of"), facet.best_of);
  if (facet.planner && (facet.best_of.agents > 1 || !facet.verify.empty()))
    walk.problem("planner", "makes no change: verify and best_of belong to what it plans");
  Walk budget = walk.child("budget");
  budget.number("attempts", facet.attempts, 1, 20);
  budget.duration("timeout", facet.timeout);
  budget.finish();
  walk.finish();
  spec.facets.push_back(std::move(facet));
}

namespace {

void read_limits(Walk walk, SwarmLimits& limits) {
  walk.number("agents", limits.agents, 1, 10'000);
  walk.number("conflicts", limits.conflicts, 0, 20);
  walk.number("batch", limits.batch, 1, 1000);
  walk.duration("timeout", limits.timeout);
  walk.duration("stall", limits.stall);
  walk.number("depth", limits.depth, 1, 5);
  walk.number("facets", limits.facets, 1, kMaxFacets);
  walk.number("evictions", limits.evictions, 0, 1'000'000);
  std::int64_t tokens = 0;
  walk.number("tokens", tokens, 0, 1'000'000'000'000);
  limits.tokens = static_cast<std::uint64_t>(tokens);
  read_cost(walk, "cost_usd", limits.cost_micros);
  walk.finish();
}

/// A vote that may end the swarm is declared, and says its quorum: a majority of facets that
/// planners may add to is not known.
void read_converge(Walk walk, SwarmSpec& spec) {
  if (!walk.present()) return;
  walk.number("answers", spec.converge.answers, 1, kMaxFacets);
  walk.duration("after", spec.converge.after);
  walk.text("vote", spec.converge.vote, 200);
  walk.finish();
  if (spec.converge.vote.empty()) return;
  const auto declared =
      std::find_if(spec.results.begin(), spec.results.end(),
                   [&](const ResultSpec& one) { return one.name == spec.converge.vote; });
  if (declared == spec.results.end())
    return walk.problem("vote", "no value is called \"" + spec.converge.vote + "\"");
  const auto reducer = parse_reducer(json::parse(declared->reducer));
  if (reducer && (reducer->kind != ReducerKind::vote || reducer->quorum == 0))
    walk.problem("vote", "must be a value of kind vote with a quorum");
}

void read_results(Walk walk, SwarmSpec& spec) {
  if (const json* schema = walk.find("schema")) {
    spec.result_schema = schema->dump();
    if (const std::string trouble = trouble_in_result_schema(spec.result_schema); !trouble.empty())
      walk.problem("schema", trouble);
  }
  read_helper(walk.child("reducer"), spec.reducer.run, spec.reducer.timeout);
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
  read_converge(walk.child("converge"), spec);
  walk.finish();
}

void read_resolver(Walk walk, Helper& resolver) {
  if (!walk.present()) return;
  walk.required("run");
  walk.command("run", resolver.run);
  walk.duration("timeout", resolver.timeout);
  walk.number("tries", resolver.tries, 1, 10);
  walk.finish();
}

/// Of the whole swarm: what travels stands there too.
void read_swarm_agent(Walk walk, SwarmSpec& spec) {
  if (!walk.present()) return;
  walk.required("run");
  walk.command("run", spec.agent);
  walk.texts("files", spec.files);
  walk.finish();
}

void read_merge(Walk walk, SwarmSpec& spec) {
  if (!walk.present()) return;
  walk.each("drivers", kMaxDrivers, [&](const json& value, const std::string& at) {
    Walk one(&value, at, walk.problems());
    MergeDriver driver;
    one.required("path");
    one.text("path", driver.path);
    if (const std::string trouble = trouble_in_pattern(driver.path); !trouble.empty())
      one.problem("path", "\"" + driver.path + "\" " + trouble);
    one.required("run");
    one.command("run", driver.run);
    one.duration("timeout", driver.timeout);
    if (driver.timeout > kLongestRemake) one.problem("timeout", "must be an hour at most");
    one.finish();
    spec.drivers.push_back(std::move(driver));
  });
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
  detail::read_environment(walk.child("environment"), spec.environment);
  read_swarm_agent(walk.child("agent"), spec);
  read_checks(walk, spec.verify);
  walk.each("facets", kMaxFacets, [&](const json& value, const std::string& at) {
    read_facet(value, at, spec, problems, nullptr);
  });
  if (const json* list = walk.find("facets"); list != nullptr && list->is_array() && list->empty())
    walk.problem("facets", "is an empty plan: nothing would be done");
  if (Walk results = walk.child("results"); results.present()) read_results(results, spec);
  read_merge(walk.child("merge"), spec);
  read_resolver(walk.child("resolver"), spec.resolver);
  read_limits(walk.child("limits"), spec.limits);
  if (spec.limits.facets < spec.facets.size())
    spec.limits.facets = static_cast<std::uint32_t>(spec.facets.size());
  spec.listed = spec.facets.size();
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
