#include "tools/musterd/check.hpp"

#include <sstream>

#include "actors/fleet/fleet.hpp"
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

  const View& view_;
  CheckResult result_;
};

}  // namespace

Result<CheckResult> check_fleets(const View& view) {
  return Checker(view).run();
}

}  // namespace muster::musterd
