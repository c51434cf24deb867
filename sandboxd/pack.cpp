#include "sandboxd/pack.hpp"

#include <fcntl.h>
#include <git2.h>
#include <git2/sys/repository.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "storage/base/process.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr int kMaxChain = 10'000;  // commits of one attempt
constexpr git_off_t kMaxDiffedBlob = 4 << 20;
constexpr Duration kIndexTimeout{600'000};

/// Opens what is a regular file of at most `max_bytes`, and nothing that a link or mount would lead to.
Result<Fd> open_beneath(const fs::path& directory, const std::string& relative, std::uint64_t max_bytes) {
  const Fd top(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!top.valid()) return fail_errno("open " + directory.string(), errno);
  open_how how{};
  how.flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  Fd fd(static_cast<int>(::syscall(SYS_openat2, top.get(), relative.c_str(), &how, sizeof how)));
  if (!fd.valid()) {
    if (errno == ENOENT) return fail(Errc::not_found, "no file " + relative);
    if (errno == ELOOP || errno == EXDEV) return fail(Errc::invalid, relative + " is a link");
    return fail_errno("open " + relative, errno);
  }
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail_errno("stat " + relative, errno);
  if (!S_ISREG(info.st_mode)) return fail(Errc::invalid, relative + " is not a regular file");
  if (static_cast<std::uint64_t>(info.st_size) > max_bytes)
    return fail(Errc::invalid, relative + " is larger than " + std::to_string(max_bytes) + " bytes");
  return fd;
}

/// Calls `sink` with pieces until the end; Errc::invalid when it grows beyond `max_bytes` while it is read.
template <class Sink>
Result<void> read_bounded(int fd, std::uint64_t max_bytes, Sink sink) {
  static thread_local std::string buffer(128u << 10, '\0');
  std::uint64_t total = 0;
  while (true) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read", errno);
    if (n == 0) return {};
    total += static_cast<std::uint64_t>(n);
    if (total > max_bytes) return fail(Errc::invalid, "the file grew beyond its limit");
    if (Result<void> done = sink(std::string_view(buffer.data(), static_cast<std::size_t>(n))); !done)
      return done;
  }
}

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* thing) const {
    Free(thing);
  }
};
using Odb = std::unique_ptr<git_odb, Freer<git_odb_free>>;
using Repository = std::unique_ptr<git_repository, Freer<git_repository_free>>;
using Commit = std::unique_ptr<git_commit, Freer<git_commit_free>>;
using Tree = std::unique_ptr<git_tree, Freer<git_tree_free>>;
using Diff = std::unique_ptr<git_diff, Freer<git_diff_free>>;
using Stats = std::unique_ptr<git_diff_stats, Freer<git_diff_stats_free>>;

Error git_trouble(const std::string& what) {
  const git_error* last = git_error_last();
  return {Errc::corrupt, what + (last != nullptr ? std::string(": ") + last->message : "")};
}

std::string hex(const git_oid& id) {
  std::array<char, GIT_OID_HEXSZ + 1> text{};
  git_oid_tostr(text.data(), text.size(), &id);
  return text.data();
}

/// Reads commits and trees of the scratch directory and the mirror, without any repository's configuration.
class Reader {
 public:
  static Result<Reader> open(const fs::path& objects, const fs::path& mirror_objects) {
    git_odb* odb = nullptr;
    if (git_odb_open(&odb, objects.c_str()) != 0) return tl::unexpected(git_trouble("open the pack"));
    Reader reader;
    reader.odb_.reset(odb);
    if (git_odb_add_disk_alternate(odb, mirror_objects.c_str()) != 0)
      return tl::unexpected(git_trouble("open the mirror"));
    git_repository* repository = nullptr;
    if (git_repository_wrap_odb(&repository, odb) != 0)
      return tl::unexpected(git_trouble("read the pack"));
    reader.repository_.reset(repository);
    return reader;
  }

  Result<Commit> commit(const git_oid& id) const {
    git_commit* commit = nullptr;
    if (git_commit_lookup(&commit, repository_.get(), &id) != 0)
      return tl::unexpected(git_trouble("commit " + hex(id)));
    return Commit(commit);
  }

  Result<Tree> tree(const git_commit* commit) const {
    git_tree* tree = nullptr;
    if (git_commit_tree(&tree, commit) != 0) return tl::unexpected(git_trouble("its tree"));
    return Tree(tree);
  }

  Result<void> diff(git_tree* before, git_tree* after, CheckedPack& facts) const {
    git_diff_options options = GIT_DIFF_OPTIONS_INIT;
    options.max_size = kMaxDiffedBlob;  // larger ones count as binary
    options.context_lines = 0;
    git_diff* diff = nullptr;
    if (git_diff_tree_to_tree(&diff, repository_.get(), before, after, &options) != 0)
      return tl::unexpected(git_trouble("diff"));
    const Diff owned(diff);
    git_diff_stats* stats = nullptr;
    if (git_diff_get_stats(&stats, diff) != 0) return tl::unexpected(git_trouble("diff"));
    const Stats owned_stats(stats);
    facts.files = static_cast<std::uint32_t>(git_diff_stats_files_changed(stats));
    facts.insertions = static_cast<std::uint32_t>(git_diff_stats_insertions(stats));
    facts.deletions = static_cast<std::uint32_t>(git_diff_stats_deletions(stats));
    return {};
  }

 private:
  Odb odb_;
  Repository repository_;
};

