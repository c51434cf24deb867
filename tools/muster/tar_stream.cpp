#include "tools/muster/tar_stream.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <optional>

#include "storage/base/files.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kCopyPiece = 64u << 10;
constexpr int kWriteFlags = ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                            ARCHIVE_EXTRACT_SECURE_NODOTDOT |
                            ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS;

struct FreeArchive {
  void operator()(struct archive* one) const { ::archive_free(one); }
};
struct FreeEntry {
  void operator()(archive_entry* one) const { ::archive_entry_free(one); }
};
using CopyArchive = std::unique_ptr<struct archive, FreeArchive>;
using CopyEntry = std::unique_ptr<archive_entry, FreeEntry>;

void warn(Copied& copied, std::string text) {
  if (copied.warnings.size() < kMaxCopyWarnings) copied.warnings.push_back(std::move(text));
}

Result<void> count_entry(Copied& copied, std::uint64_t bytes, const CopyLimits& limits) {
  copied.bytes += bytes;
  if (++copied.files > limits.entries)
    return fail(Errc::refused, "more than " + std::to_string(limits.entries) + " files");
  if (bytes > limits.bytes || copied.bytes > limits.bytes)
    return fail(Errc::refused, "more than " + human_bytes(limits.bytes));
  return {};
}

/// libarchive writes below the present directory: its own checks are about every part of a path.
class InDirectory {
 public:
  explicit InDirectory(const fs::path& directory)
      : before_(::open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    entered_ = before_.valid() && ::chdir(directory.c_str()) == 0;
  }
  InDirectory(const InDirectory&) = delete;
  InDirectory& operator=(const InDirectory&) = delete;
  ~InDirectory() {
    if (entered_ && ::fchdir(before_.get()) != 0) std::perror("muster: fchdir");
  }
  [[nodiscard]] bool entered() const { return entered_; }

 private:
  Fd before_;
  bool entered_ = false;
};

/// "a/b" of "./a//b/"; nothing for what is absolute or has "..".
Result<std::string> plain_path(std::string_view text) {
  if (text.empty() || text.front() == '/')
    return fail(Errc::refused, "the sandbox sent an absolute path: " + safe_line(text));
  std::string path;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('/'), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (part == "..") return fail(Errc::refused, "the sandbox sent a path with \"..\"");
    if (part.empty() || part == ".") continue;
    if (!path.empty()) path.push_back('/');
    path += part;
  }
  return path;
}

/// Whether a link at `path` leads to something below the directory that `path` is relative to. ".." counts only at its
/// beginning, where it leaves real directories: behind a name it might leave what another link leads to.
bool stays_inside(const std::string& path, std::string_view link) {
  if (link.empty() || link.front() == '/') return false;
  auto depth = std::count(path.begin(), path.end(), '/');
  bool named = false;
  while (!link.empty()) {
    const std::size_t end = std::min(link.find('/'), link.size());
    const std::string_view part = link.substr(0, end);
    link.remove_prefix(std::min(end + 1, link.size()));
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      named = true;
    } else if (named || --depth < 0) {
      return false;
    }
  }
  return true;
}

class Unpacking {
 public:
  Unpacking(const ReadBytes& read, const CopyTarget& to, const CopyLimits& limits)
      : read_(read), to_(to), limits_(limits), from_(::archive_read_new()),
        disk_(::archive_write_disk_new()) {}

