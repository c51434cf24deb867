#include "tools/musterd/actor_waits.hpp"

#include <vector>

#include "actors/fleet/fleet_generated.h"
#include "actors/host/host_generated.h"
#include "actors/pull/pull_generated.h"
#include "actors/repo/repo_generated.h"
#include "actors/run/run_generated.h"
#include "actors/swarm/swarm_generated.h"
#include "engine/core/kind.hpp"
#include "tools/musterd/render.hpp"

namespace muster::musterd {
namespace {

std::string number_of(std::uint64_t count, const std::string& one) {
  return std::to_string(count) + " " + one + (count == 1 ? "" : "s");
}

/// "2 running, 3 queued": of the states for which `open` holds.
template <class State, class Open>
std::string counted(const std::vector<std::uint32_t>& counts, const char* const* names, Open open) {
  std::string text;
  for (std::size_t n = 0; n < counts.size() && names[n] != nullptr; ++n)
    if (counts[n] > 0 && open(static_cast<State>(n)))
      text += (text.empty() ? "" : ", ") + std::to_string(counts[n]) + " " + names[n];
  return text;
}

std::string waits(const fbs::FleetHeadT& fleet) {
  if (fleet.state == fbs::FleetState::paused || fleet.state == fbs::FleetState::halted)
    return "somebody to resume it: " + fleet.reason;
  const bool ends =
      fleet.state != fbs::FleetState::pending && fleet.state != fbs::FleetState::running;
  if (ends) return "";
  const std::string runs = counted<fbs::RunState>(
      fleet.counts, fbs::EnumNamesRunState(), [](fbs::RunState state) { return !is_end(state); });
  if (!runs.empty()) return "its runs: " + runs;
  return fleet.created < fleet.total ? number_of(fleet.total - fleet.created, "run") + " to be made"
                                     : "";
}

std::string waits(const fbs::SwarmHeadT& swarm) {
  if (swarm.ended_unix_ms != 0) return "";
  if (!swarm.paused.empty()) return "somebody to resume it: " + swarm.paused;
  const std::string facets = counted<fbs::FacetState>(
      swarm.counts, fbs::EnumNamesFacetState(),
      [](fbs::FacetState state) { return state < fbs::FacetState::merged; });
  if (!facets.empty()) return "its facets: " + facets;
  return swarm.pulls_asked > 0 ? number_of(swarm.pulls_asked, "pull request") + " to be opened"
                               : "";
}

std::string waits(const fbs::RepoHeadT& repo) {
  if (repo.holders.empty() || repo.holders.front() == nullptr) return "";
  const auto others = repo.holders.size() - 1;
  return "run/" + repo.holders.front()->run +
         (others > 0 ? " and " + number_of(others, "other") : "") + " to give back its turn" +
         (repo.waiting.empty() ? "" : "; " + number_of(repo.waiting.size(), "run") + " in line");
}

std::string waits(const fbs::PullHeadT& pull) {
  if (pull.state != fbs::PullState::open) return "";
  return pull.busy.empty() ? "somebody to merge or close it" : "the forge's answer to " + pull.busy;
}

std::string waits(const fbs::HostHeadT& host) {
  if (host.state == fbs::HostState::unreachable)
    return "it to connect" + (host.refused.empty() ? "" : ", which is refused: " + host.refused);
  if (host.state == fbs::HostState::draining && !host.used.empty())
    return number_of(host.used.size(), "run") + " to end";
  return "";
}

template <class Head>
std::string decoded(std::string_view bytes) {
  const auto head = engine::decode_table<Head>(bytes);
  return head ? waits(*head) : "";
}

}  // namespace

std::string what_it_waits_for(std::string_view kind, std::string_view head) {
  if (kind == "fleet") return decoded<fbs::FleetHeadT>(head);
  if (kind == "swarm") return decoded<fbs::SwarmHeadT>(head);
  if (kind == "repo") return decoded<fbs::RepoHeadT>(head);
  if (kind == "pull") return decoded<fbs::PullHeadT>(head);
  if (kind == "host") return decoded<fbs::HostHeadT>(head);
  return "";
}

}  // namespace muster::musterd
