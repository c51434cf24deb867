// A backup under load, and its restore: what was acknowledged before it began is there, nothing is
// there that never was, every counter agrees, the audit log is whole and knows of everything, and
// the restored engine takes work.
#include <catch2/catch.hpp>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <set>
#include <thread>

#include "engine/runtime/runtime.hpp"
#include "tests/integration/api_client.hpp"
#include "tools/musterd/app.hpp"
#include "tools/musterd/audit_log.hpp"
#include "tools/musterd/backup.hpp"
#include "tools/musterd/check.hpp"
#include "tools/musterd/offline.hpp"

using namespace muster;
using nlohmann::json;
using tests::ApiClient;
using tests::ApiReply;

namespace {

namespace fs = std::filesystem;

struct Directory {
  Directory() {
    char name[] = "/tmp/muster-bk-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Directory() { fs::remove_all(path); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  fs::path path;
};

std::unique_ptr<musterd::App> start(const Paths& paths) {
  musterd::Config config;
  config.paths = paths;
  config.link_address = "127.0.0.1:0";
  auto app = musterd::App::start(config);
  if (!app) FAIL(app.error().message);
  return std::move(*app);
}

json fleet(const std::string& name) {
  const auto parsed = parse_repository("/srv/git/acme/api.git", "/");
  return {{"spec",
           {{"name", name},
            {"repositories", {{{"path", "/srv/git/*/*.git"}}}},
            {"agent", {{"run", "true"}}}}},
          {"repositories",
           {{{"repository", "acme/api"},
             {"url", parsed->fetch_url},
             {"canonical_url", parsed->canonical_url},
             {"labels", json::object()}}}},
          {"author", "alice"}};
}

std::set<std::string> fleets_of(const ApiClient& api) {
  std::set<std::string> names;
  std::string cursor;
  for (;;) {
    const json page =
        api.get("/v1/fleets?limit=100" + (cursor.empty() ? "" : "&cursor=" + cursor)).json();
    for (const json& each : page.at("fleets")) names.insert(each.at("name"));
    if (page.at("next").is_null()) return names;
    cursor = page.at("next");
  }
}

/// Makes fleets until it is told to stop; knows which were acknowledged.
class Load {
 public:
  explicit Load(const ApiClient& api) {
    for (int worker = 0; worker < 2; ++worker)
      threads_.emplace_back([this, api, worker] {
        for (int i = 0; !over_; ++i) {
          const std::string name = "f" + std::to_string(worker) + "-" + std::to_string(i);
          if (api.post("/v1/fleets", fleet(name)).status != 201) continue;
          const std::lock_guard lock(mutex_);
          acknowledged_.insert(name);
        }
      });
  }
  ~Load() { stop(); }
  void stop() {
    over_ = true;
    for (std::thread& thread : threads_)
      if (thread.joinable()) thread.join();
  }
  std::set<std::string> acknowledged() {
    const std::lock_guard lock(mutex_);
    return acknowledged_;
  }
  void wait_for(std::size_t count) {
    while (acknowledged().size() < count) std::this_thread::yield();
  }

 private:
  std::atomic<bool> over_{false};
  std::mutex mutex_;
  std::set<std::string> acknowledged_;
  std::vector<std::thread> threads_;
};

bool includes(const std::set<std::string>& all, const std::set<std::string>& some) {
  return std::includes(all.begin(), all.end(), some.begin(), some.end());
}

}  // namespace

TEST_CASE("backups under load, restored, are a moment of the original") {
  const Directory directory;
  const Paths original{directory.path / "a"};
  const Paths restored{directory.path / "b"};
  const fs::path backups = directory.path / "backups";
  std::set<std::string> before_first;
  std::set<std::string> before_second;
  std::set<std::string> all;
  std::uint32_t generation = 0;
  {
    auto app = start(original);
    const ApiClient api(original.socket());
    Load load(api);
    load.wait_for(20);
    const auto back_up = [&] {
      const ApiReply made =
          api.post("/v1/admin/backups", {{"directory", backups.string()}, {"reason", "test"}});
      INFO(made.body);
      REQUIRE(made.status == 201);
      return made.json();
    };
    before_first = load.acknowledged();
    const json first = back_up();
    load.wait_for(before_first.size() + 20);
    before_second = load.acknowledged();
    const json second = back_up();
    CHECK(second.at("new_files").get<std::size_t>() < second.at("files").get<std::size_t>());
    load.wait_for(before_second.size() + 20);
    load.stop();
    all = fleets_of(api);
    CHECK(includes(all, load.acknowledged()));
    generation = first.at("generation").get<std::uint32_t>();
    CHECK(api.get("/v1/admin/backups?directory=" + backups.string()).json().at("backups").size() ==
          2);
  }

  const auto manifests = musterd::list_backups(backups);
  REQUIRE(manifests);
  REQUIRE(manifests->size() == 2);
  for (const auto& [manifest, must_have] :
       {std::pair{(*manifests)[0], before_first}, std::pair{(*manifests)[1], before_second}}) {
    INFO(manifest.id);
    CHECK(musterd::verify_backup(backups, manifest)->empty());
    fs::remove_all(restored.root);
    std::uint32_t raised = 0;
    REQUIRE(musterd::restore_backup(restored, backups, manifest,
                                    [&](const fs::path& engine) -> Result<void> {
                                      const auto next = engine::raise_generation(engine);
                                      if (!next) return tl::unexpected<Error>(next.error());
                                      raised = *next;
                                      return {};
                                    }));
    CHECK(raised == generation + 1);
    auto app = start(restored);
    const ApiClient api(restored.socket());
    const std::set<std::string> there = fleets_of(api);
    CHECK(includes(there, must_have));
    CHECK(includes(all, there));
    CHECK(there.size() < all.size());
    // It takes work, also under a name that the original had used.
    CHECK(api.post("/v1/fleets", fleet("after-the-restore")).status == 201);
    // Every creation that the journal holds gets into the audit log, once.
    std::multiset<std::string> created;
    while (created.size() < there.size() + 1) {
      created.clear();
      const json page = api.get("/v1/audit?action=fleet.create&limit=1000").json();
      for (const json& entry : page.at("entries")) created.insert(entry.at("target"));
    }
    for (const std::string& name : there) CHECK(created.count("default/fleet/" + name) == 1);
    CHECK(api.get("/v1/audit/verify").json().at("findings") == json::array());
    app.reset();
    REQUIRE(musterd::verify_offline(restored.engine()));
    const auto offline = musterd::open_offline(restored.engine());
    REQUIRE(offline);
    CHECK(musterd::check_fleets(musterd::View(**offline))->differences ==
          std::vector<std::string>{});
  }
}
