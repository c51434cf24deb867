// One bare mirror per repository in mirrors()/<SHA-256 of its canonical URL>, never pruned, because workspaces borrow
// its objects. It is fetched once however many attempts ask at the same time, and a bounded number of mirrors at once.
//
// A repository on the same machine costs no process: its object files are hard-linked into the mirror (a file system
// apart: copied by git). Links keep the objects alive whatever the owner prunes, and only regular files are linked.
//
// Thread-safe; blocking.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/paths.hpp"

namespace muster::sandbox {

struct MirrorState {
  std::filesystem::path objects;
  std::string base_branch;  ///< The one asked for, or the remote's HEAD.
  std::string base_sha;
  bool hit = false;         ///< The base commit was there already.
};

class Mirrors {
 public:
  Mirrors(Paths paths, unsigned concurrent_fetches);

  /// Brings the mirror up to date with `url` and resolves the base branch (empty: the remote's HEAD).
  /// Errc::unreachable: the remote could not be read; Errc::not_found: no such branch, or an empty repository.
  Result<MirrorState> update(const std::string& url, const std::string& base_branch);

  /// The name of the mirror's directory; empty for what is no repository's URL.
  static std::string key(const std::string& url);
  /// Canonical URLs with a mirror, most recently used first, at most `limit`.
  [[nodiscard]] std::vector<std::string> warm(std::size_t limit) const;

 private:
  struct Mirror {
    std::mutex mutex;               // one update at a time
  };
  std::shared_ptr<Mirror> mirror(const std::string& key);
  Result<MirrorState> fetch(const std::filesystem::path& directory, const std::string& url,
                            const std::string& canonical, const std::string& base_branch);

  Paths paths_;
  unsigned free_fetches_;
  mutable std::mutex mutex_;
  std::condition_variable fetch_free_;
  std::map<std::string, std::shared_ptr<Mirror>> mirrors_;
};

}  // namespace muster::sandbox
