// The branches of a repository on this machine: loose files and packed-refs, changed under git's
// own locks
// (<ref>.lock, packed-refs.lock), so that git processes and this one never overwrite each other.
//
// A lock is a hard link to a file that its owner holds by flock(2): when the owner dies, the next
// one sees that nobody holds it and takes it away. git leaves such a lock for ever.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/files.hpp"

namespace muster::actors::git {

/// How long a lock of somebody else is waited for.
constexpr std::chrono::milliseconds kRefLockTimeout{2000};
constexpr std::size_t kMaxPackedRefsBytes = 256u << 20;

/// An exclusive right to replace `name` in `directory`, in git's own manner.
class RefLock {
 public:
  /// Errc::overloaded when another holds it for longer than kRefLockTimeout.
  static Result<RefLock> take(int directory, const std::string& name);
  RefLock(RefLock&&) noexcept = default;
  RefLock& operator=(RefLock&&) = delete;
  ~RefLock();

  /// Makes `bytes` the content of `name`: durable when it returns.
  Result<void> commit(std::string_view bytes);
  [[nodiscard]] int directory() const { return directory_.get(); }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  RefLock(Fd directory, Fd owner, std::string name)
      : directory_(std::move(directory)), owner_(std::move(owner)), name_(std::move(name)) {}
  Fd directory_;
  Fd owner_;  ///< Invalid once the lock is gone.
  std::string name_;
};

/// `common` must outlive it: the directory that holds refs/ and packed-refs.
class Refs {
 public:
  explicit Refs(int common) : common_(common) {}

  /// What refs/heads/BRANCH points at, or nothing. Errc::refused for a symbolic one.
  Result<std::optional<std::string>> read(const std::string& branch) const;

  /// Why refs/heads/BRANCH can't be created beside the others ("muster" and "muster/x"); empty when
  /// it can.
  Result<std::string> name_conflict(const std::string& branch) const;

  /// refs/heads/BRANCH from `expected` (nothing: it must not exist) to `value`. Errc::conflict when
  /// it is not `expected`, Errc::refused when another branch is in the way.
  Result<void> swap(const std::string& branch, const std::optional<std::string>& expected,
                    const std::string& value);
  /// Errc::conflict when it is not `expected`.
  Result<void> remove(const std::string& branch, const std::string& expected);

 private:
  Result<RefLock> lock(const std::string& branch) const;
  Result<std::string> packed() const;
  Result<void> remove_packed(const std::string& branch);

  int common_;
};

}  // namespace muster::actors::git
