// Death at any point of a delivery: the next try finds its way, and nothing half-done shows.
#include <random>

#include "git_fixture.hpp"
#include "killed.hpp"

using namespace muster;
using namespace muster::actors;
using namespace muster::actors::test;

namespace {

/// No lock, no temporary file, nothing unsound.
void check_clean(Project& project) {
  for (const auto& entry : fs::recursive_directory_iterator(project.bare() / "refs")) {
    INFO(entry.path());
    CHECK_FALSE(entry.path().string().ends_with(".lock"));
  }
  git(project.bare(), {"fsck", "--strict"});
}

}  // namespace

TEST_CASE("a push killed at a random moment is repeated to its end") {
  Project project;
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto first = project.request(project.change(), "first");
  auto moment = moments_of([&] { make_git_forge(project.scratch())->push(first); });
  int found = 0;
  for (int round = 0; round < 25; ++round) {
    const std::string branch = "muster/" + std::to_string(round);
    auto request = project.request(project.change("round " + std::to_string(round) + "\n"), branch);
    request.replace = round % 2 == 0;
    if (request.replace) git(project.bare(), {"branch", branch, "main"});
    const std::string before = project.branch(branch);
    killed_after(std::chrono::microseconds(moment(random)),
                 [&] { make_git_forge(project.scratch())->push(request); });

    const std::string after = project.branch(branch);
    CHECK((after == before || after == request.head_sha));
    const auto forge = make_git_forge(project.scratch());
    const auto result = forge->push(request);
    INFO(result.message);
    CHECK((result.outcome == PushOutcome::pushed || result.outcome == PushOutcome::already_there));
    CHECK((result.outcome == PushOutcome::already_there) == (after == request.head_sha));
    found += result.outcome == PushOutcome::already_there ? 1 : 0;
    CHECK(project.branch(branch) == request.head_sha);
    CHECK(fs::is_empty(project.scratch()));
  }
  check_clean(project);
  WARN(found << " of 25 pushes were done when they were killed");
}

TEST_CASE("a merge killed at a random moment is made once") {
  Project project;
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto first = project.request(project.change(), "first");
  auto moment = moments_of([&] { make_git_forge(project.scratch())->push(first); });
  for (int round = 0; round < 10; ++round) {
    const std::string branch = "muster/" + std::to_string(round);
    git(project.work(), {"fetch", "-q", "origin"});
    git(project.work(), {"checkout", "-q", "-f", "-B", "main", "origin/main"});
    const auto push =
        project.request(project.change("x\n", "file" + std::to_string(round)), branch);
    REQUIRE(make_git_forge(project.scratch())->push(push).outcome == PushOutcome::pushed);
    const MergeRequest request{
        project.bare().string(), branch, "main", push.head_sha, "Merge", "M", "m@x", 1};
    killed_after(std::chrono::microseconds(moment(random)),
                 [&] { make_git_forge(project.scratch())->merge(request); });
    const auto result = make_git_forge(project.scratch())->merge(request);
    INFO(result.message);
    CHECK(
        (result.outcome == MergeOutcome::merged || result.outcome == MergeOutcome::already_merged));
    CHECK(result.commit == project.main());
    CHECK(git(project.bare(), {"rev-list", "--count", "--merges", "main"}) ==
          std::to_string(round + 1));
  }
  check_clean(project);
}

TEST_CASE("what a dead pusher left is cleared: its lock, its lock after the rename, its scratch") {
  Project project;
  const auto request = project.request(project.change());
  const fs::path directory = project.bare() / "refs/heads/muster";
  fs::create_directories(directory);
  SECTION("between lock and rename") {
    write(directory / ".x.muster.lock", request.head_sha + "\n");
    fs::create_hard_link(directory / ".x.muster.lock", directory / "x.lock");
  }
  SECTION("before the lock was linked") {
    write(directory / ".x.muster.lock", "");
  }
  SECTION("after the rename") {
    write(directory / "x", project.main() + "\n");
    fs::create_hard_link(directory / "x", directory / ".x.muster.lock");
  }
  SECTION("in scratch") {
    write(project.scratch() / "work-abcdef/pack.tmp", "x");
  }
  auto again = request;
  again.replace = true;
  const auto result = make_git_forge(project.scratch())->push(again);
  INFO(result.message);
  CHECK(result.outcome == PushOutcome::pushed);
  CHECK(project.branch("muster/x") == request.head_sha);
  CHECK(fs::is_empty(project.scratch()));
  check_clean(project);
}
