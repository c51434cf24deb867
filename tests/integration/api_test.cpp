// musterd whole, without a host: the real engine, journal and ports behind the real server on a
// unix socket. What needs no sandbox is shown here; the rest in tests/e2e.
#include <catch2/catch.hpp>

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "storage/base/files.hpp"
#include "tests/integration/api_client.hpp"
#include "tools/musterd/app.hpp"
#include "tools/musterd/check.hpp"
#include "tools/musterd/offline.hpp"

using namespace muster;
using nlohmann::json;
using tests::ApiClient;
using tests::ApiReply;

namespace {

struct Installation {
  Installation() {
    char name[] = "/tmp/muster-it-XXXXXX";
    root = ::mkdtemp(name);
    config.paths = Paths{root};
    config.link_address = "127.0.0.1:0";
    begin();
  }
  ~Installation() {
    app.reset();
    std::filesystem::remove_all(root);
  }
  Installation(const Installation&) = delete;
  Installation& operator=(const Installation&) = delete;

  void begin() {
    auto started = musterd::App::start(config);
    if (!started) FAIL(started.error().message);
    app = std::move(*started);
  }
  void restart() {
    app.reset();
    begin();
  }
  [[nodiscard]] ApiClient api() const { return ApiClient(config.paths.socket()); }

  /// Asks until `done` says so: every answer is committed state.
  template <class Done>
  json until(const std::string& path, Done done) const {
    for (;;) {
      const ApiReply reply = api().get(path);
      INFO(reply.body);
      REQUIRE(reply.status == 200);
      if (json document = reply.json(); done(document)) return document;
      std::this_thread::yield();
    }
  }

  std::filesystem::path root;
  musterd::Config config;
  std::unique_ptr<musterd::App> app;
};

json fleet(const std::string& name, int repositories) {
  json list = json::array();
  for (int i = 0; i < repositories; ++i) {
    const std::string repository = "acme/r" + std::to_string(i);
    const auto parsed = parse_repository("/srv/git/" + repository + ".git", "/");
    list.push_back({{"repository", parsed->owner_name},
                    {"url", parsed->fetch_url},
                    {"canonical_url", parsed->canonical_url},
                    {"labels", {{"n", std::to_string(i)}}}});
  }
  return {{"spec",
           {{"name", name},
            {"repositories", {{{"path", "/srv/git/*/*.git"}}}},
            {"agent", {{"run", "true"}}},
            {"rollout", {{"waves", {2, "100%"}}}}}},
          {"repositories", list},
          {"author", "alice"}};
}

const auto kAllThere = [](const json& f) {
  return f.at("created") == f.at("total") && f.at("counts").at("queued") == 2;
};

}  // namespace

TEST_CASE_METHOD(Installation, "a fleet is made, waits for hosts, and says so") {
  const ApiReply created = api().post("/v1/fleets", fleet("bump", 5));
  INFO(created.body);
  REQUIRE(created.status == 201);
  CHECK(created.json().at("total") == 5);
  const json status = until("/v1/fleets/bump", [](const json& f) {
    return kAllThere(f) && f.at("why_waiting").value("no_host", 0) == 2;
  });
  CHECK(status.at("why_waiting") == json({{"no_host", 2}, {"wave", 3}}));
  CHECK(status.at("state") == "running");

  const json runs = api().get("/v1/fleets/bump/runs?state=queued").json();
  REQUIRE(runs.at("runs").size() == 2);
  const std::string id = runs.at("runs").at(0).at("id");
  const json run = api().get("/v1/runs/" + id.substr(0, 6)).json();
  CHECK(run.at("id") == id);
  CHECK(!run.at("why").get<std::string>().empty());
  CHECK(api().get("/v1/runs/bump%2Facme%2Fr4").json().at("waiting_for") == "wave");
  CHECK(api().get("/v1/fleets/bump/report").json().at("outcomes").at("waiting") == 3);
  CHECK(api().get("/v1/fleets/bump/spec").json().at("name") == "bump");
  CHECK(api().get("/v1/runs/" + id + "/logs").body.empty());
  CHECK(api().get("/metrics").body.find("muster_runs{state=\"queued\"} 2") != std::string::npos);
  CHECK(api().get("/healthz/ready").status == 200);
}

