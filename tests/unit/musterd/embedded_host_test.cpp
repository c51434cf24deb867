// The embedded host's care for a process, with a shell script in sandboxd's place that takes the
// lock as it does.
#include <catch2/catch.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "storage/base/files.hpp"
#include "tools/musterd/embedded_host.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

namespace fs = std::filesystem;

struct Place {
  Place() {
    char name[] = "/tmp/muster-embedded-XXXXXX";
    path = ::mkdtemp(name);
    std::ofstream(path / "sandboxd") << "#!/bin/sh\n"
                                        "exec 9>>'" +
                                            (path / "lock").string() +
                                            "'\n"
                                            "flock -n 9 || exit 5\n"
                                            "ls /proc/self/fd | wc -l > '" +
                                            (path / "fds").string() +
                                            "'\n"
                                            "printf %s $$ > '" +
                                            (path / "lock").string() +
                                            "'\n"
                                            "echo \"started with $*\"\n"
                                            "exec sleep 1000\n";
    fs::permissions(path / "sandboxd", fs::perms::owner_all);
  }
  ~Place() { fs::remove_all(path); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  [[nodiscard]] EmbeddedHostOptions options() const {
    EmbeddedHostOptions made;
    made.program = path / "sandboxd";
    made.arguments = {"--name", "local"};
    made.lock = path / "lock";
    made.log = path / "log";
    made.started = path / "started";
    made.first_pause = Duration{1};
    return made;
  }
  [[nodiscard]] pid_t holder() const {
    const auto text = read_file(path / "lock", 64);
    return text && !text->empty() ? static_cast<pid_t>(std::strtol(text->c_str(), nullptr, 10)) : 0;
  }
  void wait_for_holder(pid_t pid) const {
    while (holder() != pid) std::this_thread::yield();
  }
  fs::path path;
};

bool lives(pid_t pid) {
  return ::kill(pid, 0) == 0;
}
constexpr Duration kLong{60'000};

}  // namespace

TEST_CASE("it is started in a session of its own, with its arguments and none of our descriptors") {
  const Place place;
  EmbeddedHost host(place.options());
  REQUIRE(host.start());
  const pid_t pid = host.pid();
  place.wait_for_holder(pid);
  CHECK(::getsid(pid) == pid);
  const auto fds = read_file(place.path / "fds", 64);
  CHECK(std::atoi(fds->c_str()) <= 5);  // 0, 1, 2, the lock, and what ls itself opens.
  host.stop(false);
  CHECK(!lives(pid));
  CHECK(*read_file(place.path / "log", 4096) == "started with --name local\n");
}

TEST_CASE("when it dies it is started again") {
  const Place place;
  EmbeddedHost host(place.options());
  REQUIRE(host.start());
  const pid_t first = host.pid();
  place.wait_for_holder(first);
  ::kill(first, SIGKILL);
  REQUIRE(host.wait_for_starts(2, kLong));
  CHECK(host.pid() != first);
  place.wait_for_holder(host.pid());
  host.stop(false);
  CHECK(host.starts() == 2);
}

TEST_CASE(
    "a program that is missing is an error, one that fails at once is tried again and again") {
  const Place place;
  EmbeddedHostOptions missing = place.options();
  missing.program = place.path / "nothing";
  CHECK(!EmbeddedHost(missing).start());

  EmbeddedHostOptions failing = place.options();
  failing.program = "/bin/false";
  EmbeddedHost host(failing);
  REQUIRE(host.start());
  CHECK(host.wait_for_starts(3, kLong));
  host.stop(false);
}

TEST_CASE("a musterd that comes later finds the living one and never starts a second") {
  const Place place;
  auto first = std::make_unique<EmbeddedHost>(place.options());
  REQUIRE(first->start());
  const pid_t pid = first->pid();
  place.wait_for_holder(pid);
  first.reset();  // As a musterd that leaves its host alone.
  CHECK(lives(pid));

  EmbeddedHost second(place.options());
  REQUIRE(second.start());
  CHECK(second.pid() == pid);
  CHECK(second.starts() == 0);

  SECTION("which it looks after from then on") {
    ::kill(pid, SIGKILL);
    REQUIRE(second.wait_for_starts(1, kLong));
    second.stop(false);
  }
  SECTION("and ends when it stops") {
    second.stop(false);
    CHECK(place.holder() == pid);
    CHECK(::waitpid(pid, nullptr, 0) == pid);  // A child of this test: it had only ended.
  }
}

TEST_CASE("one that was started with other arguments is ended and started anew") {
  const Place place;
  auto first = std::make_unique<EmbeddedHost>(place.options());
  REQUIRE(first->start());
  const pid_t old = first->pid();
  place.wait_for_holder(old);
  first.reset();

  EmbeddedHostOptions changed = place.options();
  changed.arguments = {"--name", "other"};
  EmbeddedHost second(changed);
  REQUIRE(second.start());
  CHECK(::waitpid(old, nullptr, 0) == old);
  CHECK(second.starts() == 1);
  place.wait_for_holder(second.pid());
  second.stop(false);
}

TEST_CASE("one that somebody else started is left alone, whatever its arguments") {
  const Place place;
  auto first = std::make_unique<EmbeddedHost>(place.options());
  REQUIRE(first->start());
  const pid_t pid = first->pid();
  place.wait_for_holder(pid);
  first.reset();
  fs::remove(place.path / "started");
  EmbeddedHostOptions changed = place.options();
  changed.arguments = {};
  EmbeddedHost second(changed);
  REQUIRE(second.start());
  CHECK(second.pid() == pid);
  second.stop(false);
  CHECK(::waitpid(pid, nullptr, 0) == pid);
}

TEST_CASE("a stop that keeps it leaves it running") {
  const Place place;
  EmbeddedHost host(place.options());
  REQUIRE(host.start());
  const pid_t pid = host.pid();
  place.wait_for_holder(pid);
  host.stop(true);
  CHECK(lives(pid));
  ::kill(pid, SIGKILL);
  CHECK(::waitpid(pid, nullptr, 0) == pid);
}

TEST_CASE("its log is begun anew when it has grown too large") {
  const Place place;
  std::ofstream(place.path / "log") << "old";
  fs::resize_file(place.path / "log", EmbeddedHost::kMaxLog + 1);
  EmbeddedHost host(place.options());
  REQUIRE(host.start());
  place.wait_for_holder(host.pid());
  host.stop(false);
  CHECK(fs::file_size(place.path / "log.1") == EmbeddedHost::kMaxLog + 1);
  CHECK(fs::file_size(place.path / "log") < 1000);
}

TEST_CASE("what it said last is told when it ends, and nothing of an earlier one") {
  const Place place;
  const fs::path log = place.path / "log";
  CHECK(last_words(log, 0).empty());
  std::ofstream(log) << "an earlier one\n";
  const auto before = fs::file_size(log);
  CHECK(last_words(log, before).empty());
  std::ofstream(log, std::ios::app) << "this machine can't isolate sandboxes:\n  chmod o+x /srv\n";
  CHECK(last_words(log, before) == "this machine can't isolate sandboxes:\n  chmod o+x /srv");
  std::ofstream(log, std::ios::app) << std::string(2'000, 'x') << "\nthe end\n";
  CHECK(last_words(log, before) == "the end");
}
