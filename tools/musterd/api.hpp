// The HTTP API of musterd: its routes, over an Engine and the stores. Knows nothing of sockets;
// openapi.yaml describes what is served here, and a test holds the two to each other.
//
//   Api api(parts);
//   HttpServer::start(options, {[&](Request& r) { return api.handle(r); }, …,
//                               [&](Request& r) { return api.admit(r); }});
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/ports/forge.hpp"
#include "actors/ports/host_lease.hpp"
#include "actors/swarm/ledger_check.hpp"
#include "engine/core/engine.hpp"
#include "storage/base/blobs.hpp"
#include "tools/musterd/audit_log.hpp"
#include "tools/musterd/backup.hpp"
#include "tools/musterd/events.hpp"
#include "tools/musterd/gate.hpp"
#include "tools/musterd/limits_store.hpp"
#include "tools/musterd/list_memory.hpp"
#include "tools/musterd/metrics.hpp"
#include "tools/musterd/otlp.hpp"
#include "tools/musterd/router.hpp"
#include "tools/musterd/view.hpp"
#include "tools/musterd/watched_runlog.hpp"

namespace muster::actors {
class ExecPort;
}

namespace muster::musterd {

/// What the API stands on. All of it outlives the Api and is thread-safe.
struct ApiParts {
  engine::Engine& engine;
  Blobs& blobs;
  Blobs& packs;
  WatchedRunLog& logs;
  actors::Forge& forge;
  /// What a pack changes, though nothing was pushed: actors::diff_pack.
  std::function<Result<std::string>(const actors::PushRequest&, std::size_t limit)> diff_pack;
  EventHub& events;
  Metrics& metrics;
  /// The scheduler's word on why a queued run waits; "" when it has none.
  std::function<std::string(const std::string& run)> why_queued;
  /// Queued runs of a fleet by admission's reasons.
  std::function<std::map<std::string, std::uint64_t>(const std::string& fleet)> queued_by_reason;
  /// Why not ready; empty when it is.
  std::function<std::vector<std::string>()> not_ready;
  std::function<std::size_t()> connections;
  std::string org = "default";
  Gate::Identify identify;
  Auditor audit;                  ///< May be empty.
  AuditLog* audit_log = nullptr;  ///< Without it there is neither /v1/audit nor /v1/admin.
  OtlpExporter* traces = nullptr;
  std::function<Result<BackupResult>(const std::filesystem::path&)> backup{};
  std::function<void(const std::string& level)> set_log_level{};
  std::function<std::uint64_t()> free_bytes{};  ///< Where the data lies; may be empty.
  LimitsStore* limits = nullptr;                ///< Without it there is no /v1/limits.
  /// What is known of a host's lease; nothing when it was not heard of.
  std::function<std::optional<actors::HostLease>(const std::string& host)> lease{};
  /// Rewrites the journal's files; ends early when musterd stops.
  std::function<Result<void>()> compact{};
  /// Compares a swarm's ledger with git: actors::swarm::prove_line.
  std::function<Result<actors::swarm::LineProof>(const actors::swarm::LineClaim&)> prove_line{};
  std::function<RetentionCounts()> retention{};  ///< May be empty.
  /// What a queued run waits for, in one word for machines: "hosts_full".
  std::function<std::string(const std::string& run)> cause_queued{};
  actors::ExecPort* execs = nullptr;  ///< Without it no command runs in a sandbox.
};

class ExecSessions;

class Api {
 public:
  explicit Api(ApiParts parts);
  ~Api();
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  /// By the head alone: a response when the caller is not let in. Does not block.
  std::optional<Response> admit(Request& request) const;
  /// For a request that admit() let in.
  Response handle(Request& request) const;
  /// The largest body that the request's route takes.
  std::size_t body_limit(Request& request) const;
  /// Whether it goes before others when there is too much to do.
  bool urgent(Request& request) const;
  [[nodiscard]] const Router& router() const { return router_; }

 private:
  void finish(const Request& request, const std::string& pattern, Response& response,
              const engine::Stopwatch& watch) const;

  ApiParts parts_;
  View view_;
  Gate gate_;
  mutable ListMemory lists_;
  mutable RowMemory rows_;
  std::unique_ptr<ExecSessions> execs_;
  Router router_;
};

/// openapi.yaml, as it was built in.
std::string_view openapi_text();

}  // namespace muster::musterd
