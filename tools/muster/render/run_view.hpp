// Runs, pull requests and hosts as text. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "storage/base/time.hpp"
#include "tools/muster/render/table.hpp"

namespace muster::cli {

std::string run_table(const std::vector<nlohmann::json>& runs, const Look& look, Instant now);
/// The whole story of one run, attempt by attempt, and what to try next.
std::string run_text(const nlohmann::json& run, const Look& look, Instant now);

std::string pull_table(const std::vector<nlohmann::json>& pulls, const Look& look, Instant now);
std::string pull_text(const nlohmann::json& pull, const Look& look, Instant now);

std::string host_table(const std::vector<nlohmann::json>& hosts, const Look& look, Instant now);

/// A patch: on a terminal safe and coloured as git does, elsewhere byte for byte, for git apply.
std::string diff_text(std::string_view patch, const Look& look);

}  // namespace muster::cli
