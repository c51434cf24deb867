// sandboxd: runs isolated environments on this machine for a musterd.
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <thread>

#include "sandboxd/check.hpp"
#include "sandboxd/uplink.hpp"
#include "sandboxd/version.hpp"
#include "storage/base/files.hpp"

namespace muster::sandbox {
namespace {

constexpr int kExitBad = 2, kExitRefused = 4, kExitConflict = 5, kExitError = 1;

struct Options {
  std::string root = "/", config, name, engine, ca, certificate, key, runtime, init, log_level = "info";
  unsigned slots = 0;
  bool check = false;
  bool allow_host_network = false;
};

int exit_code(const Error& error) {
  switch (error.code) {
    case Errc::invalid: return kExitBad;
    case Errc::refused: return kExitRefused;
    case Errc::conflict:
    case Errc::key_reused: return kExitConflict;
    default: return kExitError;
  }
}

int complain(const Error& error) {
  std::fprintf(stderr, "sandboxd: %s\n", error.message.c_str());
  return exit_code(error);
}

Result<DaemonConfig> configure(const Options& options) {
  DaemonConfig defaults;
  defaults.host.paths = Paths{std::filesystem::absolute(options.root).lexically_normal()};
  const auto file = options.config.empty() ? defaults.host.paths.config() / "sandboxd.yaml"
                                           : std::filesystem::path(options.config);
  auto config = read_config(file, std::move(defaults));
  if (!config) return config;
  const auto over = [](const std::string& flag, auto& setting) {
    if (!flag.empty()) setting = flag;
  };
  over(options.name, config->name);
  over(options.engine, config->engine);
  over(options.ca, config->tls.ca);
  over(options.certificate, config->tls.certificate);
  over(options.key, config->tls.key);
  // serve() leaves this directory.
  for (std::string* path : {&config->tls.ca, &config->tls.certificate, &config->tls.key})
    if (!path->empty()) *path = std::filesystem::absolute(*path).string();
  over(options.runtime, config->host.runtime);
  over(options.init, config->host.muster_init);
  if (options.slots > 0) config->slots = options.slots;
  if (options.allow_host_network) config->host.allow_host_network = true;
  if (config->slots == 0) config->slots = 2 * std::max(1u, std::thread::hardware_concurrency());
  return config;
}

int check(const DaemonConfig& config) {
  bool ok = true;
  for (const auto& finding : check_host(config.host)) {
    std::printf("%s %s\n", finding.ok ? "ok     " : "MISSING", finding.what.c_str());
    if (!finding.ok) std::printf("        mend it: %s\n", finding.mend.c_str());
    ok = ok && finding.ok;
  }
  std::printf("disk limits: %s\n", disk_limits(config.host).c_str());
  return ok ? 0 : kExitRefused;
}

/// SIGTERM and SIGINT end the daemon; its sandboxes go on under conmon, for the next one to adopt.
void stop_on_signals(Loop& loop) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);  // before any other thread
  std::thread([set, &loop] {
    int signal = 0;
    ::sigwait(&set, &signal);
    spdlog::info("signal {}: ends; sandboxes go on", signal);
    loop.stop();
  }).detach();
}

int serve(const DaemonConfig& config) {
  if (config.name.empty() || config.tls.ca.empty() || config.tls.certificate.empty() || config.tls.key.empty())
    return complain({Errc::invalid, "name and tls (ca, certificate, key) are needed: in " +
                                        (config.host.paths.config() / "sandboxd.yaml").string() +
                                        ", or by --name, --tls-ca, --tls-cert, --tls-key"});
  std::filesystem::current_path("/");  // Where we were started may be removed, and conmon fails without one.
  auto loop = Loop::make();
  if (!loop) return complain(loop.error());
  stop_on_signals(**loop);
  if (auto made = make_directory(config.host.paths.runtime(), 0711); !made) return complain(made.error());
  const auto lock = lock_file(config.host.paths.runtime() / "sandboxd.lock");
  if (!lock) return complain(lock.error());
  auto host = Host::open(config.host);
  if (!host) return complain(host.error());
  auto spool = EventSpool::open(config.host.paths.host() / "events");
  if (!spool) return complain(spool.error());
  Uplink uplink(config, **loop, std::move(*spool));
  Supervisor supervisor(**host, **loop, config.slots, uplink.outlet());
  if (auto done = supervisor.recover([&](const std::string& id) { return uplink.spooled(id); }); !done)
    return complain(done.error());
  uplink.attach(supervisor);
  const auto link = storage::LinkClient::start(config.engine, config.tls, uplink.receive());
  spdlog::info("sandboxd {} serves {} with {} slots", kVersion, config.engine, config.slots);
  (*loop)->run();
  link->stop();
  supervisor.put_away_pool();
  (*host)->ops.leave();
  return 0;
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Runs isolated environments on this machine for a musterd.", "sandboxd");
  app.set_version_flag("--version", kVersion);
  app.add_option("--root", options.root, "every place lies below this directory");
  app.add_option("--config", options.config, "instead of etc/muster/sandboxd.yaml");
  app.add_option("--name", options.name, "this host's name, as in its certificate");
  app.add_option("--engine", options.engine, "HOST:PORT of musterd's link");
  app.add_option("--tls-ca", options.ca, "the installation's CA certificate (PEM)");
  app.add_option("--tls-cert", options.certificate, "this host's certificate (PEM)");
  app.add_option("--tls-key", options.key, "its key (PEM)");
  app.add_option("--slots", options.slots, "sandboxes at a time");
  app.add_option("--runtime", options.runtime, "an OCI runtime: runc, crun, runsc, …");
  app.add_option("--init", options.init, "where muster-init is");
  app.add_option("--log-level", options.log_level, "debug | info | warn | error");
  app.add_flag("--allow-host-network", options.allow_host_network, "runs may ask for network: host");
  app.add_flag("--check", options.check, "say what this machine lacks, and how to mend it");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitBad;
  }
  spdlog::set_default_logger(spdlog::stderr_color_mt("sandboxd"));
  spdlog::set_level(spdlog::level::from_str(options.log_level));
  const auto config = configure(options);
  if (!config) return complain(config.error());
  return options.check ? check(*config) : serve(*config);
}

}  // namespace
}  // namespace muster::sandbox

int main(int argc, char** argv) { return muster::sandbox::run(argc, argv); }
