#include "bench/load/repositories.hpp"

#include <fstream>

#include "bench/load/fleets.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
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

/// A commit that holds one file; `parent` may be empty.
Result<std::pair<std::string, std::string>> commit(const Git& git, const std::string& text,
                                                   const std::string& parent) {
  const auto blob = git.run({"hash-object", "-w", "--stdin"}, text);
  if (!blob) return tl::unexpected<Error>(blob.error());
  const auto tree = git.run({"mktree"}, "100644 blob " + *blob + "\tREADME.md\n");
  if (!tree) return tl::unexpected<Error>(tree.error());
  std::vector<std::string> words{"commit-tree", *tree, "-m", "A load test"};
  if (!parent.empty()) words.insert(words.end(), {"-p", parent});
  const auto made = git.run(words);
  if (!made) return tl::unexpected<Error>(made.error());
  return std::pair{*made, *tree};
}

Result<std::string> pack_of(const Git& git, const fs::path& directory, const CommitFacts& facts) {
  const std::string range = facts.head_sha + "\n^" + facts.base_sha + "\n";
  const auto name = git.run({"pack-objects", "--revs", "--quiet", "pack"}, range);
  if (!name) return name;
  return read_file(directory / ("pack-" + *name + ".pack"));
}

Result<CommitFacts> make_commits(const fs::path& directory) {
  const Git git(directory);
  if (auto made =
          git.run({"init", "--quiet", "--bare", "--template=", "--initial-branch=main", "."});
      !made)
    return tl::unexpected<Error>(made.error());
  const auto base = commit(git, "before\n", "");
  if (!base) return tl::unexpected<Error>(base.error());
  const auto head = commit(git, "after\n", base->first);
  if (!head) return tl::unexpected<Error>(head.error());
  CommitFacts facts{base->first, head->first, head->second, "", ""};
  auto pack = pack_of(git, directory, facts);
  if (!pack) return tl::unexpected<Error>(pack.error());
  facts.pack = std::move(*pack);
  facts.pack_digest = sha256_hex(facts.pack);
  return facts;
}

/// As the template, with main at the first commit and without what came after it.
Result<void> make_pattern(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to, error);
  if (error) return fail(Errc::io, to.string() + ": " + error.message());
  const Git git(to);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"init", "--quiet", "--bare",
                                 "--template=", "--initial-branch=main", "."},
        {"fetch", "--quiet", "--no-tags", from.string(), "refs/heads/base:refs/heads/main"}})
    if (auto done = git.run(words); !done) return tl::unexpected<Error>(done.error());
  return {};
}

}  // namespace

Result<CommitFacts> make_repositories(const fs::path& directory, std::uint32_t fleets,
                                      std::uint32_t repositories) {
  const fs::path commits = directory / "commits", pattern = directory / "pattern";
  std::error_code error;
  fs::create_directories(commits, error);
  if (error) return fail(Errc::io, commits.string() + ": " + error.message());
  auto facts = make_commits(commits);
  if (!facts) return facts;
  if (auto allowed = Git(commits).run({"update-ref", "refs/heads/base", facts->base_sha}); !allowed)
    return tl::unexpected<Error>(allowed.error());
  if (auto made = make_pattern(commits, pattern); !made) return tl::unexpected<Error>(made.error());
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
  return {std::string(40, 'b'), std::string(40, 'd'), std::string(40, 'e'), "", ""};
}

}  // namespace muster::load
