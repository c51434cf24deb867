#include "actors/spec/derive.hpp"

#include <catch2/catch.hpp>

namespace muster::actors {
namespace {

constexpr const char* kFleet = R"({
  "name": "libgreet-2", "prompt": "Move libgreet 1.x to 2.0\nand prove it",
  "repositories": [{"path": "/srv/git/*.git"}],
  "environment": {"setup": ["npm ci"], "env": {"CI": "true"}, "secrets": ["KEY"], "resources": {"cpus": 2}},
  "agent": {"run": ["sh", "-c", "exec \"$0\"", "a b"], "timeout": "1m", "idle_timeout": "30s"},
  "verify": [{"name": "tests", "run": "npm test", "if_exists": "package.json", "timeout": "2m"}],
  "rollout": {"waves": [5, "10%", "100%"], "timeout": "1h", "escalate": ["alice"], "retry": {"on": ["agent", "delivery"]}},
  "delivery": {"commit": {"message": "Use libgreet 2.0"}, "pull_request": {"body": "Please read.", "labels": ["auto"]}}
})";

std::string join(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& p : parts) out += (out.empty() ? "" : "|") + p;
  return out;
}

TEST_CASE("the message that makes a fleet") {
  const auto spec = parse_fleet(kFleet);
  REQUIRE(spec);
  const auto create = make_create_fleet(*spec, {"s", "n", "b"}, 500, "bob", true, Instant{1'000});
  CHECK(create.spec_digest == "s");
  CHECK(create.snapshot_digest == "n");
  CHECK(create.agent_bundle == "b");
  CHECK(create.repositories == 500);
  CHECK(create.waves == std::vector<std::uint32_t>{0, 100, 1000});
  CHECK(create.wave_counts == std::vector<std::uint32_t>{5, 0, 0});
  CHECK(create.halt_permille == 200);
  CHECK(create.timeout_ms == 3'600'000);
  CHECK(create.title == "Use libgreet 2.0");
  CHECK(create.body == "Please read.\n\n> Move libgreet 1.x to 2.0\n> and prove it");
  CHECK(create.author == "bob");
  const auto& policy = *create.policy;
  CHECK(policy.attempt_timeout_ms == (10 + 1 + 1 + 2) * 60'000);
  CHECK(policy.deadline_unix_ms == 3'601'000);
  CHECK(policy.retry_on == std::vector{fbs::FailureClass::agent, fbs::FailureClass::delivery});
  CHECK(policy.branch == "muster/libgreet-2");
  CHECK(policy.dry_run);
  CHECK(policy.cpus_milli == 2000);
  CHECK(policy.memory_bytes == 2ull << 30);
  CHECK(join(policy.escalate) == "alice");
}

TEST_CASE("a fleet's digest changes with each part, and with a dry run") {
  const std::string base = fleet_digest({"a", "b", "c"}, false);
  CHECK(base == fleet_digest({"a", "b", "c"}, false));
  for (const auto& other :
       {FleetDigests{"x", "b", "c"}, FleetDigests{"a", "x", "c"}, FleetDigests{"a", "b", ""}})
    CHECK(fleet_digest(other, false) != base);
  CHECK(fleet_digest({"a", "b", "c"}, true) != base);
}

TEST_CASE("titles and messages fall back on the intent, then on the name") {
  FleetSpec spec;
  spec.name = "x";
  CHECK(commit_message(spec) == "x");
  CHECK(pull_body(spec).empty());
  spec.prompt = "Do this.\nThat way.";
  CHECK(commit_message(spec) == "Do this.");
  CHECK(pull_title(spec) == "Do this.");
  spec.delivery.commit.message = "Subject\n\nBecause.";
  CHECK(pull_title(spec) == "Subject");
  CHECK(pull_body(spec) == "Because.\n\n> Do this.\n> That way.");
  spec.delivery.pull_request.title = "T";
  CHECK(pull_title(spec) == "T");
}

fbs::StartSandboxT start_of(std::uint32_t attempt) {
  fbs::StartSandboxT start;
  start.host = "h1";
  start.run = "7K2MABCDEFGHJ";
  start.epoch = std::make_unique<wire::Epoch>(1, attempt, 9);
  start.fleet = "libgreet-2";
  start.repository = "acme/api";
  start.url = "/srv/git/acme/api.git";
  start.base_branch = "main";
  start.branch = "muster/libgreet-2";
  start.labels_json = R"({"team":"payments"})";
  start.agent_bundle = "b";
  start.deadline_unix_ms = 1'000'000'000;
  return start;
}

std::unique_ptr<wire::SandboxSpecT> sandbox_of(std::string_view fleet, const fbs::StartSandboxT& start) {
  const auto spec = stored_fleet(fleet);
  REQUIRE(spec);
  return std::make_unique<wire::SandboxSpecT>(sandbox_spec_of(*spec, start));
}

TEST_CASE("the sandbox of an attempt") {
  const auto made = sandbox_of(kFleet, start_of(2));
  CHECK(made->run == "7K2MABCDEFGHJ");
  CHECK(made->attempt == 2);
  CHECK(made->repository == "acme/api");
  CHECK(made->branch == "muster/libgreet-2");
  CHECK(made->image == "host");
  CHECK(made->network == wire::Network::none);
  CHECK(made->cpus_milli == 2000);
  CHECK(made->disk_bytes == 4ull << 30);
  CHECK(made->verify_required);
  CHECK(made->secrets == std::vector<std::string>{"KEY"});
  REQUIRE(made->env.size() == 1);
  CHECK(made->env[0]->key + "=" + made->env[0]->value == "CI=true");
  std::string steps;
  for (const auto& s : made->steps)
    steps += s->name + " [" + join(s->argv) + "] " + std::to_string(s->timeout_ms) + " " +
             std::to_string(s->idle_timeout_ms) + " " + s->if_exists + "\n";
  CHECK(steps ==
        "setup:1 [bash|-eo|pipefail|-c|npm ci] 60000 30000 \n"
        "agent [sh|-c|exec \"$0\"|a b] 60000 30000 \n"
        "verify:tests [bash|-eo|pipefail|-c|npm test] 120000 0 package.json\n");
  CHECK(made->commit->message ==
        "Use libgreet 2.0\n\nMuster-Fleet: libgreet-2\nMuster-Run: 7K2MABCDEFGHJ\n");
  CHECK(made->commit->author_name + " " + made->commit->author_email == "Muster muster@localhost");
  CHECK(made->commit->date_unix_ms == 1'000'000'000 - 14 * 60'000);
  CHECK(made->context_json == R"({
  "attempt": 2,
  "dry_run": false,
  "fleet": "libgreet-2",
  "labels": {
    "team": "payments"
  },
  "limits": {
    "cpus": 2.0,
    "disk_bytes": 4294967296,
    "idle_timeout_s": 30,
    "memory_bytes": 2147483648,
    "network": "none",
    "pids": 512,
    "timeout_s": 60
  },
  "repository": {
    "base_branch": "main",
    "branch": "muster/libgreet-2",
    "name": "acme/api"
  },
  "run": "7K2MABCDEFGHJ"
}
)");
}

TEST_CASE("trailers join a block of trailers that is already there") {
  std::string fleet = kFleet;
  const std::string old = "\"Use libgreet 2.0\"";
  fleet.replace(fleet.find(old), old.size(),
                R"("fix: greet\n\nBecause.\n\nSigned-off-by: A <a@b>")");
  const auto made = sandbox_of(fleet, start_of(1));
  CHECK(made->commit->message ==
        "fix: greet\n\nBecause.\n\nSigned-off-by: A <a@b>\nMuster-Fleet: libgreet-2\nMuster-Run: "
        "7K2MABCDEFGHJ\n");
}

TEST_CASE("a stored file that is not valid is corrupt, and says where") {
  const auto made = stored_fleet(R"({"name":"x","repositories":[{"path":"a"}],"agent":{}})");
  REQUIRE_FALSE(made);
  CHECK(made.error() ==
        Error{Errc::corrupt, "the stored fleet file is not valid: agent \"run\" is missing"});
}

}  // namespace
}  // namespace muster::actors
