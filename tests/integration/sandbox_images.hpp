// What tests of environments need beside a host: an image to run in, a registry on loopback, files in the repository.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "tests/integration/sandbox_fixture.hpp"

namespace muster::sandbox::test {

/// An OCI layout below images/ with bash, git and a few programs, a marker and variables; and its name.
inline std::string make_image(const fs::path& root) {
  shell(R"(mkdir -p images/img/bin; cd images
for f in $(for p in bash git cat sleep touch; do which $p; ldd $(which $p) | grep -o '/[^ ]*'; done | sort -u); do
  cp --parents -L $f img; done
cp -L $(which dash) img/bin/sh
umoci init --layout oci; umoci new --image oci:one; umoci insert --rootless --image oci:one img / 2>/dev/null
echo 1 > m; umoci insert --rootless --image oci:one m /etc/marker 2>/dev/null
umoci config --image oci:one --config.env FROM_IMAGE=yes)",
        root);
  return "oci:" + (root / "images/oci").string() + ":one";
}

/// Commits one more file (or, with an empty text, removes it) on the repository's main branch.
inline void commit_file(const Sandboxes& sandboxes, const std::string& path, const std::string& text) {
  const fs::path work = sandboxes.root() / "commit";
  shell("rm -rf commit; git clone -q " + sandboxes.repository().string() + " commit", sandboxes.root());
  if (text.empty()) {
    fs::remove_all(work / path);
  } else {
    fs::create_directories((work / path).parent_path());
    std::ofstream(work / path) << text;
  }
  shell("git add -A; git commit -qm change; git push -q origin HEAD:main", work);
}

/// Debian's docker-registry, without TLS, at a port that the kernel picks.
class Registry {
 public:
  static bool installed() { return fs::exists("/usr/bin/docker-registry"); }

  explicit Registry(const fs::path& root) : root_(root) {
    std::ofstream(root / "registry.yml") << "version: 0.1\nstorage: {filesystem: {rootdirectory: " << data().string()
                                         << "}}\nhttp: {addr: \"127.0.0.1:0\"}\n";
    start();
  }
  ~Registry() { stop(); }

  void stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] fs::path data() const { return root_ / "registry"; }
  void push(const std::string& from, const std::string& name) const {
    shell("skopeo --insecure-policy copy -q --dest-tls-verify=false " + from + " docker://" + address_ + "/" + name);
  }
  /// The digest that a tag names.
  [[nodiscard]] std::string digest(const std::string& name) const {
    return shell("skopeo inspect --raw --tls-verify=false docker://" + address_ + "/" + name + " | sha256sum | cut -d' ' -f1");
  }
  /// How often something whose path has all of `words` was asked for.
  [[nodiscard]] int requests(const std::string& method, const std::string& word) const {
    const std::string count = shell("grep '\"" + method + " ' registry.log | grep -c '" + word + "' || true", root_);
    return std::stoi(count);
  }

 private:
  void start() {
    const std::string config = (root_ / "registry.yml").string(), log = (root_ / "registry.log").string();
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
      ::dup2(fd, 1);
      ::dup2(fd, 2);
      ::execl("/usr/bin/docker-registry", "docker-registry", "serve", config.c_str(), nullptr);
      ::_exit(127);
    }
    const std::string_view said = "listening on ";
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < until) {
      const std::string text = read_file(log).value_or("");
      if (const std::size_t at = text.find(said); at != std::string::npos) {
        address_ = text.substr(at + said.size(), text.find('"', at) - at - said.size());
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    FAIL("docker-registry did not listen");
  }

  fs::path root_;
  std::string address_;
  pid_t pid_ = 0;
};

}  // namespace muster::sandbox::test
