// What planners add to a swarm's plan.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "actors/spec/schema.hpp"
#include "actors/spec/units.hpp"
#include "actors/swarm/plan.hpp"
#include "actors/swarm/scope.hpp"
#include "actors/swarm/swarm_walk.hpp"

namespace muster::actors::swarm {
namespace {

using detail::Walk;
using nlohmann::json;
using Problems = std::vector<Problem>;

class Addition {
 public:
  Addition(SwarmSpec spec, std::size_t planner)
      : spec_(std::move(spec)), first_(spec_.facets.size()), planner_(planner) {}

  tl::expected<SwarmSpec, Problems> make(std::string_view said, bool again) {
    const json plan = json::parse(said, nullptr, false);
    if (!plan.is_object()) return wrong({{"", "is no JSON object: the planner leaves a plan"}});
    read(plan, again);
    add_schema_problems(said, plan_schema(), problems_);
    if (!problems_.empty()) return wrong(std::move(problems_));
    rename();
    check_each();
    if (problems_.empty()) check_whole();
    if (!problems_.empty()) return wrong(std::move(problems_));
    put_in_order();
    return std::move(spec_);
  }

 private:
  static tl::unexpected<Problems> wrong(Problems problems) {
    return tl::unexpected(std::move(problems));
  }
  [[nodiscard]] const Facet& planner() const { return spec_.facets[planner_]; }
  static std::string pointer(std::size_t facet, const std::string& rest) {
    return "/facets/" + std::to_string(facet) + rest;
  }
  void problem(std::size_t facet, const std::string& rest, std::string message) {
    if (problems_.size() < kMaxPlanProblems)
      problems_.push_back({pointer(facet - first_, rest), std::move(message)});
  }

  void read(const json& plan, bool again) {
    Walk walk(&plan, "", problems_);
    std::uint32_t version = 1;
    walk.number("version", version, 1, 1);
    walk.required("facets");
    const Facet owner = planner();
    walk.each("facets", kMaxPlanned, [&](const json& value, const std::string& at) {
      read_facet(value, at, spec_, problems_, &owner);
    });
    const json* list = walk.find("facets");
    if (list != nullptr && list->is_array() && list->empty() && !again)
      walk.problem("facets", "is an empty plan: nothing would be done");
  }

  /// PLANNER.ID for the new ones, and for needs that mean one of them.
  void rename() {
    std::map<std::string, std::string> names;
    for (std::size_t i = first_; i < spec_.facets.size(); ++i) {
      const std::string& id = spec_.facets[i].id;
      names[id] = planner().id + "." + id;
    }
    for (std::size_t i = first_; i < spec_.facets.size(); ++i) {
      Facet& facet = spec_.facets[i];
      facet.id = names[facet.id];
      facet.owner = planner().id;
      if (!is_fleet_name(facet.id) || !is_branch_name("muster-swarm/" + facet.id))
        problem(i, "/id",
                "\"" + facet.id + "\" is its whole name, and must have at most 63 characters");
      for (std::string& need : facet.needs)
        if (const auto own = names.find(need); own != names.end()) need = own->second;
    }
  }

  /// Planners above it, and itself.
  [[nodiscard]] std::size_t level(const Facet& facet) const {
    std::size_t levels = 1;
    for (const Facet* at = &facet; !at->owner.empty(); ++levels)
      at = &*std::find_if(spec_.facets.begin(), spec_.facets.end(),
                          [&](const Facet& other) { return other.id == at->owner; });
    return levels;
  }

  void check_each() {
    for (std::size_t i = first_; i < spec_.facets.size(); ++i) {
      const Facet& facet = spec_.facets[i];
      if (facet.repository != planner().repository)
        problem(i, "/repository", "must be its planner's, which is " + planner().repository);
      for (std::size_t s = 0; s < facet.scope.size(); ++s)
        if (!belongs(facet.scope[s]))
          problem(i, "/scope/" + std::to_string(s),
                  "\"" + facet.scope[s] + "\" is not within the scope of " + planner().id +
                      ", and so nobody's here");
      if (facet.planner && level(facet) > spec_.limits.depth)
        problem(i, "/planner",
                "planners may plan " + std::to_string(spec_.limits.depth) + " deep, not deeper");
    }
    if (spec_.facets.size() > spec_.limits.facets)
      problems_.push_back({"/facets", "make the swarm's facets " +
                                          std::to_string(spec_.facets.size()) + ", and at most " +
                                          std::to_string(spec_.limits.facets) + " are allowed"});
  }

  [[nodiscard]] bool belongs(const std::string& pattern) const {
    const auto covers = [&](const std::string& outer) { return within(pattern, outer); };
    return std::any_of(planner().scope.begin(), planner().scope.end(), covers) ||
           std::find(spec_.shared.begin(), spec_.shared.end(), pattern) != spec_.shared.end();
  }

  /// Names, needs, circles and overlaps, of the new ones with all others; said of the new ones.
  void check_whole() {
    for (Problem& found : plan_problems(spec_)) {
      const std::string head = "/facets/";
      if (found.pointer.starts_with(head)) {
        const std::size_t end = found.pointer.find('/', head.size());
        const std::size_t number = std::stoul(found.pointer.substr(head.size()));
        const std::string rest = end == std::string::npos ? "" : found.pointer.substr(end);
        found.pointer = number >= first_ ? pointer(number - first_, rest) : "/facets";
      }
      problems_.push_back(std::move(found));
    }
  }

  /// Each after what it needs: a facet's place is its number, for ever.
  void put_in_order() {
    std::vector<Facet> ordered;
    const std::vector<std::size_t> order = integration_order(spec_);
    for (const std::size_t i : order)
      if (i >= first_) ordered.push_back(spec_.facets[i]);
    std::move(ordered.begin(), ordered.end(),
              spec_.facets.begin() + static_cast<std::ptrdiff_t>(first_));
  }

  SwarmSpec spec_;
  std::size_t first_;    ///< Of the new facets.
  std::size_t planner_;  ///< Its place.
  Problems problems_;
};

}  // namespace

tl::expected<SwarmSpec, Problems> add_plan(SwarmSpec spec, const std::string& planner,
                                           std::string_view said, bool again) {
  const auto found = std::find_if(spec.facets.begin(), spec.facets.end(),
                                  [&](const Facet& facet) { return facet.id == planner; });
  if (found == spec.facets.end() || !found->planner)
    return tl::unexpected(Problems{{"", "no planner is called \"" + planner + "\""}});
  const auto place = static_cast<std::size_t>(found - spec.facets.begin());
  return Addition(std::move(spec), place).make(said, again);
}

tl::expected<SwarmSpec, Problems> parse_kept_swarm(std::string_view text) {
  const json kept = json::parse(text, nullptr, false);
  if (!kept.is_object() || !kept.contains("plans")) return parse_swarm(text);
  auto spec = parse_swarm(kept.value("swarm", json()).dump());
  for (const json& plan : kept["plans"]) {
    if (!spec) return spec;
    spec = add_plan(std::move(*spec), plan.value("planner", ""), plan.value("said", json()).dump(),
                    true);
  }
  return spec;
}

std::string keep_plan(std::string_view text, const std::string& planner, std::string_view said) {
  json kept = json::parse(text);
  if (!kept.contains("plans")) kept = {{"swarm", std::move(kept)}, {"plans", json::array()}};
  kept["plans"].push_back({{"planner", planner}, {"said", json::parse(said)}});
  return kept.dump();
}

}  // namespace muster::actors::swarm
