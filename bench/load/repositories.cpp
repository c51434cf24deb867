#include "bench/load/repositories.hpp"

#include "bench/load/fleets.hpp"
#include "storage/base/process.hpp"

namespace muster::load {

namespace fs = std::filesystem;

namespace {

class Git {
 public:
  explicit Git(fs::path directory) : directory_(std::move(directory)) {}

  Result<std::string> run(std::vector<std::string> words, std::string input = "") const {
    ProcessSpec spec;
    spec.argv = git_command();
    spec.argv.insert(spec.argv.end(), words.begin(), words.end());
    spec.env = git_environment();
    for (const char* who : {"AUTHOR", "COMMITTER"}) {
      spec.env[std::string("GIT_") + who + "_NAME"] = "muster-load";
      spec.env[std::string("GIT_") + who + "_EMAIL"] = "muster-load@localhost";
      spec.env[std::string("GIT_") + who + "_DATE"] = "1700000000 +0000";
    }
    spec.directory = directory_.string();
    spec.input = std::move(input);
    auto out = run_checked(spec);
    if (out)
      while (out->ends_with('\n')) out->pop_back();
    return out;
  }

 private:
  fs::path directory_;
};

/// A repository with main at a first commit.
Result<CommitFacts> make_first(const fs::path& directory) {
  const Git git(directory);
  if (auto made =
          git.run({"init", "--quiet", "--bare", "--template=", "--initial-branch=main", "."});
      !made)
    return tl::unexpected<Error>(made.error());
  const auto blob = git.run({"hash-object", "-w", "--stdin"}, "before\n");
  if (!blob) return tl::unexpected<Error>(blob.error());
  const auto tree = git.run({"mktree"}, "100644 blob " + *blob + "\tREADME.md\n");
  if (!tree) return tl::unexpected<Error>(tree.error());
  const auto base = git.run({"commit-tree", *tree, "-m", "Begin"});
  if (!base) return tl::unexpected<Error>(base.error());
  if (auto set = git.run({"update-ref", "refs/heads/main", *base}); !set)
    return tl::unexpected<Error>(set.error());
  CommitFacts facts;
  facts.real = true;
  facts.base_sha = *base;
  facts.blob.content = "after\n";
  facts.tree = tree_of("README.md", facts.blob);
  return facts;
}

}  // namespace

Result<CommitFacts> make_repositories(const fs::path& directory, std::uint32_t fleets,
                                      std::uint32_t repositories) {
  const fs::path pattern = directory / "pattern";
  std::error_code error;
  fs::create_directories(pattern, error);
  if (error) return fail(Errc::io, pattern.string() + ": " + error.message());
  auto facts = make_first(pattern);
  if (!facts) return facts;
  for (std::uint32_t fleet = 1; fleet <= fleets; ++fleet) {
    for (std::uint32_t i = 1; i <= repositories; ++i) {
      const fs::path to = repository_url(directory.string(), fleet, i);
      fs::create_directories(to.parent_path(), error);
      fs::copy(pattern, to, fs::copy_options::recursive, error);
      if (error) return fail(Errc::io, to.string() + ": " + error.message());
    }
  }
  return facts;
}

CommitFacts invented_commit() {
  CommitFacts facts;
  facts.base_sha = std::string(40, 'b');
  return facts;
}

}  // namespace muster::load
