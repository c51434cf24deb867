// Few packs instead of many: whose are gathered, whose are left, and that readers go on.
#include "actors/ports/git_gather.hpp"

#include <atomic>
#include <random>
#include <thread>

#include "actors/ports/git_local.hpp"
#include "actors/ports/git_names.hpp"
#include "git_fixture.hpp"
#include "killed.hpp"

using namespace muster;
using namespace muster::actors;
using namespace muster::actors::test;

namespace {

/// Each in a pack of its own; the commits.
std::vector<std::string> deliver(Project& project, int count, const std::string& prefix = "b") {
  std::vector<std::string> heads;
  const auto forge = make_git_forge(project.scratch());
  for (int i = 0; i < count; ++i) {
    const std::string name = prefix + std::to_string(i);
    test::git(project.work(), {"checkout", "-q", "-f", "-B", "main", "origin/main"});
    heads.push_back(project.change(name + "\n", "src/" + name + ".txt"));
    const auto pushed = forge->push(project.request(heads.back(), "muster/" + name));
    INFO(pushed.message);
    REQUIRE(pushed.outcome == PushOutcome::pushed);
  }
  return heads;
}

Result<std::size_t> gather(const Project& project) {
  const auto local = actors::git::LocalRepository::open(project.bare().string()).value();
  const auto packs = local.pack_directory();
  REQUIRE(packs);
  return actors::git::gather_packs(local.objects_path(), packs->get(), project.scratch());
}

fs::path packs_of(const Project& project) {
  return project.bare() / "objects/pack";
}

/// Names of the packs, without what follows them.
std::vector<std::string> packs(const Project& project, bool ours) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(packs_of(project)))
    if (entry.path().extension() == ".pack" &&
        actors::git::installed_by_muster(entry.path().stem().string()) == ours)
      names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// By a git that has seen nothing of it before.
void check_sound(const Project& project, const std::vector<std::string>& heads) {
  test::git(project.bare(), {"fsck", "--full", "--strict"});
  for (const std::string& head : heads)
    test::git(project.bare(), {"rev-list", "--objects", "--quiet", head});
}

}  // namespace

