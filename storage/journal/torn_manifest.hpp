// What a power cut may leave at the end of RocksDB's MANIFEST, and RocksDB 7.8 does not open: zeros inside its last
// record. A record that is cut short, or gone, it takes for what it is: one that was never synced.
//
// Not every file system can leave such zeros: ext4 as Debian mounts it (data=ordered) makes a file longer only once
// its new bytes are on the disk; data=writeback, or XFS with bytes in two extents, may do it the other way round.
#pragma once

#include <filesystem>

#include "storage/base/error.hpp"

namespace muster::storage {

/// Cuts the MANIFEST of a closed RocksDB where its last record begins, if that is not whole and nothing but zeros comes
/// after a part of it. True: it was cut, and may open now. False: whatever is wrong is something else, and nothing
/// was changed.
Result<bool> cut_torn_manifest(const std::filesystem::path& directory);

}  // namespace muster::storage
