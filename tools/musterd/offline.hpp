// The committed state of an installation that is not running, behind the Engine's reading half: for
// `musterd check`. Nothing moves: no message is handled, no timer fires, no effect runs; every
// write is refused.
#pragma once

#include <filesystem>
#include <memory>

#include "engine/core/engine.hpp"

namespace muster::musterd {

/// `directory` holds shard-0, shard-1, …; Errc::not_found without any, Errc::conflict while a
/// musterd has them.
Result<std::unique_ptr<engine::Engine>> open_offline(const std::filesystem::path& directory);

/// Reads every file of those journals again and compares the checksums. Errc::corrupt says where.
Result<void> verify_offline(const std::filesystem::path& directory);

}  // namespace muster::musterd
