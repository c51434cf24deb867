#include "sandboxd/spec.hpp"

#include <catch2/catch.hpp>
#include <functional>

#include "tests/unit/sandboxd/a_spec.hpp"

namespace muster::sandbox::test {

namespace {

/// Empty when it is accepted.
std::string verdict(const std::function<void(wire::SandboxSpecT&)>& change) {
  auto spec = a_spec();
  change(spec);
  const auto ok = check_spec(spec, {false, 8ull << 30});
  return ok ? "" : ok.error().message;
}

}  // namespace

TEST_CASE("a good spec is accepted") {
  CHECK(verdict([](auto&) {}) == "");
  CHECK(verdict([](auto& s) { s.url = "https://git.acme.dev/acme/api.git"; }) == "");
  CHECK(verdict([](auto& s) { s.url = "git@host:acme/api.git"; }) == "");
  CHECK(verdict([](auto& s) { s.base_branch = ""; }) == "");
}

TEST_CASE("what would become a path, a ref or an argument is checked") {
  CHECK(verdict([](auto& s) { s.run = "../x"; }) == "run and attempt don't make a sandbox id");
  CHECK(verdict([](auto& s) { s.attempt = 0; }) == "run and attempt don't make a sandbox id");
  CHECK(verdict([](auto& s) { s.url = "--upload-pack=evil"; }) == "url is not something git may fetch");
  CHECK(verdict([](auto& s) { s.url = "ext::sh -c evil"; }) == "url is not something git may fetch");
  CHECK(verdict([](auto& s) { s.branch = "-evil"; }) == "branch is not a branch name");
  CHECK(verdict([](auto& s) { s.branch = "a..b"; }) == "branch is not a branch name");
  CHECK(verdict([](auto& s) { s.branch = "a/.lock"; }) == "branch is not a branch name");
  CHECK(verdict([](auto& s) { s.base_branch = "a b"; }) == "base_branch is not a branch name");
  CHECK(verdict([](auto& s) { s.agent_bundle = "../../etc"; }) == "agent_bundle is not a SHA-256");
  CHECK(verdict([](auto& s) { s.secrets = {"../shadow"}; }) == "secrets: a name has letters, digits and _");
  CHECK(verdict([](auto& s) { s.steps[0]->if_exists = "../../etc/shadow"; }) ==
        "step agent: if_exists is a path inside the repository");
  CHECK(verdict([](auto& s) { s.steps[0]->argv = {}; }) == "step agent: nothing to execute");
}

TEST_CASE("context files lie below HOME or /tmp, and come from the bundle") {
  const auto with_file = [](const std::string& path, const std::string& source, unsigned mode, unsigned owner) {
    return verdict([&](auto& s) {
      s.agent_bundle = std::string(64, 'a');
      auto file = std::make_unique<wire::ContextFileT>();
      file->path = path;
      file->source = source;
      file->mode = mode;
      file->owner = owner;
      s.context_files.push_back(std::move(file));
    });
  };
  CHECK(with_file("/home/agent/.config/x", "ci/x", 0644, 1000) == verdict([](auto&) {}));
  CHECK(with_file("/tmp/x", "x", 0755, 0) == verdict([](auto&) {}));
  for (const char* path : {"/etc/passwd", "/home/agent", "/tmp/../etc/x", "/home/agent/a/../../../x", "/work/x", "tmp/x", ""})
    CHECK(with_file(path, "x", 0644, 0) ==
          "context_files: " + std::string(path) + " is no path below /home/agent or /tmp, or named twice");
  CHECK(with_file("/tmp/x", "../../etc/shadow", 0644, 0) == "context_files: ../../etc/shadow is no path in the bundle");
  CHECK(with_file("/tmp/x", "/etc/shadow", 0644, 0) == "context_files: /etc/shadow is no path in the bundle");
  CHECK(with_file("/tmp/x", "x", 04755, 0) == "context_files: /tmp/x has a mode up to 0777, and belongs to 0 or 1000");
  CHECK(with_file("/tmp/x", "x", 0644, 33) == "context_files: /tmp/x has a mode up to 0777, and belongs to 0 or 1000");
}

TEST_CASE("steps have an order and names of their own") {
  CHECK(verdict([](auto& s) { add_step(s, "setup:1", "x"); }) == "steps come in the order setup, agent, verify");
  CHECK(verdict([](auto& s) { add_step(s, "agent", "x"); }) == "two steps are named agent");
  CHECK(verdict([](auto& s) { s.steps[0]->name = "verify:a"; }) == "no step is named agent");
  CHECK(verdict([](auto& s) { s.steps[0]->name = "deploy"; }) ==
        "step deploy: a name is setup:N, agent or verify:NAME");
}

TEST_CASE("what this host does not allow is refused") {
  CHECK(verdict([](auto& s) { s.network = wire::Network::host; }) ==
        "network: host needs allow_host_network: true in this host's sandboxd.yaml");
  CHECK(verdict([](auto& s) { s.memory_bytes = 9ull << 30; }) == "resources: this host does not have that much memory");
  CHECK(verdict([](auto& s) { s.image = "oci:/images/x:1.0"; }).empty());
  CHECK(verdict([](auto& s) { s.image = "docker://ghcr.io/acme/x:1.0"; }).empty());
  CHECK(verdict([](auto& s) { s.image = "devcontainer"; }).empty());
  CHECK(verdict([](auto& s) { s.image = "env:node-20"; }).empty());
  for (const char* bad : {"dir:relative", "env:", "env:a/b", "docker://ghcr.io", "docker://-x/y"}) {
    INFO(bad);
    CHECK(verdict([&](auto& s) { s.image = bad; }) ==
          "image: host, dir:/PATH, tar:/PATH, oci:/PATH[:TAG], docker://HOST/NAME[:TAG], devcontainer or env:NAME");
  }
}

TEST_CASE("sandbox ids") {
  CHECK(sandbox_id("7K2M4P0Q8RSTV", 12) == "7K2M4P0Q8RSTV-12");
  CHECK(is_sandbox_id("7K2M4P0Q8RSTV-12"));
  for (const char* bad : {"", "-1", "7K2M", "7K2M-", "7K2M-0", "7K2M-01", "7K2M-1x", "../x-1", "a/b-1", "7K2M-1-2"}) {
    INFO(bad);
    CHECK_FALSE(is_sandbox_id(bad));
  }
}

}  // namespace muster::sandbox::test
