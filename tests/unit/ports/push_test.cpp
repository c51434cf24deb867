// Delivery into a repository that is a path on this machine.
#include <sys/stat.h>

#include <thread>

#include "git_fixture.hpp"

using namespace muster;
using namespace muster::actors;
using namespace muster::actors::test;

namespace {

/// Everything a repository could run or be told to do, each leaving `marker` behind.
void make_hostile(const fs::path& repository, const fs::path& marker) {
  const std::string script = "#!/bin/sh\ntouch " + marker.string() + "\nexit 1\n";
  for (const char* hook :
       {"pre-receive", "update", "post-receive", "post-update", "reference-transaction",
        "push-to-checkout", "proc-receive", "pre-auto-gc"}) {
    write(repository / "hooks" / hook, script);
    fs::permissions(repository / "hooks" / hook, fs::perms::owner_all);
  }
  fs::copy(repository / "hooks", repository / "other-hooks", fs::copy_options::recursive);
  const std::string run = (repository / "hooks/update").string();
  write(repository / "config",
        "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tfsmonitor = " + run +
            "\n\thooksPath = " + (repository / "other-hooks").string() + "\n\tsshCommand = " + run +
            "\n[receive]\n\tdenyCreates = true\n\tfsckObjects = false\n\tcertNonceSeed = x\n"
            "[uploadpack]\n\tpackObjectsHook = " +
            run +
            "\n[include]\n\tpath = /dev/zero\n[includeIf \"gitdir:/\"]\n\tpath = /dev/zero\n"
            "[gc]\n\tauto = 1\n[diff]\n\texternal = " +
            run + "\n[merge \"x\"]\n\tdriver = " + run + "\n");
}

}  // namespace

TEST_CASE("a pushed branch is the commit, and nothing else changed") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  const std::string head = project.change();
  const std::string before = project.refs();

  const auto result = forge->push(project.request(head));
  INFO(result.message);
  CHECK(result.outcome == PushOutcome::pushed);
  CHECK(project.branch("muster/x") == head);
  git(project.bare(), {"fsck", "--strict", "--full"});
  git(project.bare(), {"update-ref", "-d", "refs/heads/muster/x"});
  CHECK(project.refs() == before);
  CHECK(fs::is_empty(project.scratch()));
}

TEST_CASE("doing it again finds it there, even without the pack") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  auto request = project.request(project.change());
  CHECK(forge->push(request).outcome == PushOutcome::pushed);
  CHECK(forge->push(request).outcome == PushOutcome::already_there);
  fs::remove(request.pack);
  CHECK(forge->push(request).outcome == PushOutcome::already_there);

  git(project.bare(), {"pack-refs", "--all"});
  CHECK(forge->push(request).outcome == PushOutcome::already_there);
}

TEST_CASE("a branch with another head is left alone, or replaced when that is wanted") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  const bool packed = GENERATE(false, true);
  const std::string first = project.change("first\n");
  REQUIRE(forge->push(project.request(first)).outcome == PushOutcome::pushed);
  if (packed) git(project.bare(), {"pack-refs", "--all"});

  const std::string second = project.change("second\n");
  auto request = project.request(second);
  const auto refused = forge->push(request);
  CHECK(refused.outcome == PushOutcome::branch_exists);
  CHECK(refused.message.find(first) != std::string::npos);
  CHECK(project.branch("muster/x") == first);

  request.replace = true;
  CHECK(forge->push(request).outcome == PushOutcome::pushed);
  CHECK(project.branch("muster/x") == second);
}

TEST_CASE("a base branch is never pushed to, nor the one that HEAD names") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  git(project.bare(), {"branch", "release", "main"});
  const std::string before = project.main();
  auto request = project.request(project.change());
  request.replace = true;
  request.branch = "main";
  request.base_branch = GENERATE("", "main", "release");
  const auto refused = forge->push(request);
  CHECK(refused.outcome == PushOutcome::rejected);
  CHECK(refused.message.find("'main' is a base branch") == 0);
  CHECK(project.main() == before);
}

TEST_CASE("no hook runs and no configuration is obeyed") {
  Project project;
  const fs::path marker = project.directory() / "ran";
  const auto forge = make_git_forge(project.scratch());
  const auto request = project.request(project.change());
  make_hostile(project.bare(), marker);

  CHECK(forge->push(request).outcome == PushOutcome::pushed);
  MergeRequest merge{
      project.bare().string(), "muster/x", "main", request.head_sha, "Merge", "M", "m@x", 1};
  CHECK(forge->merge(merge).outcome == MergeOutcome::merged);
  CHECK(forge->diff(project.bare().string(), request.base_sha, request.head_sha, 1000).has_value());
  CHECK(forge->delete_branch(project.bare().string(), "muster/x", request.head_sha).has_value());
  CHECK_FALSE(fs::exists(marker));
}

