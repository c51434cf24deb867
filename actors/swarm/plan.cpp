#include "actors/swarm/plan.hpp"

#include <algorithm>
#include <map>
#include <queue>
#include <set>

#include "actors/spec/units.hpp"
#include "actors/swarm/scope.hpp"

namespace muster::actors::swarm {
namespace {

/// So many facets of a cycle are named.
constexpr std::size_t kMaxNamed = 8;

std::string facet_pointer(std::size_t facet) {
  return "/facets/" + std::to_string(facet);
}

class Plan {
 public:
  explicit Plan(const SwarmSpec& spec) : spec_(spec), needs_(spec.facets.size()) {}

  std::vector<Problem> check() {
    read_names();
    read_needs();
    read_owners();
    if (!find_cycle()) find_overlaps();
    return std::move(problems_);
  }

 private:
  void problem(std::string pointer, std::string message) {
    if (problems_.size() < kMaxPlanProblems)
      problems_.push_back({std::move(pointer), std::move(message)});
  }

  void read_names() {
    for (std::size_t i = 0; i < spec_.facets.size(); ++i) {
      const std::string& id = spec_.facets[i].id;
      if (!names_.emplace(id, i).second)
        problem(facet_pointer(i) + "/id", "another facet is called \"" + id + "\" already");
      known_.push_back(id);
    }
  }

  void read_needs() {
    for (std::size_t i = 0; i < spec_.facets.size(); ++i) {
      const Facet& facet = spec_.facets[i];
      for (std::size_t n = 0; n < facet.needs.size(); ++n) {
        const auto found = names_.find(facet.needs[n]);
        if (found != names_.end()) {
          needs_[i].push_back(found->second);
          continue;
        }
        const std::string meant = nearest(facet.needs[n], known_);
        problem(facet_pointer(i) + "/needs/" + std::to_string(n),
                "no facet is called \"" + facet.needs[n] + "\"" +
                    (meant.empty() ? "" : "; did you mean \"" + meant + "\"?"));
      }
    }
  }

  /// A planner is over when its parts are, and a part begins when its planner did, after what that
  /// needs.
  void read_owners() {
    for (std::size_t i = spec_.listed; i < spec_.facets.size(); ++i) {
      const auto owner = names_.find(spec_.facets[i].owner);
      if (owner == names_.end()) continue;
      for (const std::string& need : spec_.facets[owner->second].needs)
        if (const auto known = names_.find(need); known != names_.end())
          needs_[i].push_back(known->second);
      needs_[owner->second].push_back(i);
    }
  }

  /// Whether `facet` was planned by `planner`, or by one that it planned.
  [[nodiscard]] bool is_part_of(std::size_t facet, std::size_t planner) const {
    for (std::size_t at = facet; !spec_.facets[at].owner.empty();) {
      const auto owner = names_.find(spec_.facets[at].owner);
      if (owner == names_.end()) return false;
      at = owner->second;
      if (at == planner) return true;
    }
    return false;
  }

  /// What can't be brought into an order; then follows needs from one of them until it comes round.
  bool find_cycle() {
    std::vector<std::size_t> waits(needs_.size());
    std::vector<std::vector<std::size_t>> needed_by(needs_.size());
    for (std::size_t i = 0; i < needs_.size(); ++i) {
      waits[i] = needs_[i].size();
      for (const std::size_t n : needs_[i]) needed_by[n].push_back(i);
    }
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i < waits.size(); ++i)
      if (waits[i] == 0) ready.push_back(i);
    for (std::size_t at = 0; at < ready.size(); ++at)
      for (const std::size_t i : needed_by[ready[at]])
        if (--waits[i] == 0) ready.push_back(i);
    if (ready.size() == needs_.size()) return false;

    std::size_t at = 0;
    while (waits[at] == 0) ++at;
    std::vector<std::size_t> path;
    while (std::find(path.begin(), path.end(), at) == path.end()) {
      path.push_back(at);
      at = *std::find_if(needs_[at].begin(), needs_[at].end(),
                         [&](std::size_t n) { return waits[n] != 0; });
    }
    path.erase(path.begin(), std::find(path.begin(), path.end(), at));
    std::string round;
    for (std::size_t i = 0; i < path.size() && i < kMaxNamed; ++i)
      round += spec_.facets[path[i]].id + " -> ";
    if (path.size() > kMaxNamed) round += "... -> ";
    problem(facet_pointer(at) + "/needs",
            "facets need each other in a circle: " + round + spec_.facets[at].id);
    return true;
  }

