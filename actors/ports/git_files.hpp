// Files of a repository that somebody else owns: reached from its directory part by part without
// following a symbolic link, so that a repository can't make the engine write elsewhere; and made
// to look like their directory (owner, group, permissions), whoever the engine runs as.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"
#include "storage/base/files.hpp"

namespace muster::actors::git {

/// Errc::not_found when a part is missing, Errc::refused when one is a file or a symbolic link.
Result<Fd> open_directory(int at, std::string_view relative);
/// As open_directory, but makes what is missing, like its parent.
Result<Fd> make_directories(int at, std::string_view relative);

/// A regular file of at most `limit` bytes; nothing when it does not exist.
Result<std::optional<std::string>> read_at(int at, const std::string& name, std::size_t limit);

/// Gives the file the owner, group and permissions that its directory suggests. Objects are never
/// writable.
Result<void> look_like_directory(int file, int directory, bool writable);

/// Holds flock on an open directory, where the file system has locks. `kind`: LOCK_SH or LOCK_EX.
class DirectoryLock {
 public:
  DirectoryLock(int directory, int kind);
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  ~DirectoryLock();
  [[nodiscard]] bool held() const { return held_; }

 private:
  int directory_;
  bool held_;
};

Result<void> write_all(int fd, std::string_view bytes);
Result<void> sync(int fd, std::string_view what);

}  // namespace muster::actors::git
