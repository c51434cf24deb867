// Real repositories for loads that deliver: bare, small, all with the same first commit. By git.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "bench/load/simulated_host.hpp"

namespace muster::load {

/// Makes load-F/rN.git below `directory` for every fleet and repository.
Result<CommitFacts> make_repositories(const std::filesystem::path& directory, std::uint32_t fleets,
                                      std::uint32_t repositories);

/// For loads that deliver nothing: ids that look like ids.
CommitFacts invented_commit();

}  // namespace muster::load