  Result<Copied> run() {
    const InDirectory inside(to_.directory);
    if (!inside.entered()) return fail_errno("enter " + to_.directory.string(), errno);
    ::archive_read_support_format_tar(from_.get());
    ::archive_write_disk_set_options(disk_.get(), kWriteFlags);
    if (::archive_read_open(from_.get(), this, nullptr, &Unpacking::next, nullptr) != ARCHIVE_OK)
      return tl::unexpected(trouble());
    archive_entry* entry = nullptr;
    while (true) {
      const int got = ::archive_read_next_header(from_.get(), &entry);
      if (got == ARCHIVE_EOF) break;
      if (got < ARCHIVE_WARN) return tl::unexpected(trouble());
      if (auto done = take(entry); !done) return tl::unexpected(done.error());
    }
    // The rest of the stream: whoever sends it must not be left with a full pipe.
    while (!at_end_) {
      auto bytes = read_();
      if (!bytes) return tl::unexpected(bytes.error());
      at_end_ = bytes->empty();
    }
    if (::archive_write_close(disk_.get()) < ARCHIVE_WARN) return tl::unexpected(disk_trouble(""));
    return std::move(copied_);
  }

 private:
  static la_ssize_t next(struct archive* from, void* self, const void** bytes) {
    auto& me = *static_cast<Unpacking*>(self);
    if (me.at_end_) return 0;
    auto piece = me.read_();
    if (!piece) {
      me.cause_ = piece.error();
      ::archive_set_error(from, EIO, "%s", "the stream broke off");
      return ARCHIVE_FATAL;
    }
    me.piece_ = std::move(*piece);
    me.at_end_ = me.piece_.empty();
    *bytes = me.piece_.data();
    return static_cast<la_ssize_t>(me.piece_.size());
  }

  Error trouble() const {
    if (cause_) return *cause_;
    const char* text = ::archive_error_string(from_.get());
    return {Errc::corrupt, std::string("the sandbox sent no sound archive") +
                               (text != nullptr ? ": " + safe_line(text) : "")};
  }

  Error disk_trouble(const std::string& path) const {
    const char* text = ::archive_error_string(disk_.get());
    return {Errc::io, "can't write " + safe_line(path) + (text != nullptr ? ": " + safe_line(text) : "")};
  }

  /// Where what the stream calls `sent` goes, below the directory; empty: nowhere, it is the directory itself.
  [[nodiscard]] Result<std::string> place(const char* sent) const {
    auto path = plain_path(sent != nullptr ? sent : "");
    if (!path) return path;
    if (to_.asked == ".") {
      if (to_.name.empty()) return path;
      return path->empty() ? to_.name : to_.name + "/" + *path;
    }
    const std::size_t slash = std::min(path->find('/'), path->size());
    if (path->substr(0, slash) != to_.asked)
      return fail(Errc::refused, "the sandbox sent " + safe_line(*path) + ", which was not asked for");
    return to_.name + path->substr(slash);
  }

  Result<void> take(archive_entry* entry) {
    const auto path = place(::archive_entry_pathname(entry));
    if (!path) return tl::unexpected(path.error());
    if (path->empty()) return {};
    const la_int64_t size = ::archive_entry_size(entry);
    const bool has_bytes = ::archive_entry_filetype(entry) == AE_IFREG && size > 0;
    if (auto fits = count_entry(copied_, has_bytes ? static_cast<std::uint64_t>(size) : 0, limits_); !fits)
      return fits;
    CopyEntry made(::archive_entry_new());
    ::archive_entry_copy_pathname(made.get(), path->c_str());
    const auto kept = describe(entry, *path, made.get());
    if (!kept) return tl::unexpected(kept.error());
    if (!*kept) return {};
    if (::archive_write_header(disk_.get(), made.get()) < ARCHIVE_WARN)
      return tl::unexpected(disk_trouble(*path));
    if (has_bytes && ::archive_entry_hardlink(entry) == nullptr)
      if (auto done = write_bytes(*path); !done) return done;
    if (::archive_write_finish_entry(disk_.get()) < ARCHIVE_WARN)
      return tl::unexpected(disk_trouble(*path));
    return {};
  }

