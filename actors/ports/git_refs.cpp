#include "actors/ports/git_refs.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <thread>
#include <utility>

#include "actors/ports/git_files.hpp"
#include "actors/ports/git_names.hpp"

namespace muster::actors::git {
namespace {

constexpr std::chrono::milliseconds kLockPoll{3};
constexpr int kDirectoryRaces = 5;  // git removes empty directories while we make one.
constexpr std::size_t kMaxLooseRefBytes = 4096;
constexpr int kMaxEmptyDirectories = 64;

std::string lock_name(const std::string& name) {
  return name + ".lock";
}
/// The lock's other name: git skips what begins with '.' or ends with .lock.
std::string owner_name(const std::string& name) {
  return "." + name + ".muster.lock";
}

bool same_file(int directory, const std::string& name, const struct stat& as) {
  struct stat found {};
  return fstatat(directory, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0 &&
         found.st_dev == as.st_dev && found.st_ino == as.st_ino;
}

/// Clears what a dead owner left behind. We hold its flock, so nobody else is at it.
void clear_leftover(int directory, const std::string& name, const struct stat& leftover) {
  if (same_file(directory, lock_name(name), leftover))
    unlinkat(directory, lock_name(name).c_str(), 0);
  unlinkat(directory, owner_name(name).c_str(), 0);
}

/// One try: the owner's descriptor, or an invalid one when somebody else has the lock.
Result<Fd> try_lock(int directory, const std::string& name) {
  const std::string owner = owner_name(name);
  Fd file(openat(directory, owner.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                 0600));
  if (!file.valid()) return fail_errno(owner, errno);
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) return Fd{};
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return fail_errno(owner, errno);
  if (!S_ISREG(info.st_mode)) return fail(Errc::refused, owner + " is not a regular file");
  if (!same_file(directory, owner, info)) return Fd{};
  if (info.st_nlink != 1 || info.st_size != 0) {
    clear_leftover(directory, name, info);
    return Fd{};
  }
  if (linkat(directory, owner.c_str(), directory, lock_name(name).c_str(), 0) == 0) return file;
  const int error = errno;
  unlinkat(directory, owner.c_str(), 0);
  if (error == EEXIST) return Fd{};
  return fail_errno(lock_name(name), error);
}

/// The part of a ref's name after the last slash, and what is before it.
std::pair<std::string, std::string> split(const std::string& ref) {
  const std::size_t slash = ref.rfind('/');
  return {ref.substr(0, slash), ref.substr(slash + 1)};
}

/// Removes `name` in `at` if it holds nothing but empty directories. `budget` bounds the work.
bool remove_empty_directories(int at, const std::string& name, int& budget) {
  if (--budget < 0) return false;
  Fd directory(openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) return false;
  const int fd = directory.get();
  DIR* raw = fdopendir(fd);
  if (raw == nullptr) return false;
  directory.release();
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(raw, closedir);
  while (const dirent* entry = readdir(entries.get())) {
    const std::string child = entry->d_name;
    if (child == "." || child == "..") continue;
    if (!remove_empty_directories(fd, child, budget)) return false;
  }
  return unlinkat(at, name.c_str(), AT_REMOVEDIR) == 0;
}

struct PackedLine {
  std::string_view sha;
  std::string_view ref;
};

/// Calls each(line) for every ref of a packed-refs file until it returns false.
template <class Each>
void for_each_packed(std::string_view text, Each each) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.size() < 42 || line[0] == '#' || line[0] == '^' || line[40] != ' ') continue;
    if (!each(PackedLine{line.substr(0, 40), line.substr(41)})) return;
  }
}

Result<std::string> parse_loose(const std::string& ref, std::string_view text) {
  if (text.starts_with("ref:")) return fail(Errc::refused, ref + " is a symbolic ref");
  const std::string_view sha = text.substr(0, 40);
  if (!check_commit_id(sha) || (text.size() > 40 && text[40] != '\n' && text[40] != ' '))
    return fail(Errc::corrupt, ref + " does not hold a commit id");
  return std::string(sha);
}

tl::unexpected<Error> in_the_way(const std::string& existing, const std::string& branch) {
  return fail(Errc::refused, "branch '" + existing + "' exists, so '" + branch +
                                 "' can't: git keeps branches as files and directories");
}

}  // namespace

Result<RefLock> RefLock::take(int directory, const std::string& name) {
  Fd own(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own.valid()) return fail_errno(name, errno);
  const auto deadline = std::chrono::steady_clock::now() + kRefLockTimeout;
  for (;;) {
    auto owner = try_lock(directory, name);
    if (!owner) return tl::unexpected<Error>(owner.error());
    if (owner->valid()) return RefLock(std::move(own), std::move(*owner), name);
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(Errc::overloaded, lock_name(name) +
                                        " is held by another process; if none is "
                                        "running, a git process died there: remove the file");
    std::this_thread::sleep_for(kLockPoll);
  }
}

RefLock::~RefLock() {
  if (!owner_.valid()) return;
  unlinkat(directory_.get(), lock_name(name_).c_str(), 0);
  unlinkat(directory_.get(), owner_name(name_).c_str(), 0);
}

Result<void> RefLock::commit(std::string_view bytes) {
  if (auto ok = write_all(owner_.get(), bytes); !ok) return ok;
  if (auto ok = look_like_directory(owner_.get(), directory_.get(), true); !ok) return ok;
  if (auto ok = sync(owner_.get(), name_); !ok) return ok;
  if (renameat(directory_.get(), lock_name(name_).c_str(), directory_.get(), name_.c_str()) != 0)
    return fail_errno(name_, errno);
  unlinkat(directory_.get(), owner_name(name_).c_str(), 0);
  owner_.reset();
  return sync(directory_.get(), name_);
}

