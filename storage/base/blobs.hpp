// Content by digest on disk: fleet files, repository snapshots, agent bundles, packs. Written whole, synced,
// then renamed to its SHA-256, so what is found is complete. Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"

namespace muster {

class Blobs {
 public:
  explicit Blobs(std::filesystem::path directory, std::uint64_t max_bytes = 64u << 20)
      : directory_(std::move(directory)), max_bytes_(max_bytes) {}

  /// Durable when it returns. Errc::invalid when the bytes don't have that digest or are too many.
  Result<void> put(std::string_view digest, std::string_view bytes);
  [[nodiscard]] bool has(std::string_view digest) const;
  [[nodiscard]] std::filesystem::path path(std::string_view digest) const;
  [[nodiscard]] Result<std::string> get(std::string_view digest) const;

  /// Appends a part that arrives in order; the last one checks the digest and makes it durable. Offset 0
  /// begins anew; another offset than the present length is Errc::conflict. True when the blob is complete.
  Result<bool> append(std::string_view digest, std::uint64_t offset, std::uint64_t total,
                      std::string_view bytes);
  Result<void> remove(std::string_view digest);

 private:
  std::filesystem::path directory_;
  std::uint64_t max_bytes_;
};

}  // namespace muster
