// A fleet's report as text, Markdown, and its runs as CSV. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/muster/render/table.hpp"

namespace muster::cli {

std::string report_text(const nlohmann::json& report, const Look& look);
std::string report_markdown(const nlohmann::json& report);
/// One line per run. A cell that a spreadsheet would run as a formula gets a leading apostrophe.
std::string runs_csv(const std::vector<nlohmann::json>& runs);

/// Up to four commands worth trying next, given what happened.
std::vector<std::string> next_commands(const nlohmann::json& report);

}  // namespace muster::cli
