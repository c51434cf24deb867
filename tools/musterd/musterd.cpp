// musterd: the engine. Serves the API and the hosts until SIGTERM or SIGINT, then stops within
// stop_seconds; SIGHUP reads the configuration again.
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "storage/base/exit_code.hpp"
#include "storage/link/link.hpp"
#include "tools/musterd/app.hpp"
#include "tools/musterd/command_line.hpp"
#include "tools/musterd/logging.hpp"
#include "tools/musterd/store_commands.hpp"
#include "tools/musterd/token_command.hpp"

namespace muster::musterd {
namespace {

sigset_t handled_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

/// A configuration that is wrong changes nothing.
void reload(App& app, const CommandLine& line) {
  const auto config = configure(line);
  const auto others = config
                          ? app.reload(*config)
                          : Result<std::vector<std::string>>(tl::unexpected<Error>(config.error()));
  if (!others) return spdlog::error("SIGHUP: nothing is changed: {}", others.error().message);
  std::string list;
  for (const std::string& key : *others) list += (list.empty() ? "" : ", ") + key;
  spdlog::info("SIGHUP: the configuration is read again{}{}",
               list.empty() ? "" : "; these wait for a restart: ", list);
}

/// Whatever hangs (a disk, a repository far away): the process ends after `limit`. What is durable stays so.
void end_after(Duration limit) {
  std::thread([limit] {
    std::this_thread::sleep_for(limit);
    spdlog::error("not stopped within {}: ending at once; what was acknowledged is on disk",
                  to_string(limit));
    ::_exit(exit_code(Errc::timed_out));
  }).detach();
  // Should the log be what hangs.
  ::alarm(static_cast<unsigned>(limit.count() / 1000) + 1);
}

int serve(const Config& config, const CommandLine& line) {
  const sigset_t signals = handled_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // Before there is another thread.
  ::signal(SIGPIPE, SIG_IGN);
  std::filesystem::current_path(
      "/");  // Where we were started may be removed, and git fails without one.
  auto app = App::start(config);
  if (!app) return complain(app.error());
  int signal = 0;
  while (::sigwait(&signals, &signal) == 0 && signal == SIGHUP) reload(**app, line);
  const Duration limit{std::int64_t{config.stop_seconds} * 1000};
  spdlog::info("signal {}: stopping, {} at most", signal, to_string(limit));
  end_after(limit);
  // A second signal ends it at once, too.
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  (*app)->stop();
  spdlog::info("stopped");
  return 0;
}

int add_host(Config config, const std::string& name) {
  config.host_name = name;
  if (auto sound = check(config); !sound) return complain(sound.error());
  const std::string directory = config.paths.ca();
  if (auto made = storage::ensure_ca(directory); !made) return complain(made.error());
  const auto tls = storage::ensure_host_certificate(directory, name);
  if (!tls) return complain(tls.error());
  std::printf("Copy these to host %s, readable for root only:\n\n", name.c_str());
  std::printf("  %s -> /etc/muster/tls/ca.pem\n", tls->ca.c_str());
  std::printf("  %s -> /etc/muster/tls/host.pem\n", tls->certificate.c_str());
  std::printf("  %s -> /etc/muster/tls/host.key\n\n", tls->key.c_str());
  std::printf(
      "and write there /etc/muster/sandboxd.yaml:\n\n"
      "  name: %s\n  engine: ADDRESS-OF-THIS-MACHINE:7411\n"
      "  tls: {ca: /etc/muster/tls/ca.pem, certificate: /etc/muster/tls/host.pem, "
      "key: /etc/muster/tls/host.key}\n\n",
      name.c_str());
  std::printf(
      "Let musterd listen there (link_address in musterd.yaml, now %s) and start sandboxd.\n",
      link_address_now(config).c_str());
  return 0;
}

int run(int argc, char** argv) {
  CommandLine line;
  std::string host_to_add;
  CLI::App app(
      "The engine: runs fleets of coding agents on hosts. Without a command it serves until "
      "SIGTERM.",
      "musterd");
  declare_options(app, line);
  app.require_subcommand(0, 1);
  const StoreCommands store(app);
  TokenCommand token(app);
  auto* host = app.add_subcommand("host", "the installation's hosts");
  host->require_subcommand(1);
  auto* add = host->add_subcommand("add", "make a certificate for another host");
  add->add_option("NAME", host_to_add, "the host's name")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  // serve() leaves this directory, and SIGHUP reads the file again.
  line.root = std::filesystem::absolute(line.root).string();
  if (!line.config_file.empty())
    line.config_file = std::filesystem::absolute(line.config_file).string();
  const auto config = configure(line);
  if (!config) return complain(config.error());
  set_up_log(config->log_level, config->log_format);
  if (store.parsed()) return store.run(*config);
  if (token.parsed()) return finish(token.run(config->paths));
  if (add->parsed()) return add_host(*config, host_to_add);
  return serve(*config, line);
}

}  // namespace
}  // namespace muster::musterd

int main(int argc, char** argv) {
  return muster::musterd::run(argc, argv);
}