/// The head's first parents lead to the base; one step unless `manual`.
Result<Commit> walk_to_base(const Reader& reader, const PackRequest& request) {
  git_oid id{}, base{};
  if (git_oid_fromstr(&id, request.head_sha.c_str()) != 0 ||
      git_oid_fromstr(&base, request.base_sha.c_str()) != 0)
    return fail(Errc::corrupt, "head or base is not a commit id");
  const int limit = request.manual ? kMaxChain : 1;
  for (int n = 0; n < limit; ++n) {
    auto commit = reader.commit(id);
    if (!commit) return commit;
    if (!request.manual && git_commit_parentcount(commit->get()) != 1)
      return fail(Errc::corrupt, "the commit has not exactly one parent");
    if (git_commit_parentcount(commit->get()) == 0)
      return fail(Errc::corrupt, "the commits don't descend from the base");
    id = *git_commit_parent_id(commit->get(), 0);
    if (git_oid_equal(&id, &base) == 1) return reader.commit(base);
  }
  return fail(Errc::corrupt, request.manual ? "more than 10000 commits lie between base and head"
                                            : "the commit's parent is not the base");
}

Result<void> index_pack(const PackRequest& request, const fs::path& pack) {
  ProcessSpec spec;
  spec.argv = git_command();
  for (const char* arg : {"-c", "core.fsync=none", "-c", "pack.threads=1", "index-pack", "--strict",
                          "--threads=1", pack.c_str()})
    spec.argv.push_back(arg);
  spec.env = git_environment();
  spec.env["GIT_DIR"] = request.git_dir.string();
  spec.env["GIT_OBJECT_DIRECTORY"] = (request.scratch / "objects").string();
  spec.env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = request.mirror_objects.string();
  spec.timeout = kIndexTimeout;
  if (auto done = run_checked(spec); !done)
    return fail(Errc::corrupt, "git refuses the pack: " + done.error().message);
  return {};
}

}  // namespace

Result<std::string> take_file(const fs::path& directory, const std::string& relative,
                              std::uint64_t max_bytes, const fs::path& target) {
  const auto from = open_beneath(directory, relative, max_bytes);
  if (!from) return tl::unexpected(from.error());
  const Fd to(::open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!to.valid()) return fail_errno("create " + target.string(), errno);
  const std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>> digest(EVP_MD_CTX_new());
  EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr);
  auto copied = read_bounded(from->get(), max_bytes, [&](std::string_view bytes) -> Result<void> {
    EVP_DigestUpdate(digest.get(), bytes.data(), bytes.size());
    if (::write(to.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      return fail_errno("write " + target.string(), errno);
    return {};
  });
  if (!copied) return fail(copied.error(), relative);
  std::array<unsigned char, 32> raw{};
  EVP_DigestFinal_ex(digest.get(), raw.data(), nullptr);
  return to_hex({reinterpret_cast<const char*>(raw.data()), raw.size()});
}

Result<std::string> take_text(const fs::path& directory, const std::string& relative,
                              std::uint64_t max_bytes) {
  const auto from = open_beneath(directory, relative, max_bytes);
  if (!from) return tl::unexpected(from.error());
  std::string text;
  auto copied = read_bounded(from->get(), max_bytes, [&](std::string_view bytes) -> Result<void> {
    text.append(bytes);
    return {};
  });
  if (!copied) return fail(copied.error(), relative);
  return text;
}

Result<CheckedPack> check_pack(const PackRequest& request) {
  const fs::path directory = request.scratch / "objects/pack";
  for (const fs::path& made : {request.scratch / "objects", directory})
    if (::mkdir(made.c_str(), 0700) != 0 && errno != EEXIST)
      return fail_errno("mkdir " + made.string(), errno);
  CheckedPack checked;
  checked.file = directory / "pack-muster.pack";
  auto digest = take_file(request.out, request.relative, request.max_bytes, checked.file);
  if (!digest) return tl::unexpected(digest.error());
  checked.digest = *digest;
  std::error_code error;
  checked.bytes = fs::file_size(checked.file, error);
  ::unlink((directory / "pack-muster.idx").c_str());  // of an earlier, interrupted check
  if (auto indexed = index_pack(request, checked.file); !indexed)
    return tl::unexpected(indexed.error());
  const auto reader = Reader::open(request.scratch / "objects", request.mirror_objects);
  if (!reader) return tl::unexpected(reader.error());
  const auto base = walk_to_base(*reader, request);
  if (!base) return tl::unexpected(base.error());
  git_oid head_id{};
  git_oid_fromstr(&head_id, request.head_sha.c_str());
  const auto head = reader->commit(head_id);
  if (!head) return tl::unexpected(head.error());
  const auto before = reader->tree(base->get()), after = reader->tree(head->get());
  if (!before) return tl::unexpected(before.error());
  if (!after) return tl::unexpected(after.error());
  checked.tree_sha = hex(*git_tree_id(after->get()));
  if (auto done = reader->diff(before->get(), after->get(), checked); !done)
    return tl::unexpected(done.error());
  return checked;
}

Result<fs::path> ensure_scratch_repository(const fs::path& directory) {
  for (const char* name : {"objects/info", "objects/pack", "refs/heads"})
    if (auto made = make_directory(directory / name); !made) return tl::unexpected(made.error());
  for (const auto& [name, text] :
       {std::pair{"config", "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"},
        {"HEAD", "ref: refs/heads/muster-none\n"}})
    if (auto done = write_file_durably(directory / name, text); !done)
      return tl::unexpected(done.error());
  return directory;
}

void start_libgit2() {
  git_libgit2_init();
  git_libgit2_opts(GIT_OPT_ENABLE_CACHING, 0);
  git_libgit2_opts(GIT_OPT_SET_MWINDOW_SIZE, static_cast<std::size_t>(1) << 20);
  git_libgit2_opts(GIT_OPT_SET_MWINDOW_MAPPED_LIMIT, static_cast<std::size_t>(16) << 20);
}

}  // namespace muster::sandbox
