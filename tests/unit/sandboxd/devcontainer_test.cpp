#include "sandboxd/devcontainer.hpp"

#include <catch2/catch.hpp>

#include "sandboxd/environment.hpp"
#include "tests/unit/sandboxd/a_spec.hpp"

namespace muster::sandbox::test {

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : "|") + word;
  return text;
}

/// Everything that was understood, or the error.
std::string told(std::string_view text) {
  const auto read = parse_devcontainer(text);
  if (!read) return read.error().message;
  std::string out = "image " + read->image + "\n";
  for (const auto& command : read->commands) out += command.name + " = " + joined(command.argv) + "\n";
  for (const auto& [name, value] : read->container_env) out += "containerEnv " + name + "=" + value + "\n";
  for (const auto& [name, value] : read->remote_env) out += "remoteEnv " + name + "=" + value + "\n";
  for (const auto& mount : read->mounts)
    out += "mount " + mount.type + " " + mount.source + " " + mount.target + "\n";
  for (const auto& warning : read->warnings) out += "! " + warning + "\n";
  return out;
}

std::string outcome(const Result<Environment>& environment) {
  if (!environment) return environment.error().message;
  std::string out = environment->image + "\n";
  for (const auto& step : environment->setup)
    out += step.name + " " + std::to_string(step.timeout_ms) + " " + joined(step.argv) + "\n";
  for (const auto& entry : environment->env) out += entry + "\n";
  for (const auto& mount : environment->mounts) out += "mount " + mount.target + "\n";
  for (const auto& warning : environment->warnings) out += "! " + warning + "\n";
  return out;
}

Result<Environment> environment(std::string_view text, const EnvironmentSettings& settings = {}) {
  const auto read = parse_devcontainer(text);
  REQUIRE(read);
  return environment_of(*read, settings, a_spec());
}

}  // namespace

TEST_CASE("a devcontainer.json is JSON with comments and trailing commas") {
  CHECK(told("\xEF\xBB\xBF// For format details, see https://aka.ms/devcontainer.json\n"
             "{\n  /* the name */ \"name\": \"a // no comment, } either\",\n"
             "  \"image\": \"mcr.microsoft.com/devcontainers/base:debian\", // trailing\n"
             "  \"onCreateCommand\": [\"make\", \"a\\\"/*b*/\",],\n  \"customizations\": {\"vscode\": {}},\n}\n") ==
        "image mcr.microsoft.com/devcontainers/base:debian\nonCreateCommand = make|a\"/*b*/\n");
}

TEST_CASE("commands come as strings, arrays and objects, and run in the order of a container's life") {
  CHECK(told(R"({"postCreateCommand": {"web": "npm ci", "db server": ["make", "db"], "none": "", "web/": "x"},
                 "updateContentCommand": ["go", "mod", "download"], "onCreateCommand": "make deps && make tools"})") ==
        "image \n"
        "onCreateCommand = /bin/sh|-c|make deps && make tools\n"
        "updateContentCommand = go|mod|download\n"
        "postCreateCommand:web = /bin/sh|-c|npm ci\n"
        "postCreateCommand:db_server = make|db\n"
        "postCreateCommand:web_ = /bin/sh|-c|x\n");
  CHECK(told(R"({"postCreateCommand": {"a b": "1", "a/b": "2"}})") ==
        "image \npostCreateCommand:a_b = /bin/sh|-c|1\npostCreateCommand:a_b.2 = /bin/sh|-c|2\n");
}

TEST_CASE("what is not supported is named, never silently dropped") {
  CHECK(told(R"({"image": "x", "remoteUser": "vscode", "features": {"ghcr.io/devcontainers/features/go:1": {}},
                 "build": {"dockerfile": "Dockerfile"}, "forwardPorts": [80], "runArgs": ["--privileged"],
                 "initializeCommand": "rm -rf /", "postStartCommand": "x", "bad key\u001b[2J": 1,
                 "remoteEnv": {"GONE": null}, "mounts": []})") ==
        "image x\n! remoteEnv.GONE: null is not supported, and left out\n"
        "! remoteUser vscode: every command runs as uid 1000, without privileges\n"
        "! not supported, and left out: features, build, forwardPorts, runArgs, initializeCommand, postStartCommand, "
        "bad_key__2J\n");
}

