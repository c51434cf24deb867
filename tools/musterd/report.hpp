// The report of a fleet: what came of it, why runs failed, and where the time went. A pure
// function.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tools/musterd/render.hpp"

namespace muster::musterd {

struct ReportInput {
  const fbs::FleetHeadT& fleet;
  const std::vector<fbs::RunRowT>& rows;
  const std::map<std::string, std::vector<fbs::AttemptRowT>>& attempts;  ///< By run id.
  const std::vector<std::pair<std::string, fbs::PullHeadT>>& pulls;      ///< By id.
  Json fleet_json;
};

/// Report of the API. Superseded runs are left out of everything but the fleet's own counts.
Json make_report(const ReportInput& input);

/// A failure's message without what differs from run to run: URLs, paths, hashes and numbers become
/// <url>, <path>, <hash> and <n>; blanks are folded; only the first line, at most 200 bytes.
std::string normalised(std::string_view message);

/// The smallest value that at least `percent` of them don't exceed (nearest rank); 0 of none.
std::int64_t percentile(std::vector<std::int64_t> values, int percent);

}  // namespace muster::musterd