  /// Only what is named here comes over. False: it is left out.
  Result<bool> describe(archive_entry* entry, const std::string& path, archive_entry* made) {
    const auto left_out = [&](const char* what) {
      --copied_.files;
      warn(copied_, "left out: " + safe_line(path) + ", " + what);
      return false;
    };
    ::archive_entry_set_mtime(made, ::archive_entry_mtime(entry), 0);
    const mode_t mode = ::archive_entry_mode(entry);
    if (const char* target = ::archive_entry_hardlink(entry); target != nullptr) {
      const auto other = place(target);
      if (!other) return tl::unexpected(other.error());
      ::archive_entry_set_filetype(made, AE_IFREG);
      ::archive_entry_set_perm(made, 0644 | (mode & 0111));
      ::archive_entry_copy_hardlink(made, other->c_str());
      return true;
    }
    switch (::archive_entry_filetype(entry)) {
      case AE_IFREG:
        ::archive_entry_set_filetype(made, AE_IFREG);
        ::archive_entry_set_perm(made, 0644 | (mode & 0111));
        ::archive_entry_set_size(made, ::archive_entry_size(entry));
        return true;
      case AE_IFDIR:
        ::archive_entry_set_filetype(made, AE_IFDIR);
        ::archive_entry_set_perm(made, 0755);
        return true;
      case AE_IFLNK: {
        const char* link = ::archive_entry_symlink(entry);
        // Relative to the top of what is copied: what lies beside that is not of the sandbox.
        const std::size_t top = to_.name.empty() ? 0 : to_.name.size() + 1;
        const std::string inner = path.substr(std::min(top, path.size()));
        if (link == nullptr || inner.empty() || !stays_inside(inner, link))
          return left_out("a link that leads out");
        ::archive_entry_set_filetype(made, AE_IFLNK);
        ::archive_entry_copy_symlink(made, link);
        return true;
      }
      default: return left_out("neither a file nor a directory nor a link");
    }
  }

  Result<void> write_bytes(const std::string& path) {
    const void* bytes = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    while (true) {
      const int got = ::archive_read_data_block(from_.get(), &bytes, &size, &offset);
      if (got == ARCHIVE_EOF) return {};
      if (got < ARCHIVE_WARN) return tl::unexpected(trouble());
      if (::archive_write_data_block(disk_.get(), bytes, size, offset) < ARCHIVE_WARN)
        return tl::unexpected(disk_trouble(path));
    }
  }

  const ReadBytes& read_;
  const CopyTarget& to_;
  const CopyLimits& limits_;
  const CopyArchive from_, disk_;
  std::string piece_;
  bool at_end_ = false;
  std::optional<Error> cause_;
  Copied copied_;
};

class Packing {
 public:
  Packing(const WriteBytes& write, const CopyLimits& limits)
      : write_(write), limits_(limits), to_(::archive_write_new()) {}

  Result<Copied> run(const fs::path& source, const std::string& name) {
    ::archive_write_set_format_gnutar(to_.get());  // names as they are, whatever they are encoded in
    ::archive_write_set_bytes_per_block(to_.get(), kCopyPiece);
    ::archive_write_set_bytes_in_last_block(to_.get(), 1);
    if (::archive_write_open(to_.get(), this, nullptr, &Packing::taken, nullptr) != ARCHIVE_OK)
      return tl::unexpected(trouble());
    if (auto done = add_tree(source, name); !done) return tl::unexpected(done.error());
    if (::archive_write_close(to_.get()) < ARCHIVE_WARN) return tl::unexpected(trouble());
    return std::move(copied_);
  }

 private:
  static la_ssize_t taken(struct archive* to, void* self, const void* bytes, std::size_t size) {
    auto& me = *static_cast<Packing*>(self);
    me.left_ = me.left_ || !me.write_(std::string(static_cast<const char*>(bytes), size));
    if (!me.left_) return static_cast<la_ssize_t>(size);
    ::archive_set_error(to, EPIPE, "%s", "nobody takes it any more");
    return -1;
  }