TEST_CASE("variables and mounts") {
  CHECK(told(R"({"containerEnv": {"B": "2", "A": "1"}, "remoteEnv": {"PATH": "${containerEnv:PATH}:/x"},
                 "mounts": ["source=/var/run/docker.sock,target=/s,type=bind,readonly",
                            {"source": "cache", "target": "/c", "type": "volume"}]})") ==
        "image \ncontainerEnv B=2\ncontainerEnv A=1\nremoteEnv PATH=${containerEnv:PATH}:/x\n"
        "mount bind /var/run/docker.sock /s\nmount volume cache /c\n");
}

TEST_CASE("a wrong devcontainer.json says where and what") {
  CHECK(told("{\n\"image\": \"x\"\n\"name\": \"y\"}") == "is not JSON, at line 3");
  CHECK(told("") == "is not JSON, at line 1");
  CHECK(told("{\"a\": \"") == "is not JSON, at line 1");
  CHECK(told("/*") == "is not JSON, at line 1");
  CHECK(told("[1]") == "is not an object");
  CHECK(told(R"({"image": 7})") == "image is not a string");
  CHECK(told(R"({"image": "a\u0000b"})") == "image has a NUL");
  CHECK(told(R"({"onCreateCommand": 7})") == "onCreateCommand is not a string, an array or an object");
  CHECK(told(R"({"onCreateCommand": {"a": {"b": "c"}}})") == "onCreateCommand.a is not a string or an array");
  CHECK(told(R"({"onCreateCommand": ["", "x"]})") == "onCreateCommand names no program");
  CHECK(told(R"({"containerEnv": {"A-B": "x"}})") == "containerEnv: A-B is not a variable");
  CHECK(told(R"({"mounts": ["type=bind,source=/x"]})") == "mounts: an entry has no target");
}