  [[nodiscard]] bool comes_after(std::size_t later, std::size_t earlier) const {
    std::vector<std::size_t> stack = {later};
    std::set<std::size_t> seen;
    while (!stack.empty()) {
      const std::size_t at = stack.back();
      stack.pop_back();
      if (at == earlier) return true;
      for (const std::size_t n : needs_[at])
        if (seen.insert(n).second) stack.push_back(n);
    }
    return false;
  }

  /// A pattern of a facet, under its fixed beginning.
  struct Claim {
    std::size_t facet;
    std::size_t entry;
  };

  void find_overlaps() {
    std::map<std::vector<std::string>, std::vector<Claim>> claims;
    for (std::size_t i = 0; i < spec_.facets.size(); ++i) {
      for (std::size_t e = 0; e < spec_.facets[i].scope.size(); ++e) {
        auto key = fixed_parts(spec_.facets[i].scope[e]);
        key.insert(key.begin(), spec_.facets[i].repository);
        claims[key].push_back({i, e});
      }
    }
    std::set<std::pair<std::size_t, std::size_t>> told;
    for (const auto& [key, own] : claims) {
      // Whoever may meet these begins with the same parts, or with fewer of them.
      for (std::size_t length = 1; length <= key.size(); ++length) {
        const auto others = claims.find({key.begin(), key.begin() + static_cast<long>(length)});
        if (others == claims.end()) continue;
        for (const Claim& a : own)
          for (const Claim& b : others->second) {
            if (problems_.size() >= kMaxPlanProblems) return;
            judge(a, b, told);
          }
      }
    }
  }

  void judge(const Claim& a, const Claim& b, std::set<std::pair<std::size_t, std::size_t>>& told) {
    const auto [first, second] = a.facet < b.facet ? std::pair(a, b) : std::pair(b, a);
    if (first.facet == second.facet) return;
    const Facet &one = spec_.facets[first.facet], &two = spec_.facets[second.facet];
    const std::string &left = one.scope[first.entry], &right = two.scope[second.entry];
    if (!overlap(left, right) || is_shared(left) || is_shared(right)) return;
    if (is_part_of(first.facet, second.facet) || is_part_of(second.facet, first.facet)) return;
    if (comes_after(first.facet, second.facet) || comes_after(second.facet, first.facet)) return;
    if (!told.insert({first.facet, second.facet}).second) return;
    problem(facet_pointer(second.facet) + "/scope/" + std::to_string(second.entry),
            "\"" + right + "\" and \"" + left + "\" of facet " + one.id +
                " can be the same path: let one need the other, or make it shared");
  }

  [[nodiscard]] bool is_shared(const std::string& pattern) const {
    return std::find(spec_.shared.begin(), spec_.shared.end(), pattern) != spec_.shared.end();
  }

  const SwarmSpec& spec_;
  std::map<std::string, std::size_t> names_;
  std::vector<std::string> known_;
  std::vector<std::vector<std::size_t>> needs_;
  std::vector<Problem> problems_;
};

}  // namespace

std::vector<Problem> plan_problems(const SwarmSpec& spec) {
  return Plan(spec).check();
}

std::vector<std::size_t> integration_order(const SwarmSpec& spec) {
  std::map<std::string, std::size_t> names;
  for (std::size_t i = 0; i < spec.facets.size(); ++i) names[spec.facets[i].id] = i;
  std::vector<std::size_t> waits(spec.facets.size());
  std::vector<std::vector<std::size_t>> needed_by(spec.facets.size());
  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
  for (std::size_t i = 0; i < spec.facets.size(); ++i) {
    waits[i] = spec.facets[i].needs.size();
    if (waits[i] == 0) ready.push(i);
    for (const std::string& need : spec.facets[i].needs) needed_by[names.at(need)].push_back(i);
  }
  std::vector<std::size_t> order;
  while (!ready.empty()) {
    order.push_back(ready.top());
    ready.pop();
    for (const std::size_t i : needed_by[order.back()])
      if (--waits[i] == 0) ready.push(i);
  }
  return order;
}

}  // namespace muster::actors::swarm
