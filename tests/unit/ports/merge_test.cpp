// Merges, patches and the end of branches, in a repository on this machine.
#include "git_fixture.hpp"

using namespace muster;
using namespace muster::actors;
using namespace muster::actors::test;

namespace {

MergeRequest merge_of(Project& project, const std::string& head,
                      const std::string& message = "Merge it") {
  return {project.bare().string(),
          "muster/x",
          "main",
          head,
          message,
          "Alice",
          "alice@x",
          1700000000000};
}

/// A commit on main of the target that the work tree's main does not have.
std::string move_base(Project& project, const std::string& file, const std::string& text) {
  git(project.work(), {"checkout", "-q", "-f", "-B", "elsewhere", project.main()});
  write(project.work() / file, text);
  const std::string commit = project.commit("Elsewhere");
  git(project.work(), {"push", "-q", "origin", "elsewhere:main"});
  return commit;
}

}  // namespace

TEST_CASE("a merge commit has both parents, the author and the date; a repeat finds it") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  const auto request = project.request(project.change());
  REQUIRE(forge->push(request).outcome == PushOutcome::pushed);
  const std::string base = move_base(project, "other.txt", "other\n");

  const auto merged = forge->merge(merge_of(project, request.head_sha));
  INFO(merged.message);
  REQUIRE(merged.outcome == MergeOutcome::merged);
  CHECK(project.main() == merged.commit);
  CHECK(git(project.bare(), {"log", "-1", "--format=%P|%an|%ae|%at|%s", "main"}) ==
        base + " " + request.head_sha + "|Alice|alice@x|1700000000|Merge it");
  CHECK(git(project.bare(), {"show", "main:src/greet.txt"}) == "changed");
  CHECK(git(project.bare(), {"show", "main:other.txt"}) == "other");
  git(project.bare(), {"fsck", "--strict"});

  CHECK(forge->delete_branch(project.bare().string(), "muster/x", request.head_sha));
  const auto again = forge->merge(merge_of(project, request.head_sha));
  CHECK(again.outcome == MergeOutcome::already_merged);
  CHECK(again.commit == merged.commit);
}

TEST_CASE("changes to one file on both sides are merged in memory") {
  Project project;
  std::string text;
  for (int i = 0; i < 50; ++i) text += "line " + std::to_string(i) + "\n";
  git(project.work(), {"checkout", "-q", "main"});
  write(project.work() / "long.txt", text);
  project.commit("Long");
  git(project.work(), {"push", "-q", "origin", "main"});
  const auto forge = make_git_forge(project.scratch());
  const auto request = project.request(project.change("first\n" + text, "long.txt"));
  REQUIRE(forge->push(request).outcome == PushOutcome::pushed);
  move_base(project, "long.txt", text + "last\n");
  REQUIRE(forge->merge(merge_of(project, request.head_sha)).outcome == MergeOutcome::merged);
  CHECK(git(project.bare(), {"show", "main:long.txt"}) == "first\n" + text + "last");
  git(project.bare(), {"fsck", "--strict"});
}

TEST_CASE("conflicts name the files and change nothing") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  const auto request = project.request(project.change("one\n"));
  REQUIRE(forge->push(request).outcome == PushOutcome::pushed);
  move_base(project, "src/greet.txt", "two\n");
  const std::string before = project.refs();
  const auto result = forge->merge(merge_of(project, request.head_sha));
  CHECK(result.outcome == MergeOutcome::conflict);
  CHECK(result.message.find("src/greet.txt") != std::string::npos);
  CHECK(project.refs() == before);
}

TEST_CASE("without a message a merge is a fast-forward or nothing") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  const auto request = project.request(project.change());
  REQUIRE(forge->push(request).outcome == PushOutcome::pushed);
  SECTION("forward") {
    CHECK(forge->merge(merge_of(project, request.head_sha, "")).outcome == MergeOutcome::merged);
    CHECK(project.main() == request.head_sha);
  }
  SECTION("the base moved on") {
    const std::string base = move_base(project, "other.txt", "other\n");
    CHECK(forge->merge(merge_of(project, request.head_sha, "")).outcome == MergeOutcome::conflict);
    CHECK(project.main() == base);
  }
}