TEST_CASE("a hostile devcontainer.json is bounded") {
  CHECK(told(std::string(kMaxDevcontainerBytes + 1, ' ')) == "is larger than 262144 bytes");
  CHECK(told(std::string(100'000, '[')) == "is nested deeper than 32");
  CHECK(told("[" + std::string(5000, ',') + "]") == "has more than 4000 values");
  CHECK(told("{\"a\": 1e999}") == "has a number that is too large");
  std::string many;
  for (int i = 0; i < 41; ++i) many += (many.empty() ? "" : ",") + ("\"" + std::to_string(i) + "\": \"x\"");
  CHECK(told("{\"onCreateCommand\": {" + many + "}}") == "there are more than 40 commands");
  CHECK_THAT(told("{" + many + "}"), Catch::EndsWith("39 and 1 more\n"));
  // Variables of variables: each twice the one before.
  std::string doubling = R"({"containerEnv": {"A0": "0123456789abcdef")";
  for (int i = 1; i < 60; ++i) {
    const std::string before = "${containerEnv:A" + std::to_string(i - 1) + "}";
    doubling += ", \"A" + std::to_string(i) + "\": \"" + before + before + "\"";
  }
  auto grown = environment(doubling + "}}");
  REQUIRE(grown);
  const auto done = substitute_variables(*grown, {});
  REQUIRE_FALSE(done);
  CHECK(done.error().code == Errc::invalid);
}

TEST_CASE("what a devcontainer becomes on a host") {
  EnvironmentSettings settings;
  settings.devcontainer_images = {{"acme/dev", "oci:/srv/muster/images/dev:1"}};
  SECTION("a name that the host maps to an image of its own, with commands, limits and variables") {
    auto made = environment(R"({"image": "acme/dev", "onCreateCommand": "make ${containerWorkspaceFolder}",
      "containerEnv": {"A": "1", "HOME": "/root", "T": "${localEnv:TOKEN}-${localEnv:X:y}"},
      "remoteEnv": {"PATH": "/x:${containerEnv:PATH}", "B": "${containerEnv:A}${containerEnv:FROM_IMAGE}"}})", settings);
    REQUIRE(made);
    REQUIRE(substitute_variables(*made, {"FROM_IMAGE=i", "PATH=/usr/bin"}));
    CHECK(outcome(made) == "oci:/srv/muster/images/dev:1\nsetup:onCreateCommand 60000 /bin/sh|-c|make /work\n"
                           "A=1\nT=-y\nPATH=/x:/usr/bin\nB=1i\n"
                           "! containerEnv.HOME: Muster sets it, and it is left out\n"
                           "! localEnv:TOKEN: nothing of this host's environment is given\n"
                           "! localEnv:X: nothing of this host's environment is given\n");
  }
  SECTION("any other name is one of a registry") {
    CHECK(outcome(environment(R"({"image": "node:20"})")) == "docker://docker.io/library/node:20\n");
    CHECK(outcome(environment(R"({"image": "acme/x"})")) == "docker://docker.io/acme/x:latest\n");
    CHECK(outcome(environment(R"({"image": "localhost:5000/x:1"})")) == "docker://localhost:5000/x:1\n");
    CHECK_THAT(outcome(environment(R"({"image": "--flag"})")), Catch::StartsWith("image: \"docker://docker.io/library/--flag\" is not"));
    CHECK_THAT(outcome(environment(R"({"image": "../../etc"})")), Catch::StartsWith("image: "));
  }
  SECTION("none is the host's, and that is said") {
    CHECK(outcome(environment(R"({"build": {"dockerfile": "x"}})")) ==
          "host\n! not supported, and left out: build\n! it names no image (building one is not supported): host is used\n");
  }
  SECTION("mounts are refused unless the host allows them") {
    const std::string bind = R"({"image": "acme/dev", "mounts": ["type=bind,source=/usr/share,target=/tmp/x/../share"]})";
    CHECK_THAT(outcome(environment(bind, settings)), Catch::StartsWith("mounts /usr/share: not below one of"));
    CHECK(environment(bind, settings).error().code == Errc::refused);
    settings.devcontainer_mounts = {"/usr/share"};
    CHECK(outcome(environment(bind, settings)) == "oci:/srv/muster/images/dev:1\nmount /tmp/share\n");
    settings.devcontainer_mounts = {"/usr/share/doc"};
    CHECK_FALSE(environment(bind, settings));
    settings.devcontainer_mounts = {"/usr"};
    for (const char* source : {"/usr/../etc", "/usr/share/../../etc", "relative", "", "/usr/none/at/all"}) {
      INFO(source);
      CHECK_FALSE(environment(R"({"mounts": [{"type": "bind", "source": ")" + std::string(source) +
                              R"(", "target": "/tmp/x"}]})", settings));
    }
    for (const char* target : {"/proc", "/", "/muster/in", "/work/x", "/tmp/../etc", "tmp/x", "/home/agent"}) {
      INFO(target);
      CHECK_FALSE(environment(R"({"mounts": [{"type": "bind", "source": "/usr", "target": ")" + std::string(target) +
                              R"("}]})", settings));
    }
    CHECK(outcome(environment(R"({"image": "acme/dev", "mounts": ["type=volume,source=a,target=/c"]})", settings)) ==
          "oci:/srv/muster/images/dev:1\n! mount at /c: only binds are supported; left out\n");
  }
}

TEST_CASE("an environment of the host has its image, variables and setup") {
  NamedEnvironment node;
  node.image = "docker://registry.acme.dev/node:20";
  node.env = {{"CI", "1"}};
  node.setup = {{"npm", "ci"}, {"make"}};
  CHECK(outcome(environment_of(node, a_spec())) ==
        "docker://registry.acme.dev/node:20\nsetup:env:1 60000 npm|ci\nsetup:env:2 60000 make\nCI=1\n");
  auto spec = a_spec();
  spec.image = "env:none";
  const auto none = resolve_environment({}, spec, "/", "");
  REQUIRE_FALSE(none);
  CHECK(none.error().code == Errc::not_found);
}

}  // namespace muster::sandbox::test
