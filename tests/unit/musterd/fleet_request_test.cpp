#include <catch2/catch.hpp>

#include "storage/base/ids.hpp"
#include "tools/musterd/fleet_request.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

Json repository(const std::string& url) {
  const auto name = parse_repository(url, "/");
  return {{"repository", name->owner_name}, {"url", url}, {"canonical_url", name->canonical_url}};
}

Json body() {
  return {
      {"spec",
       {{"name", "bump"},
        {"repositories", {{{"path", "/srv/git/*.git"}}}},
        {"agent", {{"run", "true"}}}}},
      {"repositories", {repository("/srv/git/acme/api.git"), repository("/srv/git/acme/web.git")}}};
}

std::string refusal_of(const Json& request) {
  const auto read = read_fleet_request(request);
  REQUIRE(!read);
  CHECK(read.error().code == Errc::invalid);
  return read.error().message;
}

}  // namespace

TEST_CASE("a whole request is read, and means the same whatever its spelling") {
  const auto first = read_fleet_request(body());
  REQUIRE(first);
  CHECK(first->repositories == 2);
  CHECK(!first->dry_run);
  Json spelled = body();
  spelled["spec"]["rollout"] = {{"concurrency", 50}};  // The default.
  spelled["author"] = "alice";
  const auto second = read_fleet_request(spelled);
  REQUIRE(second);
  CHECK(actors::fleet_digest(first->digests(), false) ==
        actors::fleet_digest(second->digests(), false));
  spelled["repositories"].erase(1);
  CHECK(actors::fleet_digest(read_fleet_request(spelled)->digests(), false) !=
        actors::fleet_digest(first->digests(), false));
}

TEST_CASE("all problems of a spec are told at once, each with its place") {
  Json wrong = body();
  wrong["spec"]["rolout"] = 1;
  wrong["spec"]["agent"]["timeout"] = "soon";
  const std::string why = refusal_of(wrong);
  INFO(why);
  CHECK(why.find("/rolout: ") != std::string::npos);
  CHECK(why.find("/agent/timeout: ") != std::string::npos);
}

TEST_CASE("repositories are what their URLs say, once each") {
  Json none = body();
  none["repositories"] = Json::array();
  CHECK(refusal_of(none) == "'repositories' must list at least one repository");

  Json twice = body();
  twice["repositories"][1] = twice["repositories"][0];
  CHECK(refusal_of(twice) == "repository acme/api is listed twice");

  Json namesakes = body();
  namesakes["repositories"][1] = repository("/backup/acme/api.git");
  CHECK(refusal_of(namesakes).find("two repositories are called acme/api: ") == 0);

  Json lie = body();
  lie["repositories"][1]["repository"] = "acme/other";
  CHECK(refusal_of(lie).find(
            "repositories[1]: the URL /srv/git/acme/web.git is repository acme/web") == 0);

  Json secret = body();
  secret["repositories"][0]["url"] = "https://user:password@example.org/acme/api.git";
  const std::string why = refusal_of(secret);
  CHECK(why.find("password@") == std::string::npos);
}

TEST_CASE("wrong types are refused") {
  for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{{"spec", 1},
                                                                            {"repositories", "x"},
                                                                            {"agent_bundle", "abc"},
                                                                            {"dry_run", "yes"},
                                                                            {"author", 3}}) {
    Json wrong = body();
    wrong[key] = value;
    INFO(key);
    CHECK(!refusal_of(wrong).empty());
  }
  Json labels = body();
  labels["repositories"][0]["labels"] = {{"team", 1}};
  CHECK(refusal_of(labels) == "repositories[0]: label 'team' must be text");
}

TEST_CASE("differences name what changed") {
  const auto old = read_fleet_request(body());
  Json changed = body();
  changed["spec"]["rollout"] = {{"concurrency", 20}};
  changed["repositories"].erase(1);
  changed["dry_run"] = true;
  const auto now = read_fleet_request(changed);
  REQUIRE(now);
  const auto create =
      actors::make_create_fleet(old->spec, old->digests(), 2, "", false, Instant{1});
  CHECK(fleet_differences(*now, create, old->spec_json, old->snapshot) ==
        std::vector<std::string>{"rollout.concurrency: 50 -> 20",
                                 "repositories: 1 fewer: " +
                                     parse_repository("/srv/git/acme/web.git", "/")->canonical_url,
                                 "dry run: false -> true"});
}
