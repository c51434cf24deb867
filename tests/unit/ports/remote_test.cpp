// Delivery to a URL: a real git daemon on loopback, and everything through the network protocol.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "git_fixture.hpp"
#include "storage/base/files.hpp"

using namespace muster;
using namespace muster::actors;
using namespace muster::actors::test;

namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

std::uint16_t free_port() {
  const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return ntohs(address.sin_port);
}

bool answers(std::uint16_t port) {
  const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

/// A program that listens on `port`, until it is destroyed.
class Server {
 public:
  Server(std::uint16_t port, std::vector<std::string> command) : port_(port), child_(fork()) {
    REQUIRE(child_ >= 0);
    if (child_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      setenv("GIT_CONFIG_COUNT", "1", 1);
      setenv("GIT_CONFIG_KEY_0", "safe.directory", 1);
      setenv("GIT_CONFIG_VALUE_0", "*", 1);
      std::vector<char*> argv;
      for (std::string& word : command) argv.push_back(word.data());
      argv.push_back(nullptr);
      execvp(argv[0], argv.data());
      _exit(127);
    }
    for (int i = 0; i < 1000 && !answers(port_); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    REQUIRE(answers(port_));
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  std::uint16_t port_;
  pid_t child_;
};

/// Serves everything below `base`, pushes included.
class Daemon : public Server {
 public:
  explicit Daemon(const fs::path& base, std::uint16_t port = free_port())
      : Server(port,
               {git(base, {"--exec-path"}) + "/git-daemon", "--reuseaddr", "--listen=127.0.0.1",
                "--port=" + std::to_string(port), "--base-path=" + base.string(), "--export-all",
                "--enable=receive-pack", "--log-destination=none"}) {}
  [[nodiscard]] std::string url(const std::string& name) const {
    return "git://" + address() + "/" + name;
  }
};

}  // namespace

TEST_CASE(
    "delivery over the network: pushed once, found again, left alone, replaced, merged, deleted") {
  Project project;
  const bool filter = GENERATE(true, false);
  if (filter) git(project.bare(), {"config", "uploadpack.allowFilter", "true"});
  const Daemon daemon(project.directory().path());
  const std::string url = daemon.url("api.git");
  const auto forge = make_git_forge(project.scratch());
  auto request = project.request(project.change("one\n"));
  request.url = url;
  request.base_branch = filter ? "main" : "";

  CHECK(diff_pack(project.scratch(), request, 100'000).value().find("+one") != std::string::npos);
  CHECK(project.branch("muster/x").empty());
  const auto pushed = forge->push(request);
  INFO(pushed.message);
  REQUIRE(pushed.outcome == PushOutcome::pushed);
  CHECK(project.branch("muster/x") == request.head_sha);
  fs::remove(request.pack);
  CHECK(forge->push(request).outcome == PushOutcome::already_there);

  auto other = project.request(project.change("two\n"));
  other.url = url;
  CHECK(forge->push(other).outcome == PushOutcome::branch_exists);
  other.replace = true;
  CHECK(forge->push(other).outcome == PushOutcome::pushed);
  CHECK(project.branch("muster/x") == other.head_sha);
  auto base = other;
  base.branch = "main";
  CHECK(forge->push(base).outcome == PushOutcome::rejected);
  CHECK(project.main() == other.base_sha);
  CHECK(forge->diff(url, other.base_sha, other.head_sha, 100'000).value().find("+two") !=
        std::string::npos);
  CHECK(forge->diff(url, other.base_sha, other.head_sha, 40).value().find("cut here") !=
        std::string::npos);

  const MergeRequest merge{url,     "muster/x", "main",    other.head_sha,
                           "Merge", "Alice",    "alice@x", 1700000000000};
  auto stale = merge;
  stale.head_sha = request.head_sha;
  CHECK(forge->merge(stale).outcome == MergeOutcome::head_moved);
  const auto merged = forge->merge(merge);
  INFO(merged.message);
  REQUIRE(merged.outcome == MergeOutcome::merged);
  CHECK(project.main() == merged.commit);
  CHECK(git(project.bare(), {"log", "-1", "--format=%P|%an", "main"}) ==
        other.base_sha + " " + other.head_sha + "|Alice");
  CHECK(forge->merge(merge).outcome == MergeOutcome::already_merged);

  CHECK(forge->delete_branch(url, "muster/x", request.head_sha).error().code == Errc::conflict);
  CHECK(forge->delete_branch(url, "muster/x", other.head_sha));
  CHECK(forge->delete_branch(url, "muster/x", other.head_sha));
  CHECK(project.branch("muster/x").empty());
  git(project.bare(), {"fsck", "--strict"});
  CHECK(fs::is_empty(project.scratch()));
}

TEST_CASE(
    "over the network too: a moved base is fine, a rewritten one is not, conflicts and bad packs "
    "are named") {
  Project project;
  git(project.bare(), {"config", "uploadpack.allowFilter", "true"});
  const Daemon daemon(project.directory().path());
  const auto forge = make_git_forge(project.scratch());
  const std::string base = project.main();
  auto request = project.request(project.change("one\n"));
  request.url = daemon.url("api.git");

  git(project.work(), {"checkout", "-q", "-f", "-B", "later", base});
  write(project.work() / "src/greet.txt", "other\n");
  const std::string later = project.commit("Later");
  git(project.work(), {"push", "-q", "origin", "later:main"});
  const auto pushed = forge->push(request);
  INFO(pushed.message);
  CHECK(pushed.outcome == PushOutcome::pushed);
  const auto conflict =
      forge->merge({request.url, "muster/x", "main", request.head_sha, "Merge", "A", "a@x", 1});
  CHECK(conflict.outcome == MergeOutcome::conflict);
  CHECK(conflict.message.find("src/greet.txt") != std::string::npos);

  request.branch = "muster/y";
  auto broken = request;
  broken.pack = project.directory() / "broken";
  write(broken.pack, "PACK");
  CHECK(forge->push(broken).outcome == PushOutcome::rejected);
  git(project.bare(), {"update-ref", "refs/heads/main", base + "~1"});
  CHECK(forge->push(request).outcome == PushOutcome::base_moved);
  request.base_branch = "gone";
  CHECK(forge->push(request).outcome == PushOutcome::base_moved);
  CHECK(project.branch("muster/y").empty());
}

TEST_CASE("a forge that refuses or does not answer is told in its words, never with a credential") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  auto request = project.request(project.change());
  request.url = "git://127.0.0.1:" + std::to_string(free_port()) + "/api.git";
  const auto unreachable = forge->push(request);
  CHECK(unreachable.outcome == PushOutcome::failed);
  CHECK(unreachable.message.find("ls-remote") != std::string::npos);

  const Daemon daemon(project.directory().path());
  request.url = daemon.url("api.git");
  write(project.bare() / "hooks/pre-receive", "#!/bin/sh\necho policy says no; exit 1\n");
  fs::permissions(project.bare() / "hooks/pre-receive", fs::perms::owner_all);
  const auto refused = forge->push(request);
  INFO(refused.message);
  CHECK(refused.outcome == PushOutcome::rejected);
  CHECK(refused.message.find("hook declined") != std::string::npos);
}

TEST_CASE("a server of plain files is said to take no push") {
  Project project;
  git(project.bare(), {"update-server-info"});
  const std::uint16_t port = free_port();
  const Server files(port, {"python3", "-m", "http.server", std::to_string(port), "--bind",
                            "127.0.0.1", "--directory", project.directory().path().string()});
  auto request = project.request(project.change());
  request.url = "http://" + files.address() + "/api.git";
  const auto result = make_git_forge(project.scratch())->push(request);
  INFO(result.message);
  CHECK(result.outcome == PushOutcome::failed);
  CHECK(result.message.find("nothing can be pushed there") != std::string::npos);
}

TEST_CASE("the engine's own git configuration counts for URLs, and only that") {
  Project project;
  const Daemon daemon(project.directory().path());
  auto request = project.request(project.change());
  const fs::path config = project.directory() / "engine.gitconfig";
  write(config, "[url \"" + daemon.url("") + "\"]\n\tinsteadOf = https://forge.example/\n");
  request.url = "https://forge.example/api.git";
  const auto forge = make_git_forge(GitForgeOptions{project.scratch(), config});
  const auto result = forge->push(request);
  INFO(result.message);
  CHECK(result.outcome == PushOutcome::pushed);
  CHECK(project.branch("muster/x") == request.head_sha);
}
