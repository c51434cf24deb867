// Files and processes.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <string>

#include "storage/base/files.hpp"
#include "storage/base/process.hpp"
#include "tests/unit/storage/temp_directory.hpp"

using namespace muster;
using muster::testing::TempDirectory;
namespace fs = std::filesystem;

namespace {

ProcessSpec shell(const std::string& script) {
  ProcessSpec spec;
  spec.argv = {"sh", "-c", script};
  spec.env = {{"PATH", "/usr/bin:/bin"}};
  return spec;
}

}  // namespace

TEST_CASE("a file is replaced whole, with its mode, and nothing is left beside it") {
  const TempDirectory temp;
  const fs::path file = temp.path() / "file";
  REQUIRE(write_file_durably(file, "one", 0600));
  REQUIRE(write_file_durably(file, std::string("two\0", 4), 0640));
  CHECK(read_file(file).value() == std::string("two\0", 4));
  CHECK((fs::status(file).permissions() & fs::perms::mask) == static_cast<fs::perms>(0640));
  CHECK(std::distance(fs::directory_iterator(temp.path()), fs::directory_iterator()) == 1);
  CHECK(read_file(file, 4).has_value());
  CHECK(read_file(file, 3).error().code == Errc::invalid);
  CHECK(read_file(temp.path() / "none").error().code == Errc::not_found);
  CHECK(write_file_durably(temp.path() / "no/dir", "x").error().code == Errc::io);
}

TEST_CASE("directories are made with their parents, and made again is nothing") {
  const TempDirectory temp;
  REQUIRE(make_directory(temp.path() / "a/b/c", 0700));
  REQUIRE(make_directory(temp.path() / "a/b/c", 0700));
  CHECK((fs::status(temp.path() / "a/b").permissions() & fs::perms::mask) ==
        static_cast<fs::perms>(0700));
  REQUIRE(write_file_durably(temp.path() / "file", ""));
  CHECK_FALSE(make_directory(temp.path() / "file/sub"));
  CHECK_FALSE(make_directory(temp.path() / "file"));
}

TEST_CASE("a lock has one holder, and names it") {
  const TempDirectory temp;
  const fs::path file = temp.path() / "lock";
  auto held = lock_file(file);
  REQUIRE(held);
  const auto refused = lock_file(file);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::conflict);
  CHECK(refused.error().message.find(std::to_string(::getpid())) != std::string::npos);
  held->reset();
  CHECK(lock_file(file).has_value());
}

TEST_CASE("a process gets its input, environment and directory, and nothing more") {
  const TempDirectory temp;
  auto spec = shell("cat; pwd; echo \"$A\" >&2; env | grep -vE '^(A|PATH|PWD|_|SHLVL|OLDPWD)='");
  spec.env["A"] = "a value";
  spec.input = std::string(300'000, 'i');  // More than a pipe holds.
  spec.directory = temp.path();
  const auto result = run_process(spec);
  REQUIRE(result);
  CHECK(result->out == spec.input + temp.path().string() + "\n");
  CHECK(result->err == "a value\n");
  CHECK(result->exit_code == 1);  // grep found nothing else
  CHECK_FALSE(result->timed_out);
}

TEST_CASE("standard input is empty unless given, and may be left unread") {
  CHECK(run_checked(shell("cat")).value().empty());
  auto spec = shell("exit 0");
  spec.input = std::string(1'000'000, 'x');
  CHECK(run_process(spec).value().exit_code == 0);
}

TEST_CASE("exit codes and signals are told apart") {
  CHECK(run_process(shell("exit 7")).value().exit_code == 7);
  const auto killed = run_process(shell("kill -TERM $$")).value();
  CHECK(killed.signal == SIGTERM);
  CHECK(killed.exit_code == 128 + SIGTERM);
  CHECK_FALSE(killed.ok());
}

TEST_CASE("a program that is missing or can't start is an error") {
  ProcessSpec spec;
  CHECK(run_process(spec).error().code == Errc::invalid);
  spec.argv = {"muster-no-such-program"};
  CHECK(run_process(spec).error().code == Errc::not_found);
  spec.argv = {"/etc/passwd"};
  CHECK(run_process(spec).error().code == Errc::io);
  auto nowhere = shell("true");
  nowhere.directory = "/nonexistent";
  CHECK(run_process(nowhere).error().code == Errc::io);
}

TEST_CASE("at the deadline the whole group dies, with what it said before") {
  const TempDirectory temp;
  // The child holds the write end of a pipe that ends only when it dies too.
  REQUIRE(::mkfifo((temp.path() / "fifo").c_str(), 0600) == 0);
  const Fd reader(::open((temp.path() / "fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  REQUIRE(reader.valid());
  auto spec = shell("exec 3>" + (temp.path() / "fifo").string() +
                    "; sleep 1000 & echo started; trap '' TERM; wait");
  spec.timeout = Duration{300};
  const auto result = run_process(spec);
  REQUIRE(result);
  CHECK(result->timed_out);
  CHECK(result->signal == SIGKILL);
  CHECK(result->out == "started\n");
  CHECK_FALSE(result->ok());
  REQUIRE(::fcntl(reader.get(), F_SETFL, 0) == 0);
  char byte = 0;
  CHECK(::read(reader.get(), &byte, 1) == 0);  // Blocks for as long as anybody of the group lives.
  CHECK(run_checked(spec).error().code == Errc::timed_out);
}

TEST_CASE("a program is killed when its caller gives it up, silent or not") {
  for (const char* script : {"sleep 1000", "while :; do echo x; done"}) {
    auto spec = shell(script);
    spec.max_output = 10;
    int asked = 0;
    spec.give_up = [&] { return ++asked == 2; };
    const auto result = run_process(spec).value();
    CHECK(result.timed_out);
    CHECK(result.signal == SIGKILL);
    CHECK(asked == 2);
  }
}

TEST_CASE("output beyond the limit is read and dropped") {
  auto spec = shell("head -c 500000 /dev/zero; echo err >&2");
  spec.max_output = 1000;
  const auto result = run_process(spec).value();
  CHECK(result.ok());
  CHECK(result.out.size() == 1000);
  CHECK(result.output_truncated);
  CHECK(result.err == "err\n");
}

TEST_CASE("only named descriptors are inherited") {
  const TempDirectory temp;
  const Fd named(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Fd other(::open("/dev/null", O_RDONLY));  // Inheritable, and still must not be.
  auto spec = shell("for f in " + std::to_string(named.get()) + " " + std::to_string(other.get()) +
                    "; do [ -e /proc/self/fd/$f ] && echo $f; done; true");
  spec.inherited_fds = {named.get()};
  CHECK(run_checked(spec).value() == std::to_string(named.get()) + "\n");
}

TEST_CASE("run_checked tells the last words on standard error") {
  const auto failed = run_checked(shell("echo out; echo what went wrong >&2; exit 3"));
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message == "sh failed with 3: what went wrong");
}

TEST_CASE("git runs without configuration of the user or the system") {
  ProcessSpec spec;
  spec.argv = git_command();
  for (const char* argument : {"config", "--list", "--show-scope"}) spec.argv.emplace_back(argument);
  spec.env = git_environment();
  spec.directory = "/";
  const auto listed = run_checked(spec);
  REQUIRE(listed);
  CHECK(listed->find("global") == std::string::npos);
  CHECK(listed->find("system") == std::string::npos);
  CHECK(listed->find("core.hookspath=/dev/null") != std::string::npos);
}