TEST_CASE(
    "a merge wants the branch where the pull request left it, and a base that nobody has checked "
    "out") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  const auto first = project.request(project.change("one\n"));
  REQUIRE(forge->push(first).outcome == PushOutcome::pushed);
  const std::string second = project.change("two\n");
  git(project.work(), {"push", "-q", "-f", "origin", second + ":refs/heads/muster/x"});
  const auto moved = forge->merge(merge_of(project, first.head_sha));
  CHECK(moved.outcome == MergeOutcome::head_moved);
  CHECK(moved.message.find(second) != std::string::npos);

  git(project.work(), {"checkout", "-q", "-f", "main"});
  git(project.work(), {"branch", "-f", "muster/x", second});
  git(project.work(), {"reset", "-q", "--hard", "main~1"});
  const std::string before = git(project.work(), {"rev-parse", "main"});
  auto request = merge_of(project, second);
  request.url = project.work().string();
  request.base_branch = "";
  CHECK(forge->merge(request).outcome == MergeOutcome::checked_out);
  CHECK(git(project.work(), {"rev-parse", "main"}) == before);

  git(project.bare(), {"worktree", "add", "-q", (project.directory() / "linked").string(), "main"});
  CHECK(forge->merge(merge_of(project, second)).outcome == MergeOutcome::checked_out);
}

TEST_CASE("a branch is deleted only where it was left, loose or packed") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  const std::string url = project.bare().string();
  const auto request = project.request(project.change());
  REQUIRE(forge->push(request).outcome == PushOutcome::pushed);
  git(project.bare(), {"tag", "-a", "-m", "x", "v1", "main"});
  const bool packed = GENERATE(false, true);
  if (packed) git(project.bare(), {"pack-refs", "--all"});

  CHECK(forge->delete_branch(url, "muster/x", project.main()).error().code == Errc::conflict);
  CHECK(project.branch("muster/x") == request.head_sha);
  CHECK(forge->delete_branch(url, "muster/x", request.head_sha));
  CHECK(project.branch("muster/x").empty());
  CHECK(forge->delete_branch(url, "muster/x", request.head_sha));  // Again: it is gone.
  CHECK_FALSE(forge->delete_branch(url, "../../HEAD", request.head_sha));
  CHECK(git(project.bare(), {"rev-parse", "v1^{commit}"}) == project.main());
  git(project.bare(), {"fsck"});
  CHECK(git(project.work(), {"ls-remote", "--heads", "origin"}).find("muster") ==
        std::string::npos);
}

TEST_CASE("a patch is git's own, and cut where the limit is") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  git(project.work(), {"checkout", "-q", "main"});
  fs::rename(project.work() / "docs/0.md", project.work() / "docs/first.md");
  write(project.work() / "src/greet.txt", "changed\nno newline at the end");
  write(project.work() / "binary", std::string("\0\1\2", 3));
  write(project.work() / ".gitattributes", "*.txt diff=evil -text\n");
  const std::string head = project.commit("Several");
  const auto request = project.request(head);
  const std::string wanted =
      git(project.work(), {"diff", "--no-color", request.base_sha + "..." + head}) + "\n";

  CHECK(diff_pack(project.scratch(), request, 1u << 20).value() == wanted);
  CHECK(project.branch("muster/x").empty());
  REQUIRE(forge->push(request).outcome == PushOutcome::pushed);
  CHECK(forge->diff(request.url, request.base_sha, head, 1u << 20).value() == wanted);

  move_base(project, "other.txt", "other\n");  // Three dots: the base's own changes don't show.
  CHECK(forge->diff(request.url, project.main(), head, 1u << 20).value() == wanted);

  const std::string cut = forge->diff(request.url, request.base_sha, head, 200).value();
  CHECK(cut.size() < 300);
  CHECK(cut.find("cut here") != std::string::npos);
  CHECK(wanted.starts_with(cut.substr(0, cut.find("\n[cut here"))));
  CHECK_FALSE(forge->diff(request.url, std::string(40, 'a'), head, 200));
}
