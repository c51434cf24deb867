// Files that survive power loss: written whole or not at all, with the directory synced too.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "storage/base/error.hpp"

namespace muster {

/// Owns a descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

/// Reads at most `limit` bytes; a larger file is Errc::invalid.
Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit = 64u << 20);

/// Writes a temporary file beside `path`, syncs it, renames it over `path` and syncs the directory.
Result<void> write_file_durably(const std::filesystem::path& path, std::string_view bytes,
                                unsigned mode = 0644);

/// Creates the directory and its parents with `mode` and syncs the parent.
Result<void> make_directory(const std::filesystem::path& path, unsigned mode = 0755);

/// What was written to it, by whomever.
Result<void> sync_file(const std::filesystem::path& path);
Result<void> sync_directory(const std::filesystem::path& path);

/// Takes an exclusive lock that ends with the process; Errc::conflict names the holder's pid if another has it.
Result<Fd> lock_file(const std::filesystem::path& path);

}  // namespace muster
