// The API over a fake engine and real stores in a directory of their own.
#pragma once

#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>

#include "storage/base/ids.hpp"
#include "tests/unit/musterd/fake_engine.hpp"
#include "tests/unit/musterd/openapi_check.hpp"
#include "tools/musterd/api.hpp"
#include "tools/musterd/render.hpp"

namespace muster::musterd {

struct TemporaryDirectory {
  TemporaryDirectory() {
    char name[] = "/tmp/muster-api-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::filesystem::path path;
};

class FakeForge final : public actors::Forge {
 public:
  actors::PushResult push(const actors::PushRequest&) override { return {}; }
  Result<actors::PullRef> open_pull(const actors::PullRequestText&) override {
    return actors::PullRef{};
  }
  actors::MergeResult merge(const actors::MergeRequest&) override { return {}; }
  Result<void> delete_branch(const std::string&, const std::string&, const std::string&) override {
    return {};
  }
  Result<std::string> diff(const std::string& url, const std::string& base, const std::string& head,
                           std::size_t) override {
    return "diff of " + url + " " + base + ".." + head + "\n";
  }
};

struct ApiFixture {
  ApiFixture() : logs(*storage::RunLog::open(directory.path / "logs")) { events.follow(engine); }

  Response send(const std::string& method, const std::string& target, std::string body = "",
                const std::string& key = "",
                const std::map<std::string, std::string>& headers = {}) {
    Request request;
    request.method = method;
    request.headers.insert(headers.begin(), headers.end());
    REQUIRE(parse_target(target, request));
    request.body = std::move(body);
    if (method == "POST" && key != "none")
      request.headers["idempotency-key"] = key.empty() ? new_uuid_v7(engine.now()) : key;
    const auto route = api.router().find(request);
    Response response;
    if (auto refused = api.admit(request)) {
      response = std::move(*refused);
    } else {
      response = api.handle(request);
    }
    // Whatever a test is about, what it gets is what the document says.
    if (route) {
      INFO(method << " " << target << "\n" << response.body);
      CHECK(openapi_problem(method, (*route)->pattern, response) == "");
    }
    return response;
  }
  Json get(const std::string& target) {
    const Response response = send("GET", target);
    INFO(response.body);
    REQUIRE(response.status == 200);
    return Json::parse(response.body);
  }

  TemporaryDirectory directory;
  FakeEngine engine;
  Blobs blobs{directory.path / "blobs"};
  Blobs packs{directory.path / "packs"};
  WatchedRunLog logs;
  FakeForge forge;
  EventHub events;
  Metrics metrics;
  std::map<std::string, std::string> queued_why;                                 ///< By run.
  std::map<std::string, std::map<std::string, std::uint64_t>> queued_by_reason;  ///< By fleet.
  std::vector<std::string> not_ready;
  Result<Identity> who = Identity{"", "socket", Role::admin, {}, true};
  std::vector<AuditNote> notes;
  std::function<Result<actors::swarm::LineProof>(const actors::swarm::LineClaim&)> line_proof;
  std::unique_ptr<AuditLog> audit_log = std::move(*AuditLog::open(
      {directory.path / "audit", directory.path / "heads", directory.path / "audit.key"}));
  std::string log_level;
  std::map<std::string, actors::HostLease> leases;
  int compactions = 0;
  actors::RunLimits applied;
  std::unique_ptr<LimitsStore> limits = std::move(*LimitsStore::open(
      directory.path / "limits.json", [this](const actors::RunLimits& set) { applied = set; }));
  Api api{ApiParts{engine,
                   blobs,
                   packs,
                   logs,
                   forge,
                   [](const actors::PushRequest& push, std::size_t) -> Result<std::string> {
                     return "pack " + push.base_sha + ".." + push.head_sha + "\n";
                   },
                   events,
                   metrics,
                   [this](const std::string& run) { return queued_why[run]; },
                   [this](const std::string& fleet) { return queued_by_reason[fleet]; },
                   [this] { return not_ready; },
                   [] { return std::size_t{3}; },
                   "default",
                   [this](const Request&) { return who; },
                   [this](AuditNote note) { notes.push_back(std::move(note)); },
                   audit_log.get(),
                   nullptr,
                   {},
                   [this](const std::string& level) { log_level = level; },
                   {},
                   limits.get(),
                   [this](const std::string& host) -> std::optional<actors::HostLease> {
                     const auto found = leases.find(host);
                     if (found == leases.end()) return std::nullopt;
                     return found->second;
                   },
                   [this] {
                     ++compactions;
                     return Result<void>{};
                   },
                   [this](const actors::swarm::LineClaim& claim) { return line_proof(claim); }}};
};

}  // namespace muster::musterd
