#include "tools/musterd/app.hpp"

#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

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
#include "engine/runtime/runtime.hpp"
#include "storage/base/files.hpp"
#include "storage/link/link.hpp"
#include "tools/musterd/api.hpp"
#include "tools/musterd/embedded_host.hpp"
#include "tools/musterd/http_server.hpp"
#include "tools/musterd/problem.hpp"
#include "tools/musterd/render.hpp"
#include "tools/musterd/version.hpp"

namespace muster::musterd {
namespace {

namespace fs = std::filesystem;

constexpr Duration kHttpGrace{5'000};

class Daemon final : public App {
 public:
  explicit Daemon(const Config& config)
      : config_(config),
        paths_(config.paths),
        scratch_(paths_.data() / "scratch"),
        blobs_(paths_.blobs()),
        packs_(paths_.packs()) {}
  ~Daemon() override { stop(); }

  Result<void> start();
  void stop() override;

  [[nodiscard]] int link_port() const override { return hosts_->port(); }
  [[nodiscard]] int http_port() const override { return http_->tcp_port(); }

 private:
  Result<void> make_places();
  Result<void> open_logs();
  Result<void> open_engine();
  Result<void> serve_hosts();
  Result<void> serve_api();
  Result<void> start_embedded_host();
  Result<void> tell_where();
  [[nodiscard]] actors::GitForgeOptions forge_options(const char* directory) const;

  Config config_;
  Paths paths_;
  fs::path scratch_;
  Blobs blobs_;
  Blobs packs_;
  Fd lock_;
  storage::TlsFiles server_tls_;
  std::unique_ptr<WatchedRunLog> logs_;
  std::shared_ptr<actors::Hosts> hosts_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<actors::Dispatcher> dispatcher_;
  std::unique_ptr<actors::Forge> forge_;  ///< Of the API: diffs.
  std::unique_ptr<EventHub> events_;
  Metrics metrics_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<HttpServer> http_;
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
        std::pair{paths_.runtime(), 0711u}})
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
  hosts_ = std::make_shared<actors::Hosts>(
      hosts, actors::HostsNeeds{blobs_, packs_, *logs_, actors::make_sandbox_spec});
  actors::ForgePortOptions options;
  options.complain = [](const std::string& what) { spdlog::error("forge: {}", what); };
  engine::Ports ports;
  ports["host"] = hosts_;
  ports["forge"] =
      actors::make_forge_port(actors::make_git_forge(forge_options("forge")), packs_, options);
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
  return {};
}

Result<void> Daemon::serve_api() {
  events_ = std::make_unique<EventHub>();
  events_->follow(*engine_);
  forge_ = actors::make_git_forge(forge_options("api"));
  api_ = std::make_unique<Api>(ApiParts{
      *engine_, blobs_, packs_, *logs_, *forge_,
      [this](const actors::PushRequest& push, std::size_t limit) {
        return actors::diff_pack(scratch_ / "diff", push, limit);
      },
      *events_, metrics_, [this](const std::string& run) { return dispatcher_->why(run); },
      [this](const std::string& fleet) { return dispatcher_->waiting(fleet); },
      [this] {
        const std::string trouble = engine_->trouble();
        return trouble.empty() ? std::vector<std::string>{} : std::vector<std::string>{trouble};
      },
      [this] { return http_ ? http_->connections() : 0; }, "default"});
  auto http =
      HttpServer::start({config_.socket_path(), config_.http, {}},
                        {[this](Request& request) { return api_->handle(request); },
                         [this](Request& request) { return api_->body_limit(request); }, refusal});
  if (!http) return tl::unexpected<Error>(http.error());
  http_ = std::move(*http);
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
                      {"link_port", hosts_->port()},
                      {"link_address", host + std::to_string(hosts_->port())}};
  return write_file_durably(paths_.runtime() / "musterd.json", to_text(where));
}

Result<void> Daemon::start() {
  for (const auto step :
       {&Daemon::make_places, &Daemon::open_logs, &Daemon::open_engine, &Daemon::serve_hosts,
        &Daemon::serve_api, &Daemon::start_embedded_host, &Daemon::tell_where})
    if (auto done = (this->*step)(); !done) return done;
  spdlog::info("musterd {} serves {} (link {}{})", kVersion, config_.socket_path(), hosts_->port(),
               http_->tcp_port() > 0 ? ", http " + std::to_string(http_->tcp_port()) : "");
  return {};
}

void Daemon::stop() {
  std::error_code ignored;
  if (http_) {
    http_->stop(kHttpGrace);
    fs::remove(paths_.runtime() / "musterd.json", ignored);
  }
  if (embedded_) embedded_->stop(config_.keep_host);
  embedded_.reset();
  http_.reset();
  api_.reset();
  events_.reset();
  if (dispatcher_) dispatcher_->stop();
  dispatcher_.reset();
  if (hosts_) hosts_->stop();
  engine_.reset();  // Commits what is decided.
}

}  // namespace

engine::Kinds all_kinds() {
  return engine::make_kinds<actors::Run, actors::Fleet, actors::Repo, actors::Pull, actors::Host>();
}

Result<std::unique_ptr<App>> App::start(const Config& config) {
  auto daemon = std::make_unique<Daemon>(config);
  if (auto started = daemon->start(); !started) return tl::unexpected<Error>(started.error());
  return daemon;
}

}  // namespace muster::musterd
