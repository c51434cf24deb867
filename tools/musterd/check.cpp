#include "tools/musterd/check.hpp"

#include <sstream>

#include "actors/fleet/fleet.hpp"
#include "actors/swarm/swarm.hpp"
#include "tools/musterd/render.hpp"

namespace muster::musterd {
namespace {

class Checker {
 public:
  explicit Checker(const View& view) : view_(view) {}

  Result<CheckResult> run() {
    Result<void> read{};
    const auto listed = view_.each_fleet("", [&](const std::string& name) {
      read = fleet(name);
      return read.has_value() && result_.differences.size() < kMaxDifferences;
    });
    if (!listed) return tl::unexpected<Error>(listed.error());
    if (!read) return tl::unexpected<Error>(read.error());
    const auto swarms = view_.each_swarm("", [&](const std::string& name) {
      read = swarm(name);
      return read.has_value() && result_.differences.size() < kMaxDifferences;
    });
    if (!swarms) return tl::unexpected<Error>(swarms.error());
    if (!read) return tl::unexpected<Error>(read.error());
    return result_;
  }

 private:
  Result<void> fleet(const std::string& name) {
    const auto head = view_.fleet(name);
    if (!head) return tl::unexpected<Error>(head.error());
    ++result_.fleets;
    std::vector<fbs::RunRowT> rows;
    Result<void> compared{};
    const auto scanned = view_.each_row(name, "", [&](const fbs::RunRowT& row) {
      rows.push_back(row);
      compared = compare(name, row);
      return compared.has_value() && result_.differences.size() < kMaxDifferences;
    });
    if (!scanned) return scanned;
    if (!compared) return compared;
    const auto waves = static_cast<std::uint32_t>(head->wave_rows.size());
    std::istringstream lines(
        actors::fleet::counter_differences(*head, actors::fleet::recount(rows, waves)));
    for (std::string line; std::getline(lines, line);)
      result_.differences.push_back("fleet " + name + ": " + line);
    return {};
  }

  Result<void> compare(const std::string& fleet, const fbs::RunRowT& row) {
    ++result_.runs;
    const auto run = view_.run_head(row.run);
    if (!run && run.error().code != Errc::not_found) return tl::unexpected<Error>(run.error());
    const std::string place = "fleet " + fleet + ", run " + row.run + " (" + row.repository + "): ";
    if (!run) {
      // Its CreateRun may be under way: only a row that has heard of its run proves that it
      // existed.
      if (row.number > 0) result_.differences.push_back(place + "there is no such run");
      return {};
    }
    const auto field = [&](const char* what, std::string_view in_row, std::string_view in_run) {
      if (in_row != in_run)
        result_.differences.push_back(place + what + ": the row says '" + std::string(in_row) +
                                      "', the run says '" + std::string(in_run) + "'");
    };
    field("fleet", fleet, run->fleet);
    field("repository", row.repository, run->repository);
    if (row.number > run->status_number)
      result_.differences.push_back(place + "the row took status " + std::to_string(row.number) +
                                    ", the run has sent " + std::to_string(run->status_number));
    if (row.number != run->status_number) return {};  // A status is under way.
    field("state", name_of(row.state), name_of(run->state));
    field("class", name_of(row.class_), name_of(run->class_));
    field("reason", row.reason, run->reason);
    field("attempt", std::to_string(row.attempt), std::to_string(run->attempt));
    field("pull request", std::to_string(row.pull), std::to_string(run->pull));
    return {};
  }

  Result<void> swarm(const std::string& name) {
    const auto head = view_.swarm(name);
    if (!head) return tl::unexpected<Error>(head.error());
    ++result_.swarms;
    const std::string place = "swarm " + name + ": ";
    std::vector<fbs::FacetRowT> facets;
    auto scanned = view_.each_facet(name, "", [&](const std::string&, const fbs::FacetRowT& row) {
      facets.push_back(row);
      return true;
    });
    if (!scanned) return scanned;
    compare(*head, facets, place);
    scanned = view_.each_commit(name, [&](const std::string& commit, const fbs::CommitRowT& row) {
      if (row.fate == fbs::CommitFate::open && actors::swarm::is_end(head->state))
        result_.differences.push_back(place + "it has ended, and commit " + commit + " has no fate");
      if (row.made.empty() && row.facet >= facets.size())
        result_.differences.push_back(place + "commit " + commit + " is of a facet that is not there");
      return result_.differences.size() < kMaxDifferences;
    });
    return scanned;
  }

  void compare(const fbs::SwarmHeadT& head, const std::vector<fbs::FacetRowT>& facets,
               const std::string& place) {
    const auto number = [&](const std::string& what, std::size_t says, std::size_t is) {
      if (says != is)
        result_.differences.push_back(place + what + " says " + std::to_string(says) + ", is " +
                                      std::to_string(is));
    };
    number("loaded", head.loaded, facets.size());
    const std::vector<std::uint32_t> counted = actors::swarm::recount(facets);
    for (const fbs::FacetState state : fbs::EnumValuesFacetState()) {
      const auto at = static_cast<std::size_t>(state);
      number(std::string(fbs::EnumNameFacetState(state)),
             at < head.counts.size() ? head.counts[at] : 0, counted[at]);
    }
    std::size_t owners = 0, extra = 0;
    for (const fbs::FacetRowT& row : facets) {
      if (row.holds) ++owners;
      if (row.state == fbs::FacetState::working && !row.candidates.empty())
        extra += row.candidates.size() - 1;
    }
    number("owners", head.owners, owners);
    number("extra_agents", head.extra_agents, extra);
  }

  const View& view_;
  CheckResult result_;
};

}  // namespace

Result<CheckResult> check_fleets(const View& view) {
  return Checker(view).run();
}

}  // namespace muster::musterd
