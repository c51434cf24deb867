// What an attempt runs in, said by the repository itself or by the host.
#include "tests/integration/sandbox_daemon.hpp"
#include "tests/integration/sandbox_images.hpp"

namespace muster::sandbox::test {

namespace {

wire::SandboxSpecT in_image(const Sandboxes& sandboxes, const std::string& image, const std::string& script) {
  auto spec = sandboxes.spec(script);
  spec.image = image;
  static std::uint32_t attempt = 0;
  spec.attempt = ++attempt;
  return spec;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

}  // namespace

TEST_CASE("a repository's devcontainer.json makes its environment: image, commands before the fleet's, variables, mounts") {
  Sandboxes sandboxes;
  const std::string image = make_image(sandboxes.root());
  fs::create_directories(sandboxes.root() / "shared/data");
  std::ofstream(sandboxes.root() / "shared/data/words") << "lent\n";
  auto config = sandboxes.config();
  config.environments.devcontainer_images = {{"acme/dev:1", image}};
  config.environments.devcontainer_mounts = {sandboxes.root() / "shared"};
  sandboxes.open(config);
  commit_file(sandboxes, ".devcontainer/devcontainer.json", R"({
    // what this repository wants
    "image": "acme/dev:1",
    "features": {"ghcr.io/devcontainers/features/go:1": {}},
    "onCreateCommand": "echo create $FROM_IMAGE $A; cat /etc/marker; echo 1 >> $HOME/state",
    "updateContentCommand": ["bash", "-c", "echo update $0", "${containerWorkspaceFolder}"],
    "postCreateCommand": {"two": "echo two", "one": "echo one $B"},
    "containerEnv": {"A": "a", "B": "b", "MUSTER_STEP": "forged"},
    "remoteEnv": {"PATH": "/nowhere:${containerEnv:PATH}"},
    "mounts": ["type=bind,source=)" + (sandboxes.root() / "shared/data").string() + R"(,target=/tmp/lent"],
    "remoteUser": "vscode",
  })");
  auto spec = in_image(sandboxes, "devcontainer",
                       "cat $HOME/state /tmp/lent/words; echo $B $MUSTER_STEP ${PATH%%:*}; if (echo x > /tmp/lent/x) 2> /dev/null; then exit 9; fi; "
                       "cat .devcontainer/devcontainer.json > copy");
  spec.env.push_back(std::make_unique<wire::KeyValueT>());
  spec.env.back()->key = "B";
  spec.env.back()->value = "fleet";
  Sandboxes::add_step(spec, "setup:1", "echo setup $A >> $HOME/state; echo $MUSTER_STEP");
  std::swap(spec.steps[0], spec.steps[1]);
  Sandboxes::add_step(spec, "verify:a", "cat copy > /dev/null");
  const auto report = sandboxes.run(spec);
  INFO(report.message);
  CHECK(brief(report) == "changed setup:onCreateCommand=0 setup:updateContentCommand=0 setup:postCreateCommand:two=0 "
                         "setup:postCreateCommand:one=0 setup:1=0 agent=0 verify:a=0");
  CHECK(sandboxes.log == "create yes a\n1\nupdate /work\ntwo\none fleet\nsetup:1\n1\nsetup a\nlent\nfleet agent /nowhere\n");
  const std::string file = ".devcontainer/devcontainer.json: ";
  CHECK(joined(report.warnings) ==
        file + "remoteUser vscode: every command runs as uid 1000, without privileges\n" + file +
            "not supported, and left out: features\n" + file + "containerEnv.MUSTER_STEP: Muster sets it, and it is left out\n");
  sandboxes.require_gone(sandbox_id(spec.run, spec.attempt));
}

TEST_CASE("without image the devcontainer's commands run in the host's, which is said; a failing one ends the attempt") {
  Sandboxes sandboxes;
  commit_file(sandboxes, ".devcontainer.json", R"({"build": {"dockerfile": "Dockerfile"}, "onCreateCommand": "echo in; exit 3"})");
  const auto report = sandboxes.run(in_image(sandboxes, "devcontainer", "echo never"));
  CHECK(brief(report) == "step_failed setup:onCreateCommand=3");
  CHECK(sandboxes.log == "in\n");
  CHECK(joined(report.warnings) == ".devcontainer.json: not supported, and left out: build\n"
                                   ".devcontainer.json: it names no image (building one is not supported): host is used\n");
}

TEST_CASE("a devcontainer.json that is missing, wrong or not allowed fails the attempt, and says why") {
  Sandboxes sandboxes;
  const auto outcome = [&] {
    const auto spec = in_image(sandboxes, "devcontainer", "echo never");
    const auto report = sandboxes.run(spec);
    sandboxes.require_gone(sandbox_id(spec.run, spec.attempt));
    CHECK(sandboxes.log.empty());
    return brief(report) + ": " + report.message;
  };
  const auto said = [&](const std::string& text) {
    commit_file(sandboxes, ".devcontainer/devcontainer.json", text);
    return outcome();
  };
  const std::string file = ".devcontainer/devcontainer.json";
  CHECK(outcome() == "failed(bad_environment): image devcontainer: the repository has neither " + file + " nor .devcontainer.json");
  CHECK(said("{\n\"image\" \"x\"}") == "failed(bad_environment): " + file + " is not JSON, at line 2");
  CHECK(said("{\"image\": []}") == "failed(bad_environment): " + file + " image is not a string");
  CHECK(said("{" + std::string(300'000, ' ') + "}") ==
        "failed(bad_environment): " + file + ": is larger than 262144 bytes");
  CHECK(said("{\"image\": \"a b\"}").starts_with("failed(bad_environment): " + file + ": image: "));
  CHECK(said("{\"image\": \"evil.example.org/x\"}") ==
        "failed(not_allowed): image docker://evil.example.org/x:latest: this host may fetch nothing from there (registries in "
        "sandboxd.yaml)");
  CHECK(said("{\"mounts\": [\"type=bind,source=/etc,target=/tmp/etc\"]}").starts_with("failed(not_allowed): " + file + ": mounts /etc: "));
  SECTION("a link is no file, wherever it leads") {
    shell("rm -rf commit; git clone -q " + sandboxes.repository().string() + " commit; cd commit; rm -r .devcontainer; "
          "ln -s /etc .devcontainer; git add -A; git commit -qm link; git push -q origin HEAD:main", sandboxes.root());
    CHECK(outcome().starts_with("failed(bad_environment): image devcontainer: the repository has neither"));
    shell("cd commit; rm .devcontainer; mkdir .devcontainer; ln -s /etc/passwd .devcontainer/devcontainer.json; "
          "git add -A; git commit -qm link; git push -q origin HEAD:main", sandboxes.root());
    CHECK(outcome() == "failed(bad_environment): " + file + " is not JSON, at line 1");
  }
}

TEST_CASE("an environment of the host has a name, and only this host knows what it is") {
  Sandboxes sandboxes;
  const std::string image = make_image(sandboxes.root());
  auto config = sandboxes.config();
  auto& tools = config.environments.named["tools"];
  tools.image = image;
  tools.env = {{"A", "host"}, {"B", "host"}};
  tools.setup = {{"bash", "-c", "echo ready > $HOME/state"}};
  sandboxes.open(config);
  auto spec = in_image(sandboxes, "env:tools", "cat $HOME/state /etc/marker; echo $A $B");
  spec.env.push_back(std::make_unique<wire::KeyValueT>());
  spec.env.back()->key = "B";
  spec.env.back()->value = "fleet";
  const auto report = sandboxes.run(spec);
  INFO(report.message);
  CHECK(brief(report) == "unchanged setup:env:1=0 agent=0");
  CHECK(sandboxes.log == "ready\n1\nhost fleet\n");
  CHECK(report.warnings.empty());
  const auto none = sandboxes.run(in_image(sandboxes, "env:none", "echo never"));
  CHECK(brief(none) + ": " + none.message ==
        "failed(image_failed): this host has no environment none (environments in sandboxd.yaml)");
}

TEST_CASE("a killed sandboxd remembers the environment of what it adopts") {
  World world("environments:\n  tools: {setup: [\"echo prepared\"]}\n");
  commit_file(world.sandboxes, ".devcontainer.json", R"({"features": {"x": {}}, "onCreateCommand": "echo prepared"})");
  auto spec = world.sandboxes.spec(std::string(kPause) + "echo x > new.txt");
  std::string setup = "setup:env:1";
  SECTION("of the host") { spec.image = "env:tools"; }
  SECTION("of the repository, with what was left out") {
    spec.image = "devcontainer";
    setup = "setup:onCreateCommand";
  }
  world.engine.start(spec);
  world.wait_file(world.output(kId) / "here");
  world.daemon->kill_and_restart();
  world.engine.wait([&] { return world.engine.hellos == 2; });
  world.touch(world.output(kId) / "go");
  const auto report = world.engine.wait_report(kId);
  CHECK(brief(report) == "changed " + setup + "=0 agent=0");
  CHECK(report->warnings.size() == (spec.image == "devcontainer" ? 2 : 0));
  world.engine.wait([&] { return world.engine.complete_logs.contains(kId); });
  CHECK(world.engine.log_text(kId) == "prepared\nbefore\nafter\n");
  world.wait_forgotten(kId);
}

}  // namespace muster::sandbox::test
