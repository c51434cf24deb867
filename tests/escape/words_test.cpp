// Words that come over the link and become arguments, paths and refs on the host: refused before anything is made.
#include "tests/escape/tries.hpp"

namespace muster::sandbox::test {

TEST_CASE("words that would become options, commands or paths elsewhere are refused") {
  Sandboxes sandboxes;
  using Change = std::function<void(wire::SandboxSpecT&)>;
  const std::vector<std::pair<std::string, Change>> tries = {
      {"url as an option", [](auto& s) { s.url = "--upload-pack=touch /tmp/x"; }},
      {"url as a command", [](auto& s) { s.url = "ext::sh -c 'touch /tmp/x'"; }},
      {"url of a descriptor", [](auto& s) { s.url = "fd::17"; }},
      {"url with a newline", [](auto& s) { s.url = "https://x/a\nb"; }},
      {"branch as an option", [](auto& s) { s.branch = "--force"; }},
      {"branch that climbs", [](auto& s) { s.branch = "../../config"; }},
      {"branch that is a lock", [](auto& s) { s.branch = "a/HEAD.lock"; }},
      {"base branch as an option", [](auto& s) { s.base_branch = "-x"; }},
      {"base branch as a refspec", [](auto& s) { s.base_branch = "main:refs/heads/other"; }},
      {"run that climbs", [](auto& s) { s.run = "../../etc"; }},
      {"run with a slash", [](auto& s) { s.run = "a/b"; }},
      {"attempt 0", [](auto& s) { s.attempt = 0; }},
      {"secret that climbs", [](auto& s) { s.secrets = {"../sandboxd.yaml"}; }},
      {"secret with a slash", [](auto& s) { s.secrets = {"a/b"}; }},
      {"variable with =", [](auto& s) { set_env(s, "A=B", "x"); }},
      {"variable with a NUL", [](auto& s) { set_env(s, "A", std::string("x\0y", 3)); }},
      {"step that pretends to be another", [](auto& s) { s.steps[0]->name = "commit"; }},
      {"if_exists that climbs", [](auto& s) { s.steps[0]->if_exists = "../../etc/passwd"; }},
      {"bundle that climbs", [](auto& s) { s.agent_bundle = "../../../etc/passwd"; }},
      {"image of a relative directory", [](auto& s) { s.image = "dir:../.."; }},
      {"the host's network", [](auto& s) { s.network = wire::Network::host; }},
      {"no memory limit", [](auto& s) { s.memory_bytes = 0; }},
      {"no process limit", [](auto& s) { s.pids = 0; }},
      {"no disk limit", [](auto& s) { s.disk_bytes = 0; }},
      {"no log limit", [](auto& s) { s.max_log_bytes = 0; }},
      {"more memory than there is", [](auto& s) { s.memory_bytes = ~0ull; }},
  };
  for (const auto& [name, change] : tries) {
    auto spec = sandboxes.spec("true");
    change(spec);
    INFO(name);
    CHECK_FALSE(check_spec(spec, {false, sandboxes.host().memory_bytes}));
  }
  CHECK(check_spec(sandboxes.spec("true"), {false, sandboxes.host().memory_bytes}));
}

TEST_CASE("an image can't be a directory that shows the host") {
  Sandboxes sandboxes;
  std::uint32_t attempt = 0;
  for (const std::string& image : std::vector<std::string>{"dir:/", "dir:/etc", "dir:/proc", "dir:/proc/1/root", "dir:/root",
                                  "dir:" + (sandboxes.root() / "host").string(), "tar:/etc/passwd",
                                  "dir:" + (sandboxes.root() / "images/../..").string(),
                                  "dir:" + (sandboxes.root() / "images/link").string()}) {
    shell("mkdir -p images; ln -sfn / images/link", sandboxes.root());
    auto spec = sandboxes.spec("cat /etc/hostname");
    spec.image = image;
    spec.attempt = ++attempt;
    const auto report = sandboxes.run(spec);
    INFO(image);
    CHECK(brief(report) == "failed(not_allowed)");
    CHECK(report.message.find("image_directories") != std::string::npos);
  }
}

}  // namespace muster::sandbox::test