TEST_CASE("the smallest packs become one until each is larger than all smaller ones") {
  using actors::git::packs_to_gather;
  using Sizes = std::vector<std::uint64_t>;
  CHECK(packs_to_gather({}) == 0);
  CHECK(packs_to_gather(Sizes(7, 5)) == 0);
  CHECK(packs_to_gather(Sizes(8, 5)) == 8);
  CHECK(packs_to_gather({1, 2, 4, 8, 16, 32, 64, 128, 256, 512}) == 0);
  CHECK(packs_to_gather({1, 1, 1, 1, 1, 1, 1, 1, 9, 100}) == 8);
  CHECK(packs_to_gather({1, 1, 1, 1, 1, 1, 1, 1, 8, 100}) == 9);
  Sizes large(8, 1);
  large.insert(large.end(), 3, actors::git::kMaxGatheredBytes);
  CHECK(packs_to_gather(large) == 8);

  // 1,000 of one size, as they come: few are left, and each byte was written anew a few times.
  Sizes now;
  std::uint64_t written = 0;
  for (int i = 0; i < 1000; ++i) {
    now.push_back(1);
    std::sort(now.begin(), now.end());
    const auto count = static_cast<std::ptrdiff_t>(packs_to_gather(now));
    std::uint64_t sum = 0;
    for (auto at = now.begin(); at != now.begin() + count; ++at) sum += *at;
    now.erase(now.begin(), now.begin() + count);
    if (sum > 0) now.push_back(sum);
    written += sum;
    REQUIRE(now.size() <= 7 + 10);
  }
  CHECK(written < 8'000);
}

TEST_CASE("what Muster installed becomes one pack, and nothing of anybody else's goes") {
  Project project;
  test::git(project.bare(), {"repack", "-a", "-d", "-q"});
  const auto theirs = packs(project, false);
  REQUIRE(theirs.size() == 1);
  const auto heads = deliver(project, 12);
  REQUIRE(packs(project, true).size() == 12);

  SECTION("all of it") {
    CHECK(gather(project).value() == 12);
    CHECK(packs(project, true).size() == 1);
    CHECK(gather(project).value() == 0);
    // Those of later have no part in it until they are as many.
    const auto more = deliver(project, 7, "c");
    CHECK(gather(project).value() == 0);
    CHECK(packs(project, true).size() == 8);
    check_sound(project, more);
  }
  SECTION("but what somebody keeps") {
    const std::string kept = packs(project, true).front();
    write(packs_of(project) / (kept + ".keep"), "mine\n");
    CHECK(gather(project).value() == 11);
    const auto left = packs(project, true);
    CHECK(left.size() == 2);
    CHECK(std::count(left.begin(), left.end(), kept) == 1);
  }
  SECTION("not where somebody wrote a multi-pack-index") {
    test::git(project.bare(), {"multi-pack-index", "write"});
    CHECK(gather(project).value() == 0);
    CHECK(packs(project, true).size() == 12);
  }
  SECTION("not what git removes meanwhile") {
    test::git(project.bare(), {"gc", "-q"});
    CHECK(gather(project).value() == 0);
    return check_sound(project, heads);  // By git itself theirs went, too.
  }
  SECTION("what a death left is removed with it, and its objects are not missed") {
    const auto before = packs(project, true);
    const fs::path at = packs_of(project);
    fs::copy_file(at / (before[0] + ".pack"), at / "pack-6d75737465720000000000000000000000000000.pack");
    fs::copy_file(at / (before[0] + ".idx"), at / "pack-6d75737465721111111111111111111111111111.idx");
    CHECK(gather(project).value() == 12);
    CHECK(packs(project, true).size() == 1);
    CHECK_FALSE(fs::exists(at / "pack-6d75737465721111111111111111111111111111.idx"));
  }
  SECTION("a pack that holds all of the others is what is left of them") {
    const fs::path at = packs_of(project), aside = project.directory() / "aside";
    fs::copy(at, aside);
    REQUIRE(gather(project).value() == 12);
    fs::copy(aside, at, fs::copy_options::recursive | fs::copy_options::skip_existing);
    CHECK(gather(project).value() >= 12);
    CHECK(packs(project, true).size() == 1);
  }
  for (const std::string& name : theirs) CHECK(fs::exists(packs_of(project) / (name + ".pack")));
  CHECK(fs::is_empty(project.scratch()));
  check_sound(project, heads);
}

TEST_CASE("who has the old packs open goes on") {
  Project project;
  const auto heads = deliver(project, 12);
  const auto odb = actors::git::open_objects((project.bare() / "objects").string()).value();
  const auto has = [&](const std::string& head) {
    const git_oid id = actors::git::parse_id(head);
    git_odb_object* raw = nullptr;
    if (git_odb_read(&raw, odb.get(), &id) != 0) return false;
    git_odb_object_free(raw);
    return true;
  };
  CHECK(has(heads[0]));
  REQUIRE(gather(project).value() == 12);
  for (const std::string& head : heads) CHECK(has(head));
}

TEST_CASE("git reads the repository while packs come and are gathered") {
  Project project;
  const std::string main = project.main();
  std::atomic<bool> over{false};
  std::atomic<int> failures{0};
  std::thread reader([&] {
    do {
      ProcessSpec spec;
      spec.argv = git_command();
      spec.argv.insert(spec.argv.end(), {"rev-list", "--objects", "--all"});
      spec.env = git_environment();
      spec.directory = project.bare().string();
      const auto done = run_process(spec);
      if (!done || !done->ok()) ++failures;
    } while (!over);
  });
  std::vector<std::string> heads;
  for (int round = 0; round < 4; ++round) {
    const auto more = deliver(project, 8, "r" + std::to_string(round) + "-");
    heads.insert(heads.end(), more.begin(), more.end());
    CHECK(gather(project).value() >= 8);
  }
  over = true;
  reader.join();
  CHECK(failures == 0);
  CHECK(packs(project, true).size() <= 4);
  check_sound(project, heads);
}

TEST_CASE("packs whose gathering is killed at a random moment are all there, and are gathered by the next") {
  Project project;
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto heads = deliver(project, 9);
  const fs::path at = packs_of(project), aside = project.directory() / "aside";
  fs::copy(at, aside);
  auto moment = moments_of([&] { REQUIRE(gather(project)); });
  for (int round = 0; round < 25; ++round) {
    for (const auto& entry : fs::directory_iterator(at)) fs::remove(entry.path());
    fs::copy(aside, at);
    killed_after(std::chrono::microseconds(moment(random)), [&] { (void)gather(project); });
    check_sound(project, heads);
    // The one that holds all; with seven that the death left, and half an eighth, when that was just too few.
    REQUIRE(gather(project));
    CHECK(packs(project, true).size() <= actors::git::kFewestGathered + 1);
    check_sound(project, heads);
  }
}
