#include "tools/musterd/app.hpp"

#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdlib>

#include "actors/fleet/fleet.hpp"
#include "actors/host/host.hpp"
#include "actors/ports/dispatcher.hpp"
#include "actors/ports/forge_port.hpp"
#include "actors/ports/hosts.hpp"
#include "actors/ports/snapshot_port.hpp"
#include "actors/pull/pull.hpp"
#include "actors/repo/repo.hpp"
#include "actors/run/run.hpp"
#include "actors/spec/derive.hpp"
#include "actors/swarm/swarm.hpp"
#include "actors/swarm/swarm_port.hpp"
#include "engine/core/inspect.hpp"
#include "engine/runtime/runtime.hpp"
#include "storage/base/files.hpp"
#include "storage/link/link.hpp"
#include "tools/musterd/api.hpp"
#include "tools/musterd/attempt_watch.hpp"
#include "tools/musterd/authenticator.hpp"
#include "tools/musterd/embedded_host.hpp"
#include "tools/musterd/http_server.hpp"
#include "tools/musterd/limits_store.hpp"
#include "tools/musterd/problem.hpp"
#include "tools/musterd/refusal_meter.hpp"
#include "tools/musterd/render.hpp"
#include "tools/musterd/retention.hpp"
#include "tools/musterd/tls_front.hpp"
#include "tools/musterd/version.hpp"

namespace muster::musterd {
namespace {

namespace fs = std::filesystem;

/// What stop() gives others of its whole time, in thirtieths: requests in progress, connections of TLS, the embedded
/// host from SIGTERM to SIGKILL. The rest is for the journal.
constexpr int kHttpPart = 5;
constexpr int kTlsPart = 2;
constexpr int kHostPart = 20;
Duration part_of_stop(const Config& config, int thirtieths) {
  return Duration{std::int64_t{config.stop_seconds} * 1000 * thirtieths / 30};
}
/// Below it musterd says that it is not ready: a journal that can't write stops everything.
constexpr std::uint64_t kLeastFreeBytes = 64u << 20;

ProxyHeaders proxy_headers(const Config& config) {
  ProxyHeaders headers{config.proxy_user_header, config.proxy_groups_header, {}};
  for (const auto& [group, role] : config.proxy_roles)
    headers.roles[group] = role_of(role).value_or(Role::nobody);
  return headers;
}

/// The names that clients are likely to call this machine by.
std::vector<std::string> tls_names(const Config& config) {
  if (!config.tls_names.empty()) return config.tls_names;
  std::vector<std::string> names{"localhost", "127.0.0.1", "::1"};
  char name[HOST_NAME_MAX + 1] = "";
  if (::gethostname(name, sizeof name - 1) == 0 && *name != '\0') names.emplace_back(name);
  return names;
}

class Daemon final : public App {
 public:
  explicit Daemon(const Config& config)
      : config_(config),
        paths_(config.paths),
        scratch_(paths_.data() / "scratch"),
        blobs_(paths_.blobs()),
        packs_(paths_.packs()),
        specs_(blobs_),
        refusals_(config.audit_refusals_per_minute,
                  [this](AuditNote note) { audit_->note(std::move(note)); }),
        tokens_(paths_.tokens()),
        authenticator_(tokens_, proxy_headers(config)) {}
  ~Daemon() override { stop(); }

  Result<void> start();
  void stop() override;
  Result<std::vector<std::string>> reload(const Config& config) override;

  [[nodiscard]] int link_port() const override { return hosts_->port(); }
  [[nodiscard]] int http_port() const override { return http_->tcp_port(); }
  [[nodiscard]] int https_port() const override { return tls_ ? tls_->port() : 0; }

 private:
  Result<void> make_places();
  Result<void> open_logs();
  Result<void> open_audit();
  Result<void> open_engine();
  Result<void> serve_hosts();
  Result<void> serve_api();
  Result<void> serve_tls();
  Result<storage::TlsFiles> api_certificate() const;
  Result<void> start_embedded_host();
  Result<void> tell_where();
  Result<void> compact();
  [[nodiscard]] std::uint64_t free_bytes() const;
  [[nodiscard]] std::string disk_trouble() const;
  [[nodiscard]] actors::GitForgeOptions forge_options(const char* directory) const;

