// Orders to thousands of actors at once: how many, what was done, and who refused.
#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

#include "tests/integration/waiting_fleet.hpp"

using namespace muster;
using nlohmann::json;
using tests::ApiClient;
using tests::ApiReply;

namespace {

constexpr int kTaken = 100;
constexpr int kRuns = 2'000;

/// Fleet "large" has 2,000 runs; the names of a hundred of its repositories are held by fleet "bump", under other
/// addresses, so these runs fail at once and the others wait for a host.
struct Thousands : tests::WaitingFleet {
  Thousands() : WaitingFleet(kTaken) {
    begin_fleet("large", "/srv/other/acme", kRuns);
    until("/v1/fleets/large", [](const json& doc) {
      return doc.at("counts").at("queued") == kRuns - kTaken &&
             doc.at("counts").at("failed") == kTaken;
    });
  }

  [[nodiscard]] json order(const std::string& action, bool dry_run,
                           const std::string& key = ApiClient::new_key()) const {
    const ApiReply reply = api().post("/v1/operations",
                                      {{"action", action},
                                       {"select", {{"kind", "run"}, {"fleet", "large"}}},
                                       {"reason", "wrong fleet"},
                                       {"by", "ann"},
                                       {"dry_run", dry_run}},
                                      key);
    INFO(reply.body);
    REQUIRE(reply.status == 200);
    return reply.json();
  }
};

std::set<std::string> targets(const json& failures) {
  std::set<std::string> names;
  for (const json& failure : failures) names.insert(failure.at("target"));
  return names;
}

std::size_t refused_because(const json& failures, const std::string& why) {
  return static_cast<std::size_t>(
      std::count_if(failures.begin(), failures.end(), [&](const json& failure) {
        return failure.at("code") == "refused" &&
               failure.at("message").get<std::string>().find(why) != std::string::npos;
      }));
}

}  // namespace

TEST_CASE_METHOD(Thousands, "an order to thousands tells how many it was done to, and lists who refused") {
  std::set<std::string> failed;
  const json runs = get("/v1/runs?fleet=large&state=failed&limit=1000").at("runs");
  for (const json& run : runs)
    failed.insert("run/" + run.at("id").get<std::string>());
  REQUIRE(failed.size() == kTaken);

  const json would = order("cancel", true);
  CHECK(would.at("matched") == kRuns);
  CHECK(would.at("possible") == kRuns - kTaken);
  CHECK(would.at("done") == 0);
  CHECK(would.at("decides").at("messages").get<int>() >= kRuns - kTaken);
  CHECK(would.at("targets").size() == 20);
  CHECK(targets(would.at("failures")) == failed);
  CHECK(get("/v1/fleets/large").at("counts").at("queued") == kRuns - kTaken);

  const std::string key = ApiClient::new_key();
  for (int time = 1; time <= 2; ++time) {  // The second time it does nothing, and says the same.
    INFO("time " << time);
    const json did = order("cancel", false, key);
    CHECK(did.at("matched") == kRuns);
    CHECK(did.at("done") == kRuns - kTaken);
    CHECK(did.at("failed") == kTaken);
    CHECK(targets(did.at("failures")) == failed);
    CHECK(refused_because(did.at("failures"), "has ended: failed") == kTaken);
  }
  until("/v1/fleets/large", [](const json& doc) {
    return doc.at("counts").at("cancelled") == kRuns - kTaken &&
           doc.at("counts").at("failed") == kTaken;
  });
  const std::string run =
      get("/v1/runs?fleet=large&state=cancelled&limit=1").at("runs").at(0).at("id");
  const json journal = get("/v1/actors/run/" + run + "/journal").at("consumed");
  CHECK(std::count_if(journal.begin(), journal.end(), [](const json& step) {
          return step.at("type") == "CancelRun";
        }) == 1);

  // All of them refuse: each is counted, the first thousand are listed.
  const json none = order("release", false);
  CHECK(none.at("done") == 0);
  CHECK(none.at("failed") == kRuns);
  CHECK(none.at("failures").size() == 1'000);
  CHECK(refused_because(none.at("failures"), "it stands on no host") == 1'000);
}