TEST_CASE("two pushers of different heads: exactly one wins") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  for (int round = 0; round < 10; ++round) {
    const std::string branch = "muster/" + std::to_string(round);
    const auto one = project.request(project.change("one\n"), branch);
    const auto two = project.request(project.change("two\n"), branch);
    PushResult results[2];
    std::thread first([&] { results[0] = forge->push(one); });
    std::thread second([&] { results[1] = forge->push(two); });
    first.join();
    second.join();
    const bool first_won = results[0].outcome == PushOutcome::pushed;
    INFO(results[0].message << " | " << results[1].message);
    CHECK(results[first_won ? 0 : 1].outcome == PushOutcome::pushed);
    CHECK(results[first_won ? 1 : 0].outcome == PushOutcome::branch_exists);
    CHECK(project.branch(branch) == (first_won ? one : two).head_sha);
  }
}

TEST_CASE("two pushers of the same head both see it there") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  const auto request = project.request(project.change());
  std::vector<PushOutcome> outcomes(4);
  std::vector<std::thread> threads;
  for (auto& outcome : outcomes)
    threads.emplace_back([&, out = &outcome] { *out = forge->push(request).outcome; });
  for (auto& thread : threads) thread.join();
  CHECK(std::count(outcomes.begin(), outcomes.end(), PushOutcome::pushed) == 1);
  CHECK(std::count(outcomes.begin(), outcomes.end(), PushOutcome::already_there) == 3);
  git(project.bare(), {"fsck", "--strict"});
}

TEST_CASE("a base branch that moved on is no hindrance, one that was rewritten is") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  const std::string base = project.main();
  const std::string head = project.change();
  auto request = project.request(head);
  const bool packed = GENERATE(false, true);

  git(project.work(), {"checkout", "-q", "-f", "-B", "later", base});
  write(project.work() / "new.txt", "more\n");
  project.commit("Later");
  git(project.work(), {"push", "-q", "origin", "later:main"});
  if (packed) git(project.bare(), {"repack", "-adq"});
  CHECK(forge->push(request).outcome == PushOutcome::pushed);

  request.branch = "muster/y";
  git(project.bare(), {"update-ref", "refs/heads/main", base + "~1"});
  const auto rewritten = forge->push(request);
  CHECK(rewritten.outcome == PushOutcome::base_moved);
  CHECK(rewritten.message.find("rewritten") != std::string::npos);

  git(project.bare(), {"update-ref", "-d", "refs/heads/muster/x"});
  git(project.bare(), {"reflog", "expire", "--expire=now", "--all"});
  git(project.bare(), {"repack", "-adq"});
  git(project.bare(), {"prune", "--expire=now"});
  CHECK(forge->push(request).outcome == PushOutcome::base_moved);
  request.base_branch = "gone";
  CHECK(forge->push(request).outcome == PushOutcome::base_moved);
  CHECK(project.branch("muster/y").empty());
}

TEST_CASE("a checked-out branch is never touched") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  const std::string base = project.main();
  const std::string head = project.change();
  auto request = project.request(head, "topic");
  request.replace = true;
  git(project.work(), {"checkout", "-q", "-f", "-B", "topic", base});

  SECTION("in the work tree of the repository itself") {
    request.url = project.work().string();
    request.base_branch = "";
    const auto result = forge->push(request);
    CHECK(result.outcome == PushOutcome::rejected);
    CHECK(result.message.find("checked out") != std::string::npos);
    request.branch = "muster/x";
    CHECK(forge->push(request).outcome == PushOutcome::pushed);
    CHECK(git(project.work(), {"rev-parse", "muster/x"}) == head);
    CHECK(git(project.work(), {"status", "--porcelain"}).empty());
  }
  SECTION("in a linked work tree of a bare repository") {
    git(project.bare(), {"branch", "topic", base});
    git(project.bare(),
        {"worktree", "add", "-q", (project.directory() / "linked").string(), "topic"});
    CHECK(forge->push(request).outcome == PushOutcome::rejected);
    CHECK(project.branch("topic") == base);
    request.url = (project.directory() / "linked").string();  // Its .git is a file.
    CHECK(forge->push(request).outcome == PushOutcome::rejected);
    request.branch = "muster/x";
    CHECK(forge->push(request).outcome == PushOutcome::pushed);
    CHECK(project.branch("muster/x") == head);
  }
}

TEST_CASE("branches that git can't keep side by side are rejected with a word why") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  const bool packed = GENERATE(false, true);
  const auto pack = [&] {
    if (packed) git(project.bare(), {"pack-refs", "--all"});
  };
  const std::string head = project.change();

  git(project.bare(), {"branch", "muster", "main"});
  pack();
  auto result = forge->push(project.request(head, "muster/x"));
  CHECK(result.outcome == PushOutcome::rejected);
  CHECK(result.message.find("'muster' exists") != std::string::npos);

  git(project.bare(), {"branch", "team/x/y", "main"});
  pack();
  result = forge->push(project.request(head, "team/x"));
  CHECK(result.outcome == PushOutcome::rejected);
  CHECK(result.message.find("team/x/") != std::string::npos);

  git(project.bare(), {"update-ref", "-d", "refs/heads/team/x/y"});
  fs::create_directories(project.bare() /
                         "refs/heads/team/x/y");  // Empty directories are no branches.
  CHECK(forge->push(project.request(head, "team/x")).outcome == PushOutcome::pushed);
  CHECK(project.branch("team/x") == head);
}