  Config config_;
  Paths paths_;
  fs::path scratch_;
  Blobs blobs_;
  Blobs packs_;
  actors::swarm::SwarmSpecs specs_;
  std::unique_ptr<AuditLog> audit_;
  RefusalMeter refusals_;
  TokenStore tokens_;
  Authenticator authenticator_;
  Fd lock_;
  storage::TlsFiles server_tls_;
  std::unique_ptr<WatchedRunLog> logs_;
  std::shared_ptr<actors::Hosts> hosts_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<actors::Dispatcher> dispatcher_;
  std::unique_ptr<LimitsStore> limits_;
  std::unique_ptr<Retention> retention_;
  std::atomic<bool> stopping_{false};     ///< Ends what would take long.
  std::unique_ptr<actors::Forge> forge_;  ///< Of the API: diffs.
  std::unique_ptr<EventHub> events_;
  Metrics metrics_;
  std::unique_ptr<OtlpExporter> traces_;
  std::unique_ptr<AttemptWatch> attempts_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<TlsFront> tls_;
  std::unique_ptr<EmbeddedHost> embedded_;
};

actors::GitForgeOptions Daemon::forge_options(const char* directory) const {
  actors::GitForgeOptions options;
  options.scratch = scratch_ / directory;
  options.git_config = config_.git_config;
  return options;
}

Result<void> Daemon::make_places() {
  // Sandboxes pass through the run-time directory and the host's data to what is mounted for them.
  for (const auto& [path, mode] :
       {std::pair{paths_.data(), 0711u}, std::pair{paths_.engine(), 0700u},
        std::pair{paths_.blobs(), 0700u}, std::pair{paths_.packs(), 0700u},
        std::pair{paths_.logs(), 0700u}, std::pair{scratch_ / "api", 0700u},
        std::pair{scratch_ / "forge", 0700u}, std::pair{scratch_ / "diff", 0700u},
        std::pair{scratch_ / "swarm", 0700u}, std::pair{paths_.runtime(), 0711u}})
    if (auto made = make_directory(path, mode); !made) return made;
  auto lock = lock_file(paths_.data() / "musterd.lock");
  if (!lock) return fail(lock.error(), "another musterd runs here");
  lock_ = std::move(*lock);
  if (auto made = storage::ensure_ca(paths_.ca()); !made) return made;
  auto tls = storage::ensure_server_certificate(paths_.ca());
  if (!tls) return tl::unexpected<Error>(tls.error());
  server_tls_ = std::move(*tls);
  return {};
}

Result<void> Daemon::open_logs() {
  auto store = storage::RunLog::open(paths_.logs());
  if (!store) return tl::unexpected<Error>(store.error());
  logs_ = std::make_unique<WatchedRunLog>(std::move(*store));
  return {};
}

Result<void> Daemon::open_audit() {
  auto log = AuditLog::open({paths_.audit(), config_.audit_heads_path(), paths_.audit_key()});
  if (!log) return tl::unexpected<Error>(log.error());
  audit_ = std::move(*log);
  return audit_->note_now(
      {"musterd", "", "", "musterd.start", paths_.root, "done", std::string(kVersion), ""});
}

/// Whether a listener could have that port of 127.0.0.1 now.
bool is_free(int port) {
  const Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::bind(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

/// Where any port would do, the one before is best: hosts that live on know it.
std::string address_like_before(const std::string& asked, const fs::path& remembered) {
  if (!asked.ends_with(":0")) return asked;
  const auto text = read_file(remembered, 16);
  const int port = text ? std::atoi(text->c_str()) : 0;
  if (port <= 0 || port > 65535 || !is_free(port)) return asked;
  return asked.substr(0, asked.size() - 1) + std::to_string(port);
}

Result<void> Daemon::open_engine() {
  actors::HostsConfig hosts;
  hosts.address = address_like_before(config_.link_address, paths_.data() / "link-port");
  hosts.tls = server_tls_;
  hosts.version = kVersion;
  hosts_ = std::make_shared<actors::Hosts>(
      hosts, actors::HostsNeeds{blobs_, packs_, *logs_,
                                [this](std::string_view json, const fbs::StartSandboxT& start) {
                                  return specs_.make_spec(json, start);
                                }});
  actors::ForgePortOptions options;
  options.complain = [](const std::string& what) { spdlog::error("forge: {}", what); };
  engine::Ports ports;
  ports["host"] = hosts_;
  ports["forge"] =
      actors::make_forge_port(actors::make_git_forge(forge_options("forge")), packs_, options);
  actors::SwarmPortOptions swarms;
  swarms.complain = [](const std::string& what) { spdlog::error("swarm: {}", what); };
  ports["swarm"] = actors::make_swarm_port(specs_, scratch_ / "swarm", swarms);
  ports["snapshot"] = actors::make_snapshot_port(blobs_);
  auto engine = engine::make_engine({}, all_kinds(), std::move(ports), paths_.engine());
  if (!engine) return fail(engine.error(), "opening the journal");
  engine_ = std::move(*engine);
  return {};
}

Result<void> Daemon::serve_hosts() {
  if (auto listening = hosts_->start(*engine_); !listening) return listening;
  const std::string port = std::to_string(hosts_->port());
  if (auto noted = write_file_durably(paths_.data() / "link-port", port); !noted) return noted;
  dispatcher_ = std::make_unique<actors::Dispatcher>(*engine_);
  dispatcher_->start();
  auto limits =
      LimitsStore::open(paths_.data() / "limits.json",
                        [this](const actors::RunLimits& set) { dispatcher_->set_limits(set); });
  if (!limits) return tl::unexpected<Error>(limits.error());
  limits_ = std::move(*limits);
  return {};
}

Result<void> Daemon::serve_api() {
  audit_->follow(*engine_);
  if (!config_.otlp_endpoint.empty())
    traces_ = std::make_unique<OtlpExporter>(config_.otlp_endpoint);
  attempts_ = std::make_unique<AttemptWatch>(
      *engine_, View(*engine_),
      AttemptWatch::Sinks{[this](const std::string& phase, double seconds) {
                            metrics_.observe_phase(phase, seconds);
                          },
                          traces_.get(),
                          [this](const char* what, bool hit) { metrics_.count_reuse(what, hit); }});
  events_ = std::make_unique<EventHub>();
  events_->follow(*engine_);
  forge_ = actors::make_git_forge(forge_options("api"));
  RetentionLimits retention;
  retention.contents = config_.keep_contents_days * RetentionLimits::kDay;
  retention.fleets = config_.keep_fleets_days * RetentionLimits::kDay;
  retention.hosts = config_.keep_hosts_days * RetentionLimits::kDay;
  retention.dry_run = config_.retention_dry_run;
  retention_ = std::make_unique<Retention>(*engine_, *logs_, packs_, blobs_, retention, &hosts_->execs());
  api_ = std::make_unique<Api>(ApiParts{
      *engine_,
      blobs_,
      packs_,
      *logs_,
      *forge_,
      [this](const actors::PushRequest& push, std::size_t limit) {
        return actors::diff_pack(scratch_ / "diff", push, limit);
      },
      *events_,
      metrics_,
      [this](const std::string& run) { return dispatcher_->why(run); },
      [this](const std::string& fleet) { return dispatcher_->waiting(fleet); },
      [this] {
        std::vector<std::string> why{engine_->trouble(), audit_->trouble(), disk_trouble()};
        std::erase(why, "");
        return why;
      },
      [this] { return http_ ? http_->connections() : 0; },
      "default",
      [this](const Request& request) { return authenticator_.identify(request, wall_clock_now()); },
      [this](AuditNote note) { refusals_.note(std::move(note)); },
      audit_.get(),
      traces_.get(),
      [this](const fs::path& directory) {
        return make_backup(paths_, *engine_, directory, wall_clock_now());
      },
      [](const std::string& level) { spdlog::set_level(spdlog::level::from_str(level)); },
      [this] { return free_bytes(); },
      limits_.get(),
      [this](const std::string& host) { return hosts_->lease(host); },
      [this] { return compact(); },
      [this](const actors::swarm::LineClaim& claim) {
        return actors::swarm::prove_line(claim, scratch_ / "swarm");
      },
      [this] { return retention_->counts(); },
      [this](const std::string& run) { return dispatcher_->cause(run); },
      &hosts_->execs()});
  auto http =
      HttpServer::start({config_.socket_path(), config_.http, {}},
                        {[this](Request& request) { return api_->handle(request); },
                         [this](Request& request) { return api_->body_limit(request); }, refusal,
                         [this](Request& request) { return api_->admit(request); },
                         [this](Request& request) { return api_->urgent(request); }});
  if (!http) return tl::unexpected<Error>(http.error());
  http_ = std::move(*http);
  retention_->start();
  return {};
}

Result<storage::TlsFiles> Daemon::api_certificate() const {
  if (!config_.tls_certificate.empty())
    return storage::TlsFiles{"", config_.tls_certificate, config_.tls_key};
  return storage::ensure_api_certificate(paths_.ca(), tls_names(config_));
}

Result<void> Daemon::serve_tls() {
  if (config_.https.empty()) return {};
  const auto files = api_certificate();
  if (!files) return tl::unexpected<Error>(files.error());
  auto front = TlsFront::start(
      {config_.https, files->certificate, files->key, {}},
      [this](Fd plain, Peer peer) { http_->adopt(std::move(plain), std::move(peer)); });
  if (!front) return tl::unexpected<Error>(front.error());
  tls_ = std::move(*front);
  return {};
}

/// Where the embedded host dials: this machine, whatever address the link listens on.
std::string dial_address(const std::string& listen, int port) {
  std::string host = listen.substr(0, listen.rfind(':'));
  if (host.empty() || host == "0.0.0.0" || host == "*") host = "127.0.0.1";
  if (host == "[::]") host = "[::1]";
  return host + ":" + std::to_string(port);
}

Result<void> Daemon::start_embedded_host() {
  if (!config_.embedded_host) return {};
  auto tls = storage::ensure_host_certificate(paths_.ca(), config_.host_name);
  if (!tls) return tl::unexpected<Error>(tls.error());
  EmbeddedHostOptions options;
  options.program = config_.sandboxd.empty() ? find_sandboxd() : fs::path(config_.sandboxd);
  if (options.program.empty())
    return fail(Errc::not_found, "no sandboxd beside musterd nor in PATH: say --sandboxd PATH");
  options.arguments = {"--root",      paths_.root.string(),
                       "--name",      config_.host_name,
                       "--engine",    dial_address(config_.link_address, hosts_->port()),
                       "--tls-ca",    tls->ca,
                       "--tls-cert",  tls->certificate,
                       "--tls-key",   tls->key,
                       "--log-level", config_.log_level};
  if (config_.slots > 0) {
    options.arguments.push_back("--slots");
    options.arguments.push_back(std::to_string(config_.slots));
  }
  if (config_.allow_host_network) options.arguments.push_back("--allow-host-network");
  options.lock = paths_.runtime() / "sandboxd.lock";
  options.log = paths_.data() / "sandboxd.log";
  options.started = paths_.runtime() / "embedded-host";
  options.stop_limit = part_of_stop(config_, kHostPart);
  embedded_ = std::make_unique<EmbeddedHost>(std::move(options));
  return embedded_->start();
}

/// For clients and tests: what was picked by the kernel.
Result<void> Daemon::tell_where() {
  const std::string host = config_.link_address.substr(0, config_.link_address.rfind(':') + 1);
  const Json where = {{"pid", ::getpid()},
                      {"version", kVersion},
                      {"socket", config_.socket_path()},
                      {"http_port", http_->tcp_port()},
                      {"https_port", https_port()},
                      {"link_port", hosts_->port()},
                      {"link_address", host + std::to_string(hosts_->port())}};
  return write_file_durably(paths_.runtime() / "musterd.json", to_text(where));
}

Result<void> Daemon::start() {
  for (const auto step : {&Daemon::make_places, &Daemon::open_logs, &Daemon::open_audit,
                          &Daemon::open_engine, &Daemon::serve_hosts, &Daemon::serve_api,
                          &Daemon::serve_tls, &Daemon::start_embedded_host, &Daemon::tell_where})
    if (auto done = (this->*step)(); !done) return done;
  spdlog::info("musterd {} serves {} (link {}{})", kVersion, config_.socket_path(), hosts_->port(),
               (http_->tcp_port() > 0 ? ", http " + std::to_string(http_->tcp_port()) : "") +
                   (tls_ ? ", https " + std::to_string(tls_->port()) : ""));
  return {};
}

void Daemon::stop() {
  std::error_code ignored;
  stopping_ = true;
  if (http_) {
    http_->stop(part_of_stop(config_, kHttpPart));
    fs::remove(paths_.runtime() / "musterd.json", ignored);
  }
  if (tls_) tls_->stop(part_of_stop(config_, kTlsPart));
  if (embedded_) embedded_->stop(config_.keep_host);
  embedded_.reset();
  tls_.reset();  // Hands nobody over any more.
  http_.reset();
  api_.reset();
  retention_.reset();
  attempts_.reset();
  traces_.reset();
  events_.reset();
  if (dispatcher_) dispatcher_->stop();
  dispatcher_.reset();
  if (hosts_) hosts_->stop();
  if (audit_) {
    refusals_.close();
    audit_->note({"musterd", "", "", "musterd.stop", paths_.root, "done", "", ""});
    audit_->stop();
  }
  engine_.reset();  // Commits what is decided.
}

Result<void> Daemon::compact() {
  auto* inside = dynamic_cast<engine::Inside*>(engine_.get());
  if (inside == nullptr) return fail(Errc::unreachable, "this engine has no journals to compact");
  for (const storage::Journal* journal : inside->journals())
    if (auto done = journal->compact(stopping_); !done) return done;
  return {};
}

std::uint64_t Daemon::free_bytes() const {
  std::error_code error;
  const auto space = fs::space(paths_.data(), error);
  return error ? 0 : space.available;
}

std::string Daemon::disk_trouble() const {
  const std::uint64_t left = free_bytes();
  if (left >= kLeastFreeBytes) return "";
  return "only " + std::to_string(left >> 20) + " MiB are free at " + paths_.data().string();
}

Result<std::vector<std::string>> Daemon::reload(const Config& config) {
  if (tls_) {
    const auto files = config.tls_certificate.empty()
                           ? api_certificate()
                           : Result<storage::TlsFiles>(
                                 storage::TlsFiles{"", config.tls_certificate, config.tls_key});
    if (!files) return tl::unexpected<Error>(files.error());
    if (auto done = tls_->reload(files->certificate, files->key); !done)
      return tl::unexpected<Error>(done.error());
  }
  spdlog::set_level(spdlog::level::from_str(config.log_level));
  authenticator_.trust(proxy_headers(config));
  std::vector<std::string> others;
  const auto before = show(config_);
  const auto after = show(config);
  for (std::size_t i = 0; i < after.size(); ++i)
    if (before[i].value != after[i].value && !after[i].reloadable) others.push_back(after[i].key);
  audit_->note({"musterd", "", "", "config.reload", "", "done", "", ""});
  return others;
}

}  // namespace

engine::Kinds all_kinds() {
  return engine::make_kinds<actors::Run, actors::Fleet, actors::Repo, actors::Pull, actors::Host,
                            actors::Swarm>();
}

Result<std::unique_ptr<App>> App::start(const Config& config) {
  auto daemon = std::make_unique<Daemon>(config);
  if (auto started = daemon->start(); !started) return tl::unexpected<Error>(started.error());
  return daemon;
}

}  // namespace muster::musterd
