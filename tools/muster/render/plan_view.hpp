// What `fleet run` is about to do, before it does it. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "tools/muster/prepare.hpp"
#include "tools/muster/render/table.hpp"

namespace muster::cli {

/// `hosts` is the answer of /v1/hosts.
std::string plan_text(const PreparedFleet& fleet, bool dry_run, const nlohmann::json& hosts,
                      const Look& look);
/// "fleet x, 500 repositories (2 excluded), waves of 5, 50, 500".
std::string selection_text(const PreparedFleet& fleet);

}  // namespace muster::cli
