#include "actors/swarm/swarm_specs.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/spec/derive.hpp"
#include "actors/swarm/plan.hpp"
#include "storage/base/ids.hpp"

namespace muster::actors::swarm {
namespace {

constexpr std::size_t kSubjectBytes = 100;

std::string first_line(const std::string& text) {
  std::string line = text.substr(0, text.find('\n'));
  if (line.size() <= kSubjectBytes) return line;
  std::size_t end = kSubjectBytes;
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0U) == 0x80U) --end;
  return line.substr(0, end);
}

std::string quoted(const std::string& word) {
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string shell_line(const Command& command) {
  std::string line;
  for (const std::string& word : command.to_argv())
    line += (line.empty() ? "" : " ") + quoted(word);
  return line;
}

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
    to.judge_timeout_ms = (facet.best_of.timeout + kAttemptMargin).count();
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

FleetSpec facet_fleet(const SwarmSpec& swarm, const Facet& facet) {
  FleetSpec fleet;
  fleet.name = swarm.name;
  fleet.prompt = swarm.prompt + (swarm.prompt.empty() ? "" : "\n\n") + facet.task;
  fleet.agent.run = facet.agent;
  fleet.agent.timeout = facet.timeout;
  for (const FacetCheck& check : facet.verify)
    fleet.verify.push_back({check.name, check.run, "", check.timeout});
  fleet.delivery.commit.message = first_line(facet.task) + "\n\nMuster-Facet: " + facet.id;
  return fleet;
}

FleetSpec helper_fleet(const SwarmSpec& swarm, const std::string& prompt, const Command& run,
                       Duration timeout) {
  FleetSpec fleet;
  fleet.name = swarm.name;
  fleet.prompt = swarm.prompt + (swarm.prompt.empty() ? "" : "\n\n") + prompt;
  fleet.agent.run = run;
  fleet.agent.timeout = timeout;
  return fleet;
}

FleetSpec check_fleet(const SwarmSpec& swarm) {
  FleetSpec fleet;
  fleet.name = swarm.name;
  fleet.agent.timeout = Duration{0};
  std::string script;
  for (const FacetCheck& check : swarm.verify) {
    const std::string name = quoted(check.name);
    const std::string seconds =
        std::to_string(std::max<std::int64_t>(1, check.timeout.count() / 1000));
    script += "printf '== %s\\n' " + name + "\ntimeout " + seconds + " " + shell_line(check.run) +
              " || { printf '== %s failed with %s\\n' " + name + " \"$?\"; exit 1; }\n";
    fleet.agent.timeout += check.timeout;
  }
  fleet.agent.idle_timeout = Duration{0};
  fleet.agent.run.argv = {"bash", "-c", script};
  return fleet;
}

Result<std::shared_ptr<const SwarmPlan>> SwarmSpecs::read(const std::string& digest,
                                                          std::string_view json) {
  std::shared_ptr<const SwarmPlan> plan;
  if (is_swarm_file(json)) {
    auto spec = parse_kept_swarm(json);
    if (!spec)
      return fail(Errc::corrupt,
                  "the stored swarm file is not valid: " + dotted(spec.error().front().pointer) +
                      " " + spec.error().front().message);
    plan = std::make_shared<const SwarmPlan>(make_plan(std::move(*spec)));
  }
  const std::lock_guard lock(mutex_);
  known_.push_front({digest, plan});
  if (known_.size() > kKept) known_.pop_back();
  return plan;
}

Result<std::shared_ptr<const SwarmPlan>> SwarmSpecs::find(const std::string& digest) {
  {
    const std::lock_guard lock(mutex_);
    for (const Known& known : known_)
      if (known.digest == digest && known.plan) return known.plan;
  }
  const auto json = blobs_.get(digest);
  if (!json) return tl::unexpected<Error>(json.error());
  auto plan = read(digest, *json);
  if (plan && !*plan) return fail(Errc::corrupt, "the stored swarm file is none");
  return plan;
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
  bool known = false;
  {
    const std::lock_guard lock(mutex_);
    for (const Known& one : known_)
      if (one.digest == given.spec_digest) {
        plan = one.plan;
        known = true;
      }
  }
  if (!known) {
    const auto fresh = read(given.spec_digest, json);
    if (!fresh) return tl::unexpected<Error>(fresh.error());
    plan = *fresh;
  }
  if (!plan) return make_sandbox_spec(json, given);
  const SwarmSpec& swarm = plan->spec;
  if (!label(given, "verify").empty()) return sandbox_spec_of(check_fleet(swarm), given);
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
  FleetSpec fleet = facet_fleet(swarm, facet);
  if (role == "resolve") {
    fleet.agent.run = swarm.resolver.run;
    fleet.agent.timeout = swarm.resolver.timeout;
  }
  return sandbox_spec_of(fleet, start);
}

}  // namespace muster::actors::swarm