TEST_CASE_METHOD(Installation,
                 "a repeat gets the same reply, another body under one key is refused") {
  const std::string key = ApiClient::new_key();
  CHECK(api().post("/v1/fleets", fleet("bump", 2), key).status == 201);
  CHECK(api().post("/v1/fleets", fleet("bump", 2), key).status == 201);
  CHECK(api().post("/v1/fleets", fleet("bump", 2)).status == 200);
  const ApiReply reused = api().post("/v1/fleets", fleet("other", 2), key);
  INFO(reused.body);
  CHECK(reused.status == 422);
  CHECK(reused.json().at("type") == "https://muster.dev/problems/idempotency-key-reused");

  const ApiReply other = api().post("/v1/fleets", fleet("bump", 3));
  INFO(other.body);
  CHECK(other.status == 409);
  CHECK(other.json().at("detail").get<std::string>().find("repositories: 1 more: ") !=
        std::string::npos);
  CHECK(until("/v1/fleets/bump", kAllThere).at("total") == 2);
}

TEST_CASE_METHOD(Installation, "an operator pauses, resumes and cancels; what has ended refuses") {
  REQUIRE(api().post("/v1/fleets", fleet("bump", 3)).status == 201);
  until("/v1/fleets/bump", kAllThere);
  const ApiReply paused = api().post("/v1/fleets/bump/pause", {{"reason", "lunch"}, {"by", "bob"}});
  INFO(paused.body);
  CHECK(paused.status == 200);
  CHECK(paused.json().at("state") == "paused");
  CHECK(api().post("/v1/fleets/bump/resume", {{"by", "bob"}}).json().at("state") == "running");

  const json runs = api().get("/v1/runs?fleet=bump&state=queued").json().at("runs");
  const std::string id = runs.at(0).at("id");
  CHECK(api().post("/v1/runs/" + id + "/cancel", {{"reason", "not this one"}}).json().at("state") ==
        "cancelled");
  CHECK(api().post("/v1/runs/" + id + "/cancel", json::object()).status != 500);
  CHECK(api().post("/v1/fleets/bump/cancel", {{"by", "bob"}}).status == 200);
  const json ended =
      until("/v1/fleets/bump", [](const json& f) { return f.at("state") == "cancelled"; });
  CHECK(ended.at("counts").at("cancelled") == 3);
  const ApiReply late = api().post("/v1/fleets/bump/pause", json::object());
  CHECK(late.status == 409);
  CHECK(late.json().at("code") == "refused");
}

TEST_CASE_METHOD(Installation,
                 "after a restart everything is there, and check finds no difference") {
  REQUIRE(api().post("/v1/fleets", fleet("bump", 4)).status == 201);
  const json before = until("/v1/fleets/bump", [](const json& f) {
    return kAllThere(f) && f.at("why_waiting").value("no_host", 0) == 2;
  });
  const int port = app->link_port();
  restart();
  CHECK(app->link_port() == port);  // Where living hosts dial.
  const json after = until("/v1/fleets/bump", [](const json& f) {
    return f.at("why_waiting").value("no_host", 0) == 2;
  });
  CHECK(after.at("counts") == before.at("counts"));
  CHECK(after.at("created_at") == before.at("created_at"));

  app.reset();
  const auto engine = musterd::open_offline(config.paths.engine());
  REQUIRE(engine);
  const auto checked = musterd::check_fleets(musterd::View(**engine));
  REQUIRE(checked);
  CHECK(checked->runs == 4);
  CHECK(checked->differences == std::vector<std::string>{});
}

TEST_CASE_METHOD(Installation, "a second musterd in the same place is refused, and does no harm") {
  const auto second = musterd::App::start(config);
  REQUIRE(!second);
  CHECK(second.error().code == Errc::conflict);
  CHECK(api().get("/healthz/live").status == 200);
  const auto offline = musterd::open_offline(config.paths.engine());
  REQUIRE(!offline);
  CHECK(offline.error().code == Errc::conflict);
}

TEST_CASE_METHOD(Installation, "the socket is the group's, and the chosen ports are told") {
  struct stat status {};
  REQUIRE(::stat(config.paths.socket().c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0660);
  CHECK(app->link_port() > 0);
  CHECK(app->http_port() == 0);
  const auto where = json::parse(*read_file(config.paths.runtime() / "musterd.json", 4096));
  CHECK(where.at("link_port") == app->link_port());
  CHECK(where.at("socket") == config.paths.socket().string());
}
