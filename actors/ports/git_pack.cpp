#include "actors/ports/git_pack.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>

#include "actors/ports/git_files.hpp"
#include "actors/ports/git_names.hpp"

namespace muster::actors::git {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kScratchPrefix = "work-";
constexpr std::size_t kCopyBytes = 256u << 10;
constexpr std::size_t kPackHeaderBytes = 12;
constexpr std::size_t kPackTrailerBytes = 20;
constexpr Duration kFsckTimeout{300'000};
/// "muster" in hexadecimal digits, behind "pack-".
constexpr std::string_view kInstalledPrefix = "pack-6d7573746572";
constexpr std::size_t kPackNameLength = 45;

Result<Fd> open_file(const fs::path& path) {
  Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.valid()) return file;
  if (errno == ENOENT) return fail(Errc::not_found, "the pack is not there any more");
  return fail_errno(path.string(), errno);
}

/// Calls each(bytes) for every piece of the file.
template <class Each>
Result<void> for_each_piece(int file, Each each) {
  std::string buffer(kCopyBytes, '\0');
  for (;;) {
    const ssize_t got = read(file, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read", errno);
    if (got == 0) return {};
    if (auto ok = each(std::string_view(buffer.data(), static_cast<std::size_t>(got))); !ok)
      return ok;
  }
}

std::uint32_t big_endian(std::string_view four) {
  std::uint32_t value = 0;
  for (const char c : four) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

Result<void> check_header(int file, const PackLimits& limits) {
  struct stat info {};
  if (fstat(file, &info) != 0) return fail_errno("pack", errno);
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size > limits.bytes) return fail(Errc::refused, "the pack is too large");
  std::array<char, kPackHeaderBytes> header{};
  if (size < kPackHeaderBytes + kPackTrailerBytes ||
      pread(file, header.data(), header.size(), 0) != static_cast<ssize_t>(header.size()))
    return fail(Errc::corrupt, "the pack is cut short");
  const std::string_view bytes(header.data(), header.size());
  if (!bytes.starts_with("PACK") || big_endian(bytes.substr(4, 4)) != 2)
    return fail(Errc::corrupt, "this is not a git pack of version 2");
  if (big_endian(bytes.substr(8, 4)) > limits.objects)
    return fail(Errc::refused, "the pack holds too many objects");
  return {};
}

/// Whether both files stand there already; their time is renewed, so that no prune takes them for
/// old.
bool freshen(const std::string& name, int directory) {
  for (const char* extension : {".pack", ".idx"})
    if (utimensat(directory, (name + extension).c_str(), nullptr, AT_SYMLINK_NOFOLLOW) != 0)
      return false;
  return true;
}

/// As git reads a path in GIT_ALTERNATE_OBJECT_DIRECTORIES, whatever characters it holds.
std::string quoted(const std::string& path) {
  std::string out = "\"";
  for (const char c : path) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

/// A durable copy under `name` in `directory`, by way of a name that git's prune clears when we
/// die.
Result<void> install_file(const std::string& from, int directory, const std::string& name) {
  auto source = open_file(from);
  if (!source) return tl::unexpected<Error>(source.error());
  static std::atomic<std::uint64_t> made{0};
  const std::string temporary =
      "tmp_muster_" + std::to_string(getpid()) + "_" + std::to_string(++made) + "_" + name;
  const Fd target(openat(directory, temporary.c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!target.valid()) return fail_errno(temporary, errno);
  auto ok = for_each_piece(source->get(),
                           [&](std::string_view bytes) { return write_all(target.get(), bytes); });
  if (ok) ok = look_like_directory(target.get(), directory, false);
  if (ok) ok = sync(target.get(), name);
  if (ok && renameat(directory, temporary.c_str(), directory, name.c_str()) != 0)
    ok = fail_errno(name, errno);
  if (!ok) unlinkat(directory, temporary.c_str(), 0);
  return ok;
}

}  // namespace

Result<ScratchDirectory> ScratchDirectory::make(const fs::path& parent) {
  std::error_code error;
  fs::create_directories(parent, error);
  std::string name = (parent / (std::string(kScratchPrefix) + "XXXXXX")).string();
  if (mkdtemp(name.data()) == nullptr) return fail_errno(parent.string(), errno);
  return ScratchDirectory(name);
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

void remove_leftovers(const fs::path& parent) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(parent, error)) {
    std::error_code ignored;
    if (entry.path().filename().string().starts_with(kScratchPrefix))
      fs::remove_all(entry.path(), ignored);
  }
}

Result<IndexedPack> index_pack(const fs::path& pack, const fs::path& directory,
                               const PackLimits& limits) {
  initialise();
  auto file = open_file(pack);
  if (!file) return tl::unexpected<Error>(file.error());
  if (auto ok = check_header(file->get(), limits); !ok) return tl::unexpected<Error>(ok.error());

  git_indexer* raw = nullptr;
  // Without an object database a thin pack can't be completed: it is refused.
  if (git_indexer_new(&raw, directory.c_str(), 0, nullptr, nullptr) != 0)
    return failure(Errc::io, "index the pack");
  const Indexer indexer(raw);
  git_indexer_progress progress{};
  auto fed = for_each_piece(file->get(), [&](std::string_view bytes) -> Result<void> {
    if (git_indexer_append(raw, bytes.data(), bytes.size(), &progress) == 0) return {};
    return failure(Errc::corrupt, "the pack is damaged");
  });
  if (!fed) return tl::unexpected<Error>(fed.error());
  if (git_indexer_commit(raw, &progress) != 0)
    return failure(Errc::corrupt, "the pack is damaged or not self-contained");
  return IndexedPack{directory, std::string("pack-") + git_indexer_name(raw)};
}

Result<void> make_empty_repository(const fs::path& directory) {
  std::error_code error;
  for (const char* part : {"objects/pack", "refs"})
    if (fs::create_directories(directory / part, error); error)
      return fail(Errc::io, "the scratch directory: " + error.message());
  return write_file_durably(directory / "HEAD", "ref: refs/heads/none\n");
}

ProcessSpec git_over(const fs::path& repository, const std::string& objects,
                     const std::vector<std::string>& arguments) {
  ProcessSpec spec;
  spec.argv = git_command();
  spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
  spec.env = git_environment();
  spec.env["GIT_DIR"] = repository.string();
  spec.env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = quoted(objects);
  spec.directory = repository.string();
  return spec;
}

Result<void> fsck_with_git(const IndexedPack& pack, const std::string& objects) {
  const fs::path repository = pack.directory / "fsck.git";
  if (auto ok = make_empty_repository(repository); !ok) return ok;
  const std::string index = pack.file(".fsck.idx");
  ProcessSpec spec = git_over(
      repository, objects, {"index-pack", "--fsck-objects", "-o", index, pack.file(".pack")});
  spec.timeout = kFsckTimeout;
  auto done = run_checked(spec);
  std::error_code ignored;
  fs::remove(index, ignored);
  if (!done)
    return fail(Errc::corrupt,
                "git finds the pack unsound: " + clean_message(done.error().message));
  return {};
}

std::string installed_name(const IndexedPack& pack) {
  constexpr std::size_t kDigits = kPackNameLength - kInstalledPrefix.size();
  return std::string(kInstalledPrefix) + pack.name.substr(std::string_view("pack-").size(), kDigits);
}

bool installed_by_muster(std::string_view name) {
  return name.size() == kPackNameLength && name.starts_with(kInstalledPrefix);
}

Result<void> install_pack(const IndexedPack& pack, int pack_directory) {
  const DirectoryLock lock(pack_directory, LOCK_SH);
  const std::string name = installed_name(pack);
  if (freshen(name, pack_directory)) return {};
  for (const char* extension : {".pack", ".idx"})
    if (auto ok = install_file(pack.file(extension), pack_directory, name + extension); !ok)
      return ok;
  return sync(pack_directory, "objects/pack");
}

}  // namespace muster::actors::git
