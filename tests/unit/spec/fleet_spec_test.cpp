#include "actors/spec/fleet_spec.hpp"

#include <catch2/catch.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "actors/spec/schema.hpp"

namespace muster::actors {
namespace {

using nlohmann::json;

constexpr const char* kMinimal =
    R"({"name":"x","repositories":[{"path":"/srv/git/*.git"}],"agent":{"run":"true"}})";

constexpr const char* kWhole = R"({
  "version": 1, "name": "libgreet-2", "prompt": "Move libgreet 1.x to 2.0",
  "repositories": [{"file": "repos.txt"}, {"path": "/srv/git/*.git"},
    {"url": "https://git.acme.dev/acme/api.git", "base_branch": "release-2", "labels": {"team": "payments"}}],
  "exclude": ["acme/legacy-*"],
  "environment": {"image": "oci:/images/node:20", "setup": ["npm ci", ["make", "deps"]], "env": {"CI": "true"},
    "secrets": ["MODEL_KEY"], "network": "host",
    "files": [{"source": "ci/npmrc", "path": "/home/agent/.npmrc", "mode": "0600", "owner": "root"}],
    "resources": {"cpus": 0.5, "memory": "1GiB", "pids": 100, "disk": "512MiB"}},
  "workspace": {"repositories": [{"name": "protocol", "path": "/srv/git/proto.git"},
    {"url": "https://git.acme.dev/acme/lib.git", "base_branch": "main"}]},
  "agent": {"run": "./bump.sh", "files": ["lib/"], "timeout": "90s", "idle_timeout": "0s"},
  "checkpoint": {"interval": "30s", "resume": false},
  "verify": [{"name": "tests", "run": "npm test", "if_exists": "package.json", "timeout": "10m"}],
  "rollout": {"waves": [5, "10%", "100%"], "concurrency": 20, "halt": {"failure_rate": "12.5%", "min_runs": 3},
    "priority": -1, "retry": {"max_attempts": 2, "on": ["delivery"], "backoff": "1s", "max_backoff": "1m"},
    "timeout": "1h", "escalate": ["alice"]},
  "delivery": {"mode": "branch", "branch": "muster/libgreet-2", "conflict_strategy": "replace",
    "commit": {"message": "Use libgreet 2.0", "author": "A B <a@b.c>", "manual": true},
    "pull_request": {"title": "T", "body": "B", "draft": true, "labels": ["l"], "reviewers": ["r"], "assignees": ["a"]}}
})";

std::string problems_of(const std::string& text) {
  const auto spec = parse_fleet(text);
  if (spec) return "none\n";
  std::string out;
  for (const Problem& p : spec.error())
    out += dotted(p.pointer) + (p.at_key ? " (key)" : "") + ": " + p.message + "\n";
  return out;
}

/// kMinimal with the value at `pointer` set.
std::string with(const std::string& pointer, const json& value) {
  json document = json::parse(kMinimal);
  document[json::json_pointer(pointer)] = value;
  return document.dump();
}

TEST_CASE("a minimal file gets every default, and they are the struct's") {
  const auto spec = parse_fleet(kMinimal);
  REQUIRE(spec);
  FleetSpec expected;
  expected.name = "x";
  expected.repositories = {{RepositorySource::Kind::path, "/srv/git/*.git", "", {}}};
  expected.agent.run.shell = "true";
  expected.delivery.branch = "muster/x";
  CHECK(*spec == expected);
  CHECK(json::parse(to_canonical_json(*spec)).dump(1) == json::parse(R"({
    "version": 1, "name": "x", "prompt": "", "repositories": [{"path": "/srv/git/*.git"}], "exclude": [],
    "environment": {"image": "host", "setup": [], "env": {}, "secrets": [], "network": "none",
      "resources": {"cpus": 1, "memory": "2GiB", "pids": 512, "disk": "4GiB"}},
    "agent": {"run": "true", "files": [], "timeout": "20m", "idle_timeout": "10m"},
    "verify": [],
    "rollout": {"waves": [5, "10%", "100%"], "concurrency": 50, "halt": {"failure_rate": "20%", "min_runs": 10},
      "priority": 0, "retry": {"max_attempts": 3, "on": ["infrastructure", "agent", "verification"],
        "backoff": "10s", "max_backoff": "5m"}, "timeout": "1d", "escalate": []},
    "delivery": {"mode": "pull_request", "branch": "muster/x", "conflict_strategy": "skip",
      "commit": {"message": "", "author": "Muster <muster@localhost>", "manual": false},
      "pull_request": {"title": "", "body": "", "draft": false, "labels": [], "reviewers": [], "assignees": []}}
  })")
                                                             .dump(1));
}

TEST_CASE("the canonical form reads back as the same fleet") {
  for (const char* text : {kMinimal, kWhole}) {
    const auto spec = parse_fleet(text);
    REQUIRE(problems_of(text) == "none\n");
    const std::string canonical = to_canonical_json(*spec);
    REQUIRE(problems_of(canonical) == "none\n");
    CHECK(*parse_fleet(canonical) == *spec);
    CHECK(to_canonical_json(*parse_fleet(canonical)) == canonical);
  }
}

/// Every property path that a schema allows, lists as [].
void collect_schema_keys(const json& schema, const std::string& at, std::set<std::string>& keys) {
  const json properties = schema.value("properties", json::object());
  for (const auto& [name, property] : properties.items()) {
    keys.insert(at + name);
    collect_schema_keys(property, at + name + ".", keys);
    if (property.contains("items")) collect_schema_keys(property["items"], at + name + "[].", keys);
  }
}

void collect_json_keys(const json& value, const std::string& at, std::set<std::string>& keys) {
  if (value.is_array())
    for (const json& item : value) collect_json_keys(item, at, keys);
  if (!value.is_object()) return;
  for (const auto& [name, child] : value.items()) {
    keys.insert(at + name);
    if (name != "labels" && name != "env")
      collect_json_keys(child, at + name + (child.is_array() ? "[]." : "."), keys);
  }
}

TEST_CASE("schema and FleetSpec have the same keys") {
  std::set<std::string> in_schema, in_spec;
  collect_schema_keys(json::parse(fleet_schema()), "", in_schema);
  collect_json_keys(json::parse(to_canonical_json(*parse_fleet(kWhole))), "", in_spec);
  CHECK(in_schema == in_spec);
}

TEST_CASE("the schema's defaults are those of FleetSpec") {
  const json canonical = json::parse(to_canonical_json(*parse_fleet(kMinimal)));
  std::function<std::size_t(const json&, const json&)> check = [&](const json& schema,
                                                                   const json& value) {
    std::size_t checked = 0;
    const json properties = schema.value("properties", json::object());
    for (const auto& [name, property] : properties.items()) {
      INFO(name);
      if (property.contains("default") && name != "timeout") {
        CHECK(property["default"] == value.at(name));
        ++checked;
      }
      if (value.contains(name)) checked += check(property, value[name]);
    }
    return checked;
  };
  CHECK(check(json::parse(fleet_schema()), canonical) == 22);
}

TEST_CASE("what the reader refuses the schema refuses too, where a schema can say it") {
  const std::vector<std::pair<std::string, json>> wrong{
      {"/version", 2},
      {"/name", "Big"},
      {"/name", 7},
      {"/prompt", 1},
      {"/repositories", json::array()},
      {"/repositories/0", {{"path", "a"}, {"url", "b"}}},
      {"/repositories/0", "acme/api"},
      {"/repositories/0/labels", {{"a", 1}}},
      {"/exclude", "a"},
      {"/environment", {{"image", "docker"}}},
      {"/environment", {{"image", "docker://host"}}},
      {"/environment", {{"image", "docker://host/name:"}}},
      {"/environment", {{"image", "env:a/b"}}},
      {"/environment", {{"image", "dir:"}}},
      {"/environment", {{"env", {{"1A", "x"}}}}},
      {"/environment", {{"env", {{"A", true}}}}},
      {"/environment", {{"secrets", {"a b"}}}},
      {"/environment", {{"network", "some"}}},
      {"/environment", {{"files", {"ci/npmrc"}}}},
      {"/environment", {{"files", {{{"source", "a"}}}}}},
      {"/environment", {{"files", {{{"source", "a"}, {"path", "/etc/passwd"}}}}}},
      {"/environment", {{"files", {{{"source", "a"}, {"path", "/tmp/../etc/x"}}}}}},
      {"/environment", {{"files", {{{"source", "a"}, {"path", "/tmp/x"}, {"mode", "4755"}}}}}},
      {"/environment", {{"files", {{{"source", "a"}, {"path", "/tmp/x"}, {"mode", 644}}}}}},
      {"/environment", {{"files", {{{"source", "a"}, {"path", "/tmp/x"}, {"owner", "ann"}}}}}},
      {"/environment", {{"resources", {{"memory", "2GB"}}}}},
      {"/environment", {{"resources", {{"cpus", "two"}}}}},
      {"/workspace", {{"repositories", {"a"}}}},
      {"/workspace", {{"repositories", {{{"name", "a"}}}}}},
      {"/workspace", {{"repositories", {{{"path", "a"}, {"url", "b"}}}}}},
      {"/workspace", {{"repositories", {{{"path", "a"}, {"name", "../a"}}}}}},
      {"/workspace", {{"repositories", {{{"path", "a"}, {"branch", "b"}}}}}},
      {"/checkpoint", {{"interval", "often"}}},
      {"/checkpoint", {{"interval", 5}}},
      {"/checkpoint", {{"resume", "yes"}}},
      {"/checkpoint", true},
      {"/agent/run", 1},
      {"/agent/run", " "},
      {"/agent/run", json::array()},
      {"/agent/timeout", 20},
      {"/agent/timeout", "soon"},
      {"/agent/rum", "x"},
      {"/verify", {{{"name", "a/b"}, {"run", "x"}}}},
      {"/verify", {{{"run", "x"}}}},
      {"/rollout", {{"waves", {"120%"}}}},
      {"/rollout", {{"waves", {0}}}},
      {"/rollout", {{"concurrency", 0}}},
      {"/rollout", {{"halt", {{"failure_rate", 20}}}}},
      {"/rollout", {{"retry", {{"on", {"bad luck"}}}}}},
      {"/delivery", {{"mode", "mail"}}},
      {"/delivery", {{"commit", {{"author", "nobody"}}}}},
      {"/delivery", {{"pull_request", {{"draft", "yes"}}}}}};
  for (const auto& [pointer, value] : wrong) {
    const std::string text = with(pointer, value);
    INFO(text);
    CHECK_FALSE(schema_problems(text).empty());
    CHECK_FALSE(parse_fleet(text));
  }
  CHECK(schema_problems(kMinimal).empty());
  CHECK(schema_problems(kWhole).empty());
}

TEST_CASE("other repositories are named after where they are, each otherwise") {
  const auto spec = parse_fleet(with(
      "/workspace", {{"repositories", {{{"url", "git@git.acme.dev:acme/lib.git"}}, {{"path", "/srv/proto/"}}}}}));
  REQUIRE(spec);
  REQUIRE(spec->workspace.size() == 2);
  CHECK(spec->workspace[0] == WorkspaceRepository{"lib", "git@git.acme.dev:acme/lib.git", false, ""});
  CHECK(spec->workspace[1].name == "proto");
  CHECK(problems_of(with("/workspace", {{"repositories", {{{"path", "/a/lib"}}, {{"path", "/b/lib.git"}}}}})) ==
        "workspace.repositories[1]: \"lib\" names two repositories: give one of them another name\n");
  CHECK(problems_of(with("/workspace", {{"repositories", {{{"path", "/a/.git"}}}}}))
            .starts_with("workspace.repositories[0]: \"\" is no name"));
}

TEST_CASE("checkpoints are off without their key, and every five minutes with it") {
  CHECK(parse_fleet(kMinimal)->checkpoint == CheckpointPolicy{});
  CHECK(parse_fleet(with("/checkpoint", json::object()))->checkpoint == CheckpointPolicy{kCheckpointInterval, true});
  CHECK(problems_of(with("/checkpoint", {{"interval", "10ms"}})).starts_with("checkpoint.interval: "));
}

TEST_CASE("context files: where they may lie, whose they may be") {
  const auto files = [](const char* text) {
    return problems_of(with("/environment", {{"files", json::parse(text)}}));
  };
  CHECK(files(R"([{"source": "a", "path": "/home/agent/.config/x"}, {"source": "b", "path": "/tmp/y", "mode": "755"}])") ==
        "none\n");
  CHECK(files(R"([{"source": "../a", "path": "/work/x"}, {"source": "a", "path": "/home/agent/../../etc/x"},
                  {"source": "/etc/shadow", "path": "/home/agent/"}, {"source": "a", "path": "/tmp//x", "mode": 600},
                  {"source": "a", "path": "/tmp/x", "mode": "1777", "owner": "nobody"}, {"source": "b", "path": "/tmp/x", "moed": "0644"}])") ==
        R"(environment.files[0].source: must be a path at or below the fleet file's directory
environment.files[0].path: "/work/x" must be a whole path below /home/agent or /tmp
environment.files[1].path: "/home/agent/../../etc/x" must be a whole path below /home/agent or /tmp
environment.files[2].source: must be a path at or below the fleet file's directory
environment.files[2].path: "/home/agent/" must be a whole path below /home/agent or /tmp
environment.files[3].path: "/tmp//x" must be a whole path below /home/agent or /tmp
environment.files[3].mode: must be permissions in quotes, like "0644" or "0755"
environment.files[4].mode: must be permissions in quotes, like "0644" or "0755"
environment.files[4].owner: "nobody" is not one of agent, root
environment.files[5].moed (key): unknown key "moed"; did you mean "mode"?
environment.files[5].path: "/tmp/x" is named twice
)");
  const std::string text = with("/environment", {{"files", {{{"source", "a"}, {"path", "/tmp/x"}}}}});
  const auto spec = parse_fleet(text);
  REQUIRE(spec);
  CHECK(json::parse(to_canonical_json(*spec)).at("environment").at("files") ==
        json::parse(R"([{"source": "a", "path": "/tmp/x", "mode": "0644", "owner": "agent"}])"));
}

TEST_CASE("an image is the host's, the repository's, one with a name, a path's or a registry's") {
  for (const char* image : {"host", "devcontainer", "env:node-20", "dir:/srv/x", "tar:x.tar", "oci:x:1",
                            "docker://ghcr.io/acme/x:1.0"}) {
    const std::string text = with("/environment", {{"image", image}});
    INFO(text);
    CHECK(problems_of(text) == "none\n");
    CHECK(schema_problems(text).empty());
  }
}

TEST_CASE("several problems are reported at once, each with what was meant") {
  CHECK(problems_of(R"({
    "nmae": "x", "version": 2, "repositories": [{"path": "a", "url": "b"}, {"label": {}}, "acme/api"],
    "environment": {"env": {"CI": true, "MUSTER_X": "1"}, "resources": {"memory": "2GB"}},
    "agent": {"timout": "20m", "idle_timeout": 10},
    "verify": [{"name": "t", "run": "x", "if_exists": "../a"}, {"name": "t", "run": "y"}],
    "rollout": {"waves": [5, "120%"], "halt": {"failure_rate": 0.2}, "concurrency": "many"},
    "delivery": {"mode": "mail", "branch": "a..b", "commit": {"author": "me"}, "pull_request": null}
  })") == R"(version: must be 1, not 2
: "name" is missing
repositories[0]: must have exactly one of path, file and url
repositories[1].label (key): unknown key "label"; did you mean "labels"?
repositories[1]: must have exactly one of path, file and url
repositories[2]: say what it is: "path: ...", "url: ..." or "file: ..."
environment.env.CI: must be text, not true: put it in quotes, "true"
environment.env.MUSTER_X (key): MUSTER_X is set by Muster itself
environment.resources.memory: "2GB" is not a size like 512MiB or 2GiB: units are KiB, MiB, GiB, TiB
agent: "run" is missing
agent.idle_timeout: must be a duration like 90s, 20m or 24h, not the number 10
agent.timout (key): unknown key "timout"; did you mean "timeout"?
verify[0].if_exists: must be a path inside the repository
verify[1].name: "t" names two verifications
rollout.waves[1]: 120% is over 100%
rollout.concurrency: must be a whole number, not text
rollout.halt.failure_rate: "0.2" is not a percentage like 20% or 0.5%
delivery.mode: "mail" is not one of pull_request, branch, none
delivery.branch: "a..b" is not a branch name that git accepts
delivery.commit.author: must look like "Name <name@example.org>"
delivery.pull_request: has no value: give one, or leave the key out
nmae (key): unknown key "nmae"; did you mean "name"?
)");
}

TEST_CASE("an unknown key that resembles none is told with all that are known, each once") {
  CHECK(problems_of(with("/colour", "red")) ==
        "colour (key): unknown key \"colour\"; known here: version, name, prompt, repositories, "
        "exclude, workspace, environment, agent, checkpoint, verify, rollout, delivery\n");
}

TEST_CASE("waves are cumulative and end with everything") {
  CHECK(problems_of(with("/rollout", {{"waves", {5, 3, "100%"}}})) ==
        "rollout.waves[1]: waves are cumulative: this one must be larger than the one before\n");
  CHECK(problems_of(with("/rollout", {{"waves", {"10%", "50%"}}})) ==
        "rollout.waves: the last wave must be 100%, so that every repository has its turn\n");
  CHECK(problems_of(with("/rollout", {{"waves", {1, "5%", 50, "100%"}}})) == "none\n");
}

TEST_CASE("hostile input is refused, not believed") {
  CHECK(problems_of("{") == ": is not valid JSON\n");
  CHECK(problems_of("[]") == ": must be a mapping (key: value), not a list\n");
  CHECK(problems_of(std::string(kMaxSpecBytes + 1, ' ')) == ": is larger than 1MiB\n");
  CHECK(problems_of(R"({"name":"x","repositories":[{"path":"a"}],"agent":{"run":"a\u0000b"}})") ==
        "agent.run: must not hold a NUL character\n");
  CHECK(problems_of("{\"name\":\"\xff\"}") == ": is not valid JSON\n");
}

TEST_CASE("differences name what changed") {
  CHECK(
      differences(R"({"name":"x","rollout":{"concurrency":50},"verify":[]})",
                  R"({"name":"x","rollout":{"concurrency":20},"verify":[{"name":"t"}]})") ==
      std::vector<std::string>{"rollout.concurrency: 50 -> 20", R"(verify: [] -> [{"name":"t"}])"});
}

}  // namespace
}  // namespace muster::actors