  Error trouble() const {
    const char* text = ::archive_error_string(to_.get());
    return {left_ ? Errc::unreachable : Errc::io, std::string("the archive can't be sent") + (text != nullptr ? std::string(": ") + text : "")};
  }

  Result<void> add_tree(const fs::path& source, const std::string& name) {
    if (auto done = add(source, name); !done) return done;
    std::error_code error;
    if (!fs::is_directory(fs::symlink_status(source, error))) return {};
    fs::recursive_directory_iterator tree(source, error);
    if (error) return fail(Errc::io, "read " + source.string() + ": " + error.message());
    for (; tree != fs::recursive_directory_iterator(); tree.increment(error)) {
      const std::string below = tree->path().lexically_relative(source).string();
      if (auto done = add(tree->path(), name + "/" + below); !done) return done;
    }
    if (error) return fail(Errc::io, "read " + source.string() + ": " + error.message());
    return {};
  }

  Result<void> add(const fs::path& path, const std::string& name) {
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0) return fail_errno("read " + path.string(), errno);
    Fd from;
    if (S_ISREG(info.st_mode)) {
      from = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
      if (!from.valid() || ::fstat(from.get(), &info) != 0) return fail_errno("open " + path.string(), errno);
    }
    const bool file = S_ISREG(info.st_mode);
    if (!file && !S_ISDIR(info.st_mode) && !S_ISLNK(info.st_mode)) {
      warn(copied_, "left out: " + path.string() + ", neither a file nor a directory nor a link");
      return {};
    }
    const std::uint64_t size = file ? static_cast<std::uint64_t>(info.st_size) : 0;
    if (auto fits = count_entry(copied_, size, limits_); !fits) return fits;
    CopyEntry entry(::archive_entry_new());
    ::archive_entry_copy_pathname(entry.get(), name.c_str());
    ::archive_entry_set_mtime(entry.get(), info.st_mtim.tv_sec, 0);
    ::archive_entry_set_perm(entry.get(), info.st_mode & 0777);
    ::archive_entry_set_size(entry.get(), static_cast<la_int64_t>(size));
    ::archive_entry_set_filetype(entry.get(), file ? AE_IFREG : S_ISDIR(info.st_mode) ? AE_IFDIR : AE_IFLNK);
    if (S_ISLNK(info.st_mode)) {
      std::error_code error;
      ::archive_entry_copy_symlink(entry.get(), fs::read_symlink(path, error).c_str());
      if (error) return fail(Errc::io, "read " + path.string() + ": " + error.message());
    }
    if (::archive_write_header(to_.get(), entry.get()) < ARCHIVE_WARN) return tl::unexpected(trouble());
    return file ? add_bytes(from, size, path) : Result<void>{};
  }

  Result<void> add_bytes(const Fd& from, std::uint64_t left, const fs::path& path) {
    std::array<char, kCopyPiece> buffer;
    while (left > 0) {
      const ssize_t n = ::read(from.get(), buffer.data(), std::min<std::uint64_t>(buffer.size(), left));
      if (n < 0) return fail_errno("read " + path.string(), errno);
      if (n == 0) return fail(Errc::conflict, path.string() + " became shorter while it was read");
      if (::archive_write_data(to_.get(), buffer.data(), static_cast<std::size_t>(n)) < 0)
        return tl::unexpected(trouble());
      left -= static_cast<std::uint64_t>(n);
    }
    return {};
  }

  const WriteBytes& write_;
  const CopyLimits& limits_;
  bool left_ = false;  // write_ wants no more
  const CopyArchive to_;
  Copied copied_;
};

}  // namespace

Result<Copied> unpack_tar(const ReadBytes& read, const CopyTarget& to, const CopyLimits& limits) {
  return Unpacking(read, to, limits).run();
}

Result<Copied> pack_tar(const fs::path& source, const std::string& name, const WriteBytes& write,
                        const CopyLimits& limits) {
  return Packing(write, limits).run(source, name);
}

}  // namespace muster::cli
