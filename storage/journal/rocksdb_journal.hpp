// The journal on RocksDB 7.8. How it is laid out, and why, stands in storage/README.md.
//
//   auto journal = open_rocksdb_journal(paths.shard(0));
//   if (!journal) …          // Errc::conflict: another process has it
//
// One process and one object per directory. Bounded: memtables, block cache and descriptors by the options.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>

#include "storage/journal/journal.hpp"

namespace rocksdb {
class Env;
}

namespace muster::storage {

struct RocksDbOptions {
  std::size_t memtable_bytes = 64u << 20;     ///< All memtables of all families together.
  std::size_t block_cache_bytes = 16u << 20;  ///< Blocks, indexes and filters of the files.
  int max_open_files = 256;
  std::shared_ptr<rocksdb::Env> env;  ///< For tests that inject faults; empty: the system's.
};

/// Creates the directory when missing, recovers what is there. Errc::conflict when another process holds it.
Result<std::unique_ptr<Journal>> open_rocksdb_journal(const std::filesystem::path& directory,
                                                      RocksDbOptions options = {});

}  // namespace muster::storage
