// Disks with an end that the kernel knows, and a host whose own disk runs low.
#include <sys/statvfs.h>

#include "sandboxd/caches.hpp"
#include "sandboxd/project_quota.hpp"
#include "tests/integration/sandbox_daemon.hpp"

namespace muster::sandbox::test {

namespace {

/// Loop devices whose file lies below `root`.
std::string loops_below(const fs::path& root) {
  return shell("grep -ls '^" + root.string() + "/' /sys/block/loop*/loop/backing_file || true");
}

/// By project quotas where the file system has them (the host of quota_host_test.py), else by loop devices; nothing: neither.
std::optional<DiskLimit> limit_here(const fs::path& root) {
  if (check_projects(root)) return DiskLimit::project;
  const auto can = try_disk(root);
  if (can) return DiskLimit::loop;
  WARN("skipped: this machine has neither project quotas nor loop devices: " + can.error().message);
  return std::nullopt;
}

/// A file system below `attempts` whose device has no room for what is written to it: a write succeeds, its sync does not.
class FullDevice {
 public:
  FullDevice(fs::path below, fs::path attempts) : below_(std::move(below)), attempts_(std::move(attempts)) {
    const std::string to = below_.string();
    shell("mkdir " + to + " && mount -t tmpfs -o size=16m full " + to + " && cd " + to + " && truncate -s 64M image && "
          "mkfs.ext4 -q -b 1024 image && mount -o loop image " + attempts_.string() + " && ! head -c 100M /dev/zero > filler", "/");
  }
  ~FullDevice() { (void)std::system(("umount -l " + attempts_.string() + "; umount -l " + below_.string()).c_str()); }
  FullDevice(const FullDevice&) = delete;
  FullDevice& operator=(const FullDevice&) = delete;

 private:
  fs::path below_, attempts_;
};

}  // namespace

TEST_CASE("a sandbox with a disk of its own fills that and nothing else, and is reported as disk_full") {
  Sandboxes sandboxes;
  auto config = sandboxes.config();
  const auto limit = limit_here(sandboxes.root());
  if (!limit) return;
  config.disk_limit = *limit;
  sandboxes.open(config);
  std::string fill, expected = "step_failed agent=1/disk_full";
  SECTION("with one file") { fill = "head -c 100M /dev/zero > big; exit 1"; }
  SECTION("with many") {
    fill = "for i in $(seq 100); do head -c 1M /dev/zero > f$i || exit 1; done";
  }
  SECTION("with files of no size") {
    fill = "cd /tmp; for i in {0..199}; do seq ${i}000 ${i}999 | xargs touch 2>/dev/null || exit 1; done";
  }
  SECTION("in HOME, /tmp and the output together") {
    fill = "for d in $HOME /tmp $MUSTER_OUTPUT; do head -c 30M /dev/zero > $d/x; done";
  }
  SECTION("what fits is fine, and leaves nothing behind") {
    fill = "head -c 10M /dev/zero > ignored.log; df -B1 --output=size . | tail -1; echo x > x";
    expected = "changed agent=0";
  }
  auto spec = sandboxes.spec(fill);
  spec.disk_bytes = 64u << 20;
  const auto report = sandboxes.run(spec);
  INFO(sandboxes.log);
  INFO(report.message);
  CHECK(brief(report) == expected);
  sandboxes.require_gone("0123456789ABC-1");
  CHECK(loops_below(sandboxes.root()).empty());
  CHECK_FALSE(fs::exists(Places(sandboxes.host().config.paths, "0123456789ABC-1").disk()));
}

TEST_CASE("a sandbox with a disk of its own is adopted, and a crash leaves neither mount nor loop device") {
  const auto limit = limit_here("/tmp");
  if (!limit) return;
  World world(*limit == DiskLimit::loop ? "disk_limit: loop\n" : "disk_limit: project\n");
  world.engine.start(world.sandboxes.spec(std::string(kPause) + "echo x > new.txt"));
  world.wait_file(world.output(kId) / "here");
  CHECK(loops_below(world.sandboxes.root()).empty() == (*limit != DiskLimit::loop));
  world.daemon->kill_and_restart();
  world.touch(world.output(kId) / "go");
  CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  world.wait_forgotten(kId);
  CHECK(loops_below(world.sandboxes.root()).empty());
}

TEST_CASE("a host whose disk is low says so, takes no work, cleans its caches, and lets what lives finish") {
  World world;
  world.engine.start(world.sandboxes.spec(std::string(kPause) + "git cat-file -p HEAD:a.txt; echo x > new.txt"));
  world.wait_file(world.output(kId) / "here");
  const Paths& paths = world.sandboxes.host().config.paths;
  fs::create_directories(paths.mirrors() / "unused");
  fs::create_directories(paths.host() / "bundles/unused");
  std::ofstream(paths.config() / "sandboxd.yaml") << "disk_low_water_bytes: 1152921504606846976\n";
  world.daemon->kill_and_restart();
  world.engine.wait([&] { return world.engine.hellos == 2 && world.engine.free_slots == 0u; });
  auto second = world.sandboxes.spec("true");
  second.attempt = 2;
  world.engine.start(second);
  world.engine.wait([&] {
    return std::any_of(world.engine.events.begin(), world.engine.events.end(),
                       [](const auto& event) { return event.second.first == "0123456789ABC-2"; });
  });
  CHECK(world.engine.story("0123456789ABC-2") == "refused:disk_low");
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while ((fs::exists(paths.mirrors() / "unused") || fs::exists(paths.host() / "bundles/unused")) &&
         std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK_FALSE(fs::exists(paths.mirrors() / "unused"));
  CHECK_FALSE(fs::exists(paths.host() / "bundles/unused"));
  world.touch(world.output(kId) / "go");
  CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  world.engine.wait([&] { return world.engine.complete_logs.contains(kId); });
  CHECK(world.engine.log_text(kId) == "before\nafter\none\n");
}

TEST_CASE("an attempt whose record can be written but not synced is refused, and nothing else is ever said of it") {
  World world;
  if (auto can = try_disk(world.sandboxes.root()); !can) {
    WARN("skipped: this machine has no loop devices: " + can.error().message);
    return;
  }
  world.daemon->end(SIGTERM);
  std::optional<FullDevice> full(std::in_place, world.sandboxes.root() / "full", world.sandboxes.host().config.paths.host() / "attempts");
  world.daemon->start();
  world.engine.wait([&] { return world.engine.hellos == 2; });
  world.engine.start(world.sandboxes.spec("echo x > new.txt"));
  world.engine.wait([&] { return !world.engine.events.empty(); });
  CHECK(world.engine.story(kId) == "refused:no_space");
  CHECK_THAT(world.daemon->said(), Catch::Contains("fsync"));
  world.daemon->end(SIGTERM);
  CHECK(world.engine.story(kId) == "refused:no_space");
  full.reset();
  world.sandboxes.require_gone(kId);
}

}  // namespace muster::sandbox::test
