#include "sandboxd/pack.hpp"

#include <git2.h>
#include <git2/sys/repository.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "sandboxd/hostile_file.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "storage/base/process.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr int kMaxChain = 10'000;  // commits of one attempt
constexpr git_off_t kMaxDiffedBlob = 4 << 20;
constexpr Duration kIndexTimeout{600'000};

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
class PackReader {
 public:
  static Result<PackReader> open(const fs::path& objects, const fs::path& mirror_objects) {
    git_odb* odb = nullptr;
    if (git_odb_open(&odb, objects.c_str()) != 0) return tl::unexpected(git_trouble("open the pack"));
    PackReader reader;
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
Result<Commit> walk_to_base(const PackReader& reader, const PackRequest& request) {
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
  const auto reader = PackReader::open(request.scratch / "objects", request.mirror_objects);
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