TEST_CASE("hostile names never reach the repository") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  auto request = project.request(project.change());
  for (const char* name :
       {"../../config", "-x", "a..b", "x.lock", "a/../b", "", "a\nb", ".hidden"}) {
    request.branch = name;
    CHECK(forge->push(request).outcome == PushOutcome::rejected);
  }
  request.branch = "muster/x";
  for (const char* url :
       {"ext::sh -c 'touch /tmp/x'", "--upload-pack=x", "relative", "/nonexistent"}) {
    request.url = url;
    const auto outcome = forge->push(request).outcome;
    CHECK((outcome == PushOutcome::rejected || outcome == PushOutcome::failed));
  }
  CHECK_FALSE(fs::exists(project.scratch()));
}

TEST_CASE("symbolic links in a repository are not followed for writing") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  const auto request = project.request(project.change());
  const fs::path outside = project.directory() / "outside";
  fs::create_directories(outside);
  SECTION("where refs are") {
    fs::create_symlink(outside, project.bare() / "refs/heads/muster");
  }
  SECTION("where packs are") {
    fs::remove_all(project.bare() / "objects/pack");
    fs::create_symlink(outside, project.bare() / "objects/pack");
  }
  SECTION("the branch itself") {
    fs::create_directories(project.bare() / "refs/heads/muster");
    fs::create_symlink(outside / "file", project.bare() / "refs/heads/muster/x");
  }
  const auto result = forge->push(request);
  INFO(result.message);
  CHECK((result.outcome == PushOutcome::rejected || result.outcome == PushOutcome::failed));
  CHECK(fs::is_empty(outside));
}

TEST_CASE("what is written looks like the repository's own files") {
  Project project("shared", {"--shared=group"});
  const auto forge = make_git_forge(project.scratch());
  if (geteuid() == 0)
    for (const auto& entry : fs::recursive_directory_iterator(project.bare()))
      REQUIRE(lchown(entry.path().c_str(), 12345, 23456) == 0);
  umask(0077);
  const auto result = forge->push(project.request(project.change()));
  umask(0022);
  REQUIRE(result.outcome == PushOutcome::pushed);
  struct stat ref {
  }, directory{}, pack{};
  REQUIRE(stat((project.bare() / "refs/heads/muster/x").c_str(), &ref) == 0);
  REQUIRE(stat((project.bare() / "refs/heads/muster").c_str(), &directory) == 0);
  for (const auto& entry : fs::directory_iterator(project.bare() / "objects/pack")) {
    REQUIRE(stat(entry.path().c_str(), &pack) == 0);
    CHECK((pack.st_mode & 0777) == 0444);
    if (geteuid() == 0) CHECK(pack.st_uid == 12345);
  }
  CHECK((ref.st_mode & 0777) == 0664);
  CHECK((directory.st_mode & 02777) == 02775);
  if (geteuid() == 0) {
    CHECK(ref.st_uid == 12345);
    CHECK(ref.st_gid == 23456);
    CHECK(directory.st_uid == 12345);
  }
}

TEST_CASE("a repository that borrows its objects takes a delivery") {
  Project project;
  const fs::path fork = project.directory() / "fork.git";
  git(project.directory().path(),
      {"clone", "-q", "--bare", "--shared", project.bare().string(), fork.string()});
  const auto forge = make_git_forge(project.scratch());
  auto request = project.request(project.change());
  request.url = fork.string();
  const auto result = forge->push(request);
  INFO(result.message);
  CHECK(result.outcome == PushOutcome::pushed);
  CHECK(git(fork, {"rev-parse", "muster/x"}) == request.head_sha);
  git(fork, {"fsck", "--strict"});
  CHECK(project.branch("muster/x").empty());
}

TEST_CASE("SHA-256 repositories and unknown extensions are refused by name") {
  Directory directory;
  const fs::path target = directory / "new.git";
  git(directory.path(), {"init", "-q", "--bare", "--object-format=sha256", target.string()});
  Project project;
  auto request = project.request(project.change());
  request.url = target.string();
  const auto forge = make_git_forge(project.scratch());
  const auto result = forge->push(request);
  CHECK(result.outcome == PushOutcome::rejected);
  CHECK(result.message.find("SHA-256") != std::string::npos);

  request.url = project.bare().string();
  write(project.bare() / "config",
        "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\trefStorage = "
        "reftable\n");
  CHECK(forge->push(request).message.find("refstorage") != std::string::npos);
}

TEST_CASE("an old lock of git is respected, and named") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  const auto request = project.request(project.change());
  write(project.bare() / "refs/heads/muster/x.lock", "");
  const auto result = forge->push(request);
  CHECK(result.outcome == PushOutcome::failed);
  CHECK(result.message.find("x.lock") != std::string::npos);
  fs::remove(project.bare() / "refs/heads/muster/x.lock");
  CHECK(forge->push(request).outcome == PushOutcome::pushed);
  CHECK(git(project.bare(), {"for-each-ref", "--format=%(refname)"}) ==
        "refs/heads/main\nrefs/heads/muster/x");
}
