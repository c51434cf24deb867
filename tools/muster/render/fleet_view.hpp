// A fleet as text: status, list, progress. Pure: documents of the API in, text out.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "storage/base/time.hpp"
#include "tools/muster/render/table.hpp"

namespace muster::cli {

/// The counts of a fleet by meaning.
struct FleetProgress {
  std::uint64_t total = 0;
  std::uint64_t ended = 0;
  std::uint64_t active = 0;  ///< provisioning to delivering
  std::uint64_t failed = 0;
};
FleetProgress progress_of(const nlohmann::json& fleet);
/// Nothing of it will move without a person: ended, or halted with nothing active.
bool is_settled(const nlohmann::json& fleet);
/// What a waiting command exits with once it is settled.
int exit_code_of_fleet(const nlohmann::json& fleet);

std::string fleet_status_text(const nlohmann::json& fleet, const Look& look, Instant now);
std::string fleet_table(const std::vector<nlohmann::json>& fleets, const Look& look, Instant now);

/// The live picture: a fixed number of short lines whatever the fleet's size. `failures` are run
/// rows, newest first.
std::string progress_frame(const nlohmann::json& fleet, const std::vector<nlohmann::json>& failures,
                           const Look& look, Duration elapsed);
/// The same in one line, for pipes.
std::string progress_line(const nlohmann::json& fleet);

/// "failed(verification) tests_failed", "skipped(dry_run)", "running".
std::string state_text(const nlohmann::json& run);
/// What agents say to have used: "1,200 tokens, $0.25"; empty when they say nothing.
std::string used_text(const nlohmann::json& of);
/// The shortest usable name of a run: 6 characters of its id.
std::string short_id(const std::string& id);

}  // namespace muster::cli
