// A swarm as text: its tree, the list, the ledger. Pure: documents of the API in, text out.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "storage/base/time.hpp"
#include "tools/muster/render/table.hpp"

namespace muster::cli {

/// A state of a swarm or a facet for people: "completed with rejections".
std::string words_of(std::string state);
/// Nothing of it will move without a person.
bool is_over_swarm(const nlohmann::json& swarm);
/// 0: every facet was merged or had nothing to change.
int exit_code_of_swarm(const nlohmann::json& swarm);

/// The swarm, its repositories, and below each its facets, of which at most `most` are shown: those that move first.
std::string swarm_tree(const nlohmann::json& swarm, const std::vector<nlohmann::json>& facets,
                       const Look& look, std::size_t most);
/// The same in one line, for pipes.
std::string swarm_line(const nlohmann::json& swarm);
std::string swarm_table(const std::vector<nlohmann::json>& swarms, const Look& look, Instant now);
/// One facet's story.
std::string facet_text(const nlohmann::json& facet, const Look& look);
std::string ledger_text(const nlohmann::json& ledger, const Look& look);

}  // namespace muster::cli
