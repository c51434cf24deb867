// musterd whole, over the real engine and server, with a fleet whose runs wait for a host that never comes.
#pragma once

#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "storage/base/ids.hpp"
#include "tests/integration/api_client.hpp"
#include "tools/musterd/app.hpp"

namespace muster::tests {

struct WaitingFleet {
  explicit WaitingFleet(int runs = 4) {
    char name[] = "/tmp/muster-actors-XXXXXX";
    root = ::mkdtemp(name);
    config.paths = Paths{root};
    config.link_address = "127.0.0.1:0";
    auto started = musterd::App::start(config);
    if (!started) FAIL(started.error().message);
    app = std::move(*started);
    begin_fleet("bump", "/srv/git/acme", runs);
    until("/v1/fleets/bump",
          [&](const nlohmann::json& doc) { return doc.at("counts").at("queued") == runs; });
  }
  ~WaitingFleet() {
    app.reset();
    std::filesystem::remove_all(root);
  }
  WaitingFleet(const WaitingFleet&) = delete;
  WaitingFleet& operator=(const WaitingFleet&) = delete;

  /// All in one wave, which nothing halts, over DIRECTORY/r0.git and so on.
  void begin_fleet(const std::string& name, const std::string& directory, int runs) const {
    nlohmann::json list = nlohmann::json::array();
    for (int i = 0; i < runs; ++i) {
      const auto parsed = parse_repository(directory + "/r" + std::to_string(i) + ".git", "/");
      list.push_back({{"repository", parsed->owner_name},
                      {"url", parsed->fetch_url},
                      {"canonical_url", parsed->canonical_url}});
    }
    const nlohmann::json body = {
        {"spec",
         {{"name", name},
          {"repositories", {{{"path", directory + "/*.git"}}}},
          {"agent", {{"run", "true"}}},
          {"rollout", {{"waves", nlohmann::json::array({"100%"})}, {"halt", {{"failure_rate", "0%"}}}}}}},
        {"repositories", list},
        {"author", "alice"}};
    const ApiReply begun = api().post("/v1/fleets", body);
    INFO(begun.body);
    REQUIRE(begun.status == 201);
  }

  [[nodiscard]] ApiClient api() const { return ApiClient(config.paths.socket()); }
  [[nodiscard]] nlohmann::json get(const std::string& path) const {
    const ApiReply reply = api().get(path);
    INFO(path << "\n" << reply.body);
    REQUIRE(reply.status == 200);
    return reply.json();
  }
  template <class Done>
  nlohmann::json until(const std::string& path, Done done) const {
    for (;;) {
      if (nlohmann::json document = get(path); done(document)) return document;
      std::this_thread::yield();
    }
  }
  [[nodiscard]] std::string a_run() const {
    return get("/v1/actors?kind=run&limit=1").at("actors").at(0).at("key");
  }

  std::filesystem::path root;
  musterd::Config config;
  std::unique_ptr<musterd::App> app;
};

}  // namespace muster::tests
