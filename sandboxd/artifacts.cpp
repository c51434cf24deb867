#include "sandboxd/artifacts.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "sandboxd/hostile_file.hpp"
#include "sandboxd/progress.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr const char* kWhere = "output/artifacts";
constexpr std::uint64_t kBlock = 512;           // of a tar
constexpr std::uint64_t kHeaders = 4 * kBlock;  // of one file at most: a long path takes a header of its own
constexpr std::uint64_t kEnd = 2 * kBlock;

std::uint64_t in_blocks(std::uint64_t bytes) { return (bytes + kBlock - 1) / kBlock * kBlock; }

class Tar {
 public:
  explicit Tar(int fd) : tar_(::archive_write_new()) {
    ::archive_write_set_format_gnutar(tar_);  // names are bytes, whatever the locale
    ::archive_write_set_bytes_in_last_block(tar_, 1);
    ok_ = ::archive_write_open_fd(tar_, fd) == ARCHIVE_OK;
  }
  Tar(const Tar&) = delete;
  Tar& operator=(const Tar&) = delete;
  ~Tar() { ::archive_write_free(tar_); }

  void begin(const wire::ArtifactT& file, const struct stat& info) {
    archive_entry* entry = ::archive_entry_new();
    ::archive_entry_set_pathname(entry, file.path.c_str());
    ::archive_entry_set_size(entry, static_cast<la_int64_t>(file.bytes));
    ::archive_entry_set_filetype(entry, AE_IFREG);
    ::archive_entry_set_perm(entry, file.mode);
    ::archive_entry_set_mtime(entry, info.st_mtim.tv_sec, 0);
    check(::archive_write_header(tar_, entry) >= ARCHIVE_WARN);
    ::archive_entry_free(entry);
  }
  void add(std::string_view bytes) {
    check(::archive_write_data(tar_, bytes.data(), bytes.size()) == static_cast<la_ssize_t>(bytes.size()));
  }
  Result<void> close() {
    check(::archive_write_close(tar_) == ARCHIVE_OK);
    if (ok_) return {};
    const char* why = ::archive_error_string(tar_);
    return fail(Errc::io, std::string("write the artefacts: ") + (why != nullptr ? why : "it failed"));
  }

 private:
  void check(bool done) { ok_ = ok_ && done; }

  struct archive* tar_;
  bool ok_ = false;
};

/// Names of an artefact are shown on terminals, and become names on other people's disks.
bool is_plain(const std::string& path) {
  return valid_utf8(path) == path && std::none_of(path.begin(), path.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\';
         });
}

class Taker {
 public:
  Taker(const fs::path& out, int to, std::uint64_t max_bytes)
      : out_(out), tar_(to), max_bytes_(max_bytes), room_(max_bytes - std::min(max_bytes, kEnd)) {}

  void take(const std::string& path) {
    if (!is_plain(path)) return leave_out(valid_utf8(path) + ", whose name has characters that no artefact may have");
    if (path.size() > Artifacts::kMaxPath) return leave_out(path + ", whose path is too long");
    if (taken_.files.size() == Artifacts::kMaxFiles || paths_ + path.size() > Artifacts::kMaxPaths)
      return leave_out(path + ", because there are too many files");
    const auto from = open_hostile(out_, std::string(kWhere) + "/" + path, std::numeric_limits<std::int64_t>::max());
    struct stat info {};
    if (!from || ::fstat(from->get(), &info) != 0) return leave_out(path + ", which is not a regular file");
    if (kHeaders + in_blocks(static_cast<std::uint64_t>(info.st_size)) > room_)
      return leave_out(path + ", because all together may have " + std::to_string(max_bytes_) + " bytes");
    add(path, *from, info);
  }

  void leave_out(const std::string& what) {
    if (left_out_++ == 0) first_left_out_ = what;
  }

  Result<Artifacts> finish() {
    if (auto done = tar_.close(); !done) return tl::unexpected(done.error());
    if (!trouble_.empty()) return fail(Errc::io, trouble_);
    if (left_out_ > 0)
      taken_.warnings.push_back("artifacts: " + std::to_string(left_out_) + " left out: " + first_left_out_ +
                                (left_out_ > 1 ? ", and others" : ""));
    return std::move(taken_);
  }

 private:
  void add(const std::string& path, const Fd& from, const struct stat& info) {
    auto file = std::make_unique<wire::ArtifactT>();
    file->path = path;
    file->bytes = static_cast<std::uint64_t>(info.st_size);
    file->mode = (info.st_mode & S_IXUSR) != 0 ? 0755 : 0644;
    tar_.begin(*file, info);
    std::uint64_t copied = 0;
    auto digest = read_hostile(from, file->bytes, [&](std::string_view bytes) -> Result<void> {
      copied += bytes.size();
      tar_.add(bytes);
      return {};
    });
    if (!digest || copied != file->bytes) {
      trouble_ = path + " changed while it was read";
      return;
    }
    file->sha256 = std::move(*digest);
    room_ -= kHeaders + in_blocks(file->bytes);
    paths_ += path.size();
    taken_.files.push_back(std::move(file));
  }

  const fs::path& out_;
  Tar tar_;
  std::uint64_t max_bytes_, room_;
  std::size_t paths_ = 0, left_out_ = 0;
  std::string first_left_out_, trouble_;
  Artifacts taken_;
};

/// Everything below the directory that is no directory itself, sorted; false: there is more than is looked at.
bool list(const fs::path& top, std::vector<std::string>& paths) {
  std::error_code error;
  if (fs::symlink_status(top, error).type() != fs::file_type::directory) return true;
  std::size_t looked = 0;
  for (fs::recursive_directory_iterator it(top, error), end; !error && it != end; it.increment(error)) {
    if (++looked > Artifacts::kMaxLooked) return false;
    if (it->symlink_status(error).type() != fs::file_type::directory) {
      paths.push_back(it->path().lexically_relative(top));
    } else if (it.depth() + 1 >= static_cast<int>(Artifacts::kMaxDepth)) {
      it.disable_recursion_pending();
      paths.push_back(it->path().lexically_relative(top));  // named in the warning
    }
  }
  std::sort(paths.begin(), paths.end());
  return true;
}

}  // namespace

Result<Artifacts> take_artifacts(const fs::path& out, const fs::path& target, std::uint64_t max_bytes) {
  std::vector<std::string> paths;
  const bool all = list(out / kWhere, paths);
  if (paths.empty()) return Artifacts{};
  const Fd to(::open(target.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!to.valid()) return fail_errno("create " + target.string(), errno);
  Taker taker(out, to.get(), max_bytes);
  for (const std::string& path : paths) taker.take(path);
  if (!all) taker.leave_out("what is beyond " + std::to_string(Artifacts::kMaxLooked) + " entries");
  auto taken = taker.finish();
  if (!taken || taken->files.empty()) {
    ::unlink(target.c_str());
    return taken;
  }
  struct stat info {};
  if (::fsync(to.get()) != 0 || ::fstat(to.get(), &info) != 0 || ::lseek(to.get(), 0, SEEK_SET) != 0)
    return fail_errno("write " + target.string(), errno);
  taken->bytes = static_cast<std::uint64_t>(info.st_size);
  auto digest = read_hostile(to, max_bytes, [](std::string_view) -> Result<void> { return {}; });
  if (!digest) return tl::unexpected(digest.error());
  taken->digest = std::move(*digest);
  return taken;
}

}  // namespace muster::sandbox