Result<std::string> Refs::packed() const {
  auto text = read_at(common_, "packed-refs", kMaxPackedRefsBytes);
  if (!text) return tl::unexpected<Error>(text.error());
  return std::move(*text).value_or("");
}

Result<std::optional<std::string>> Refs::read(const std::string& branch) const {
  const std::string ref = "refs/heads/" + branch;
  const auto [directory_path, name] = split(ref);
  const auto directory = open_directory(common_, directory_path);
  if (!directory && directory.error().code == Errc::io)
    return tl::unexpected<Error>(directory.error());
  if (directory) {
    auto text = read_at(directory->get(), name, kMaxLooseRefBytes);
    if (!text) return tl::unexpected<Error>(text.error());
    if (*text) return parse_loose(ref, **text);
  }
  auto text = packed();
  if (!text) return tl::unexpected<Error>(text.error());
  std::optional<std::string> found;
  for_each_packed(*text, [&](const PackedLine& line) {
    if (line.ref == ref) found = std::string(line.sha);
    return !found;
  });
  return found;
}

Result<std::string> Refs::name_conflict(const std::string& branch) const {
  for (std::size_t slash = branch.find('/'); slash != std::string::npos;
       slash = branch.find('/', slash + 1)) {
    const std::string parent = branch.substr(0, slash);
    const auto value = read(parent);
    if (!value) return tl::unexpected<Error>(value.error());
    if (*value) return in_the_way(parent, branch).value().message;
  }
  auto text = packed();
  if (!text) return tl::unexpected<Error>(text.error());
  const std::string below = "refs/heads/" + branch + "/";
  std::string message;
  for_each_packed(*text, [&](const PackedLine& line) {
    if (line.ref.starts_with(below))
      message = in_the_way(std::string(line.ref.substr(11)), branch).value().message;
    return message.empty();
  });
  return message;
}

/// The lock of a branch, with the directories that lead to it.
Result<RefLock> Refs::lock(const std::string& branch) const {
  const auto [path, name] = split("refs/heads/" + branch);
  for (int race = 0;; ++race) {
    const auto directory = make_directories(common_, path);
    if (!directory && directory.error().code == Errc::refused) {
      const auto conflict = name_conflict(branch);
      if (conflict && !conflict->empty()) return fail(Errc::refused, *conflict);
    }
    auto lock = directory ? RefLock::take(directory->get(), name)
                          : Result<RefLock>(tl::unexpected<Error>(directory.error()));
    // git may have removed the directory, still empty, under our hands.
    const bool vanished =
        !lock && (lock.error().code == Errc::io || lock.error().code == Errc::not_found);
    if (!vanished || race == kDirectoryRaces) return lock;
  }
}

Result<void> Refs::swap(const std::string& branch, const std::optional<std::string>& expected,
                        const std::string& value) {
  auto lock = this->lock(branch);
  if (!lock) return tl::unexpected<Error>(lock.error());
  const std::string& name = lock->name();
  const auto now = read(branch);
  if (!now) return tl::unexpected<Error>(now.error());
  if (*now != expected)
    return fail(Errc::conflict, "branch '" + branch + "' " +
                                    (*now ? "is at " + **now : std::string("does not exist")));
  if (!expected) {
    const auto conflict = name_conflict(branch);
    if (!conflict) return tl::unexpected<Error>(conflict.error());
    if (!conflict->empty()) return fail(Errc::refused, *conflict);
  }
  struct stat info {};
  if (fstatat(lock->directory(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISDIR(info.st_mode)) {
    int budget = kMaxEmptyDirectories;
    if (!remove_empty_directories(lock->directory(), name, budget))
      return in_the_way(branch + "/…", branch);
  }
  return lock->commit(value + "\n");
}

Result<void> Refs::remove_packed(const std::string& branch) {
  auto lock = RefLock::take(common_, "packed-refs");
  if (!lock) return tl::unexpected<Error>(lock.error());
  auto text = packed();
  if (!text) return tl::unexpected<Error>(text.error());
  const std::size_t at = text->find(" refs/heads/" + branch + "\n");
  if (at == std::string::npos) return {};
  if (at < 40) return fail(Errc::corrupt, "packed-refs is not as git writes it");
  const std::size_t begin = at - 40;
  std::size_t end = text->find('\n', at) + 1;
  if (end < text->size() && (*text)[end] == '^')  // A peeled value belongs to the line above it.
    end = std::min(text->find('\n', end), text->size() - 1) + 1;
  text->erase(begin, end - begin);
  return lock->commit(*text);
}

Result<void> Refs::remove(const std::string& branch, const std::string& expected) {
  const auto [directory_path, name] = split("refs/heads/" + branch);
  auto lock = this->lock(branch);  // A packed branch may have no directory: this makes it.
  if (!lock) return tl::unexpected<Error>(lock.error());
  const auto now = read(branch);
  if (!now) return tl::unexpected<Error>(now.error());
  if (*now != expected)
    return fail(Errc::conflict, "branch '" + branch + "' " +
                                    (*now ? "is at " + **now : std::string("does not exist")));
  // First where it is packed, as git does: the other way round an old value would show for a
  // moment.
  if (auto ok = remove_packed(branch); !ok) return ok;
  if (unlinkat(lock->directory(), name.c_str(), 0) != 0 && errno != ENOENT)
    return fail_errno(name, errno);
  if (const auto logs = open_directory(common_, "logs/" + directory_path))
    unlinkat(logs->get(), name.c_str(), 0);
  return sync(lock->directory(), name);
}

}  // namespace muster::actors::git
