// A swarm's report as Markdown: its facets, what they found together, who is missing. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace muster::cli {

/// `results`: what GET /v1/swarms/NAME/results says.
std::string swarm_report_markdown(const nlohmann::json& swarm,
                                  const std::vector<nlohmann::json>& facets,
                                  const nlohmann::json& results);

}  // namespace muster::cli
