// Merging and closing: asked of musterd, which asks the forge; waits until the forge has answered.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "tools/muster/client.hpp"

namespace muster::cli {

/// `verb` is merge or close. The pull request once it is not busy any more, or after a minute.
Answer<nlohmann::json> change_pull(Client& client, const std::string& id, const std::string& verb,
                                   const std::string& reason);
/// "merged" or "closed".
std::string settled_state(const std::string& verb);
/// Why it is not in that state; empty when it is.
std::string unsettled(const nlohmann::json& pull, const std::string& verb);

}  // namespace muster::cli
