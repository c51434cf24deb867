#include "actors/swarm/swarm_specs.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/spec/derive.hpp"
#include "actors/swarm/plan.hpp"
#include "actors/swarm/remake.hpp"
#include "actors/swarm/swarm_fleets.hpp"
#include "storage/base/ids.hpp"

namespace muster::actors::swarm {
namespace {

std::string label(const fbs::StartSandboxT& start, const char* key) {
  const auto labels = nlohmann::json::parse(start.labels_json, nullptr, false);
  if (!labels.is_object()) return {};
  const auto found = labels.find(key);
  return found != labels.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// What an agent is told of its facet, beside its task: in its context, under input.facet.
fbs::StartSandboxT with_facet(const fbs::StartSandboxT& given, const SwarmSpec& swarm,
                              const Facet& facet) {
  auto input = nlohmann::json::parse(given.input_json, nullptr, false);
  if (!input.is_object()) input = nlohmann::json::object();
  input["facet"] = {{"id", facet.id}, {"scope", facet.scope}, {"shared", swarm.shared}};
  fbs::StartSandboxT start = given;
  start.input_json = input.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return start;
}

/// Whether the file says facets: a fleet's may not.
bool is_swarm_file(std::string_view json) {
  const auto document = nlohmann::json::parse(json, nullptr, false);
  return document.is_object() && (document.contains("facets") || document.contains("plans"));
}

}  // namespace

SwarmPlan make_plan(SwarmSpec spec) {
  SwarmPlan plan;
  SwarmSpec listed = spec;
  listed.facets.resize(spec.listed);
  plan.order = integration_order(listed);
  while (plan.order.size() < spec.facets.size()) plan.order.push_back(plan.order.size());
  std::map<std::string, std::uint32_t> numbers;
  for (std::size_t i = 0; i < plan.order.size(); ++i)
    numbers[spec.facets[plan.order[i]].id] = static_cast<std::uint32_t>(i);
  std::map<std::string, std::uint32_t> lines;
  for (std::size_t i = 0; i < spec.repositories.size(); ++i)
    lines[spec.repositories[i].id] = static_cast<std::uint32_t>(i);
  plan.facets.resize(plan.order.size());
  for (std::size_t i = 0; i < plan.order.size(); ++i) {
    const Facet& facet = spec.facets[plan.order[i]];
    fbs::PlanFacetT& to = plan.facets[i];
    to.id = facet.id;
    to.line = lines.at(facet.repository);
    to.attempts = facet.attempts;
    to.timeout_ms = attempt_timeout(facet_fleet(spec, facet)).count();
    to.planner = facet.planner;
    to.rounds = facet.rounds;
    if (!facet.owner.empty()) to.owner = numbers.at(facet.owner) + 1;
    to.candidates = facet.best_of.agents;
    to.judged = facet.best_of.judged;
    to.judge_timeout_ms =
        attempt_timeout(helper_fleet(spec, "", facet.best_of.run, facet.best_of.timeout)).count();
    for (const std::string& need : facet.needs) {
      const std::uint32_t earlier = numbers.at(need);
      if (std::find(to.needs.begin(), to.needs.end(), earlier) != to.needs.end()) continue;
      to.needs.push_back(earlier);
      plan.facets[earlier].needed_by.push_back(static_cast<std::uint32_t>(i));
    }
    plan.places[facet.id] = plan.order[i];
  }
  plan.spec = std::move(spec);
  return plan;
}

Result<std::shared_ptr<const SwarmPlan>> SwarmSpecs::read(const std::string& digest,
                                                          std::string_view json) {
  if (!is_swarm_file(json)) return fail(Errc::corrupt, "the stored swarm file is none");
  auto spec = parse_kept_swarm(json);
  if (!spec)
    return fail(Errc::corrupt,
                "the stored swarm file is not valid: " + dotted(spec.error().front().pointer) +
                    " " + spec.error().front().message);
  const auto plan = std::make_shared<const SwarmPlan>(make_plan(std::move(*spec)));
  const std::lock_guard lock(mutex_);
  swarms_.keep(digest, plan);
  return plan;
}

Result<std::shared_ptr<const FleetSpec>> SwarmSpecs::read_fleet(const std::string& digest,
                                                                std::string_view json) {
  auto spec = stored_fleet(json);
  if (!spec) return tl::unexpected<Error>(spec.error());
  const auto fleet = std::make_shared<const FleetSpec>(std::move(*spec));
  const std::lock_guard lock(mutex_);
  fleets_.keep(digest, fleet);
  return fleet;
}

Result<std::shared_ptr<const SwarmPlan>> SwarmSpecs::find(const std::string& digest) {
  {
    const std::lock_guard lock(mutex_);
    if (auto plan = swarms_.find(digest)) return plan;
  }
  const auto json = blobs_.get(digest);
  if (!json) return tl::unexpected<Error>(json.error());
  return read(digest, *json);
}

Result<std::string> SwarmSpecs::keep(const std::string& digest, const std::string& planner,
                                     const std::string& said) {
  const auto before = blobs_.get(digest);
  if (!before) return tl::unexpected<Error>(before.error());
  const std::string after = keep_plan(*before, planner, said);
  if (after.size() > kMaxSwarmBytes)
    return fail(Errc::refused, "the plan is larger than " + std::to_string(kMaxSwarmBytes));
  const std::string kept = sha256_hex(after);
  if (auto ok = blobs_.put(kept, after); !ok) return tl::unexpected<Error>(ok.error());
  return kept;
}

Result<wire::SandboxSpecT> SwarmSpecs::make_spec(std::string_view json,
                                                 const fbs::StartSandboxT& given) {
  std::shared_ptr<const SwarmPlan> plan;
  std::shared_ptr<const FleetSpec> of_fleet;
  {
    const std::lock_guard lock(mutex_);
    of_fleet = fleets_.find(given.spec_digest);
    if (!of_fleet) plan = swarms_.find(given.spec_digest);
  }
  if (!of_fleet && !plan && !is_swarm_file(json)) {
    const auto fresh = read_fleet(given.spec_digest, json);
    if (!fresh) return tl::unexpected<Error>(fresh.error());
    of_fleet = *fresh;
  }
  if (of_fleet) return sandbox_spec_of(*of_fleet, given);
  if (!plan) {
    const auto fresh = read(given.spec_digest, json);
    if (!fresh) return tl::unexpected<Error>(fresh.error());
    plan = *fresh;
  }
  const SwarmSpec& swarm = plan->spec;
  if (!label(given, "verify").empty()) {
    const auto remade = remade_by(given.input_json);
    return sandbox_spec_of(remade.empty() ? check_fleet(swarm) : remake_fleet(swarm, remade),
                           given);
  }
  if (!label(given, "reduce").empty())
    return sandbox_spec_of(helper_fleet(swarm, "Make one result of all facets' results.",
                                        swarm.reducer.run, swarm.reducer.timeout),
                           given);
  const auto place = plan->places.find(label(given, "facet"));
  if (place == plan->places.end())
    return fail(Errc::corrupt, "the swarm file has no facet " + label(given, "facet"));
  const Facet& facet = swarm.facets[place->second];
  const fbs::StartSandboxT start = with_facet(given, swarm, facet);
  const std::string role = label(start, "role");
  if (role == "score" || role == "judge")
    return sandbox_spec_of(
        helper_fleet(swarm, facet.task, facet.best_of.run, facet.best_of.timeout), start);
  return sandbox_spec_of(
      role == "resolve" ? resolver_fleet(swarm, facet) : facet_fleet(swarm, facet), start);
}

}  // namespace muster::actors::swarm
