// musterd: the engine. Serves the API and the hosts until SIGTERM or SIGINT, then stops within
// kStopLimit.
#include <signal.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "storage/base/files.hpp"
#include "storage/link/link.hpp"
#include "tools/musterd/app.hpp"
#include "tools/musterd/check.hpp"
#include "tools/musterd/offline.hpp"
#include "tools/musterd/version.hpp"

namespace muster::musterd {
namespace {

namespace fs = std::filesystem;

constexpr int kExitFailed = 1, kExitUsage = 2;

int exit_code(Errc code) {
  switch (code) {
    case Errc::invalid:
      return kExitUsage;
    case Errc::not_found:
      return 3;
    case Errc::refused:
      return 4;
    case Errc::conflict:
    case Errc::key_reused:
      return 5;
    case Errc::unreachable:
      return 6;
    case Errc::overloaded:
      return 7;
    case Errc::timed_out:
      return 124;
    default:
      return kExitFailed;
  }
}

int complain(const Error& error) {
  std::fprintf(stderr, "musterd: %s\n", error.message.c_str());
  return exit_code(error.code);
}

struct CommandLine {
  std::string root = "/";
  std::string config_file;
  std::string host_to_add;
  Config flags;  ///< Holds a flag's value; `given` says which count.
  std::vector<std::function<void(Config&)>> given;
};

/// An option that overrides the configuration file when it was given.
template <class T>
void setting(CLI::App& app, CommandLine& line, const std::string& name, T Config::*member,
             const std::string& help) {
  const auto take = [&line, member](const T& value) {
    line.given.push_back([member, value](Config& config) { config.*member = value; });
  };
  if constexpr (std::is_same_v<T, bool>) {
    app.add_flag_callback(
        name, [take] { take(true); }, help);
  } else {
    app.add_option_function<T>(name, take, help);
  }
}

void declare(CLI::App& app, CommandLine& line) {
  app.set_version_flag("--version", "musterd " + std::string(kVersion));
  app.add_option("--root", line.root, "every place lies below this directory");
  app.add_option("--config", line.config_file, "instead of etc/muster/musterd.yaml");
  setting(app, line, "--embedded-host", &Config::embedded_host,
          "start and look after a sandboxd here");
  setting(app, line, "--host-name", &Config::host_name, "the embedded host's name (local)");
  setting(app, line, "--slots", &Config::slots, "sandboxes at a time on the embedded host");
  setting(app, line, "--sandboxd", &Config::sandboxd, "where sandboxd is");
  setting(app, line, "--keep-host", &Config::keep_host,
          "a graceful stop leaves the embedded host running");
  setting(app, line, "--allow-host-network", &Config::allow_host_network,
          "runs on the embedded host may ask for network: host");
  setting(app, line, "--link-address", &Config::link_address,
          "HOST:PORT where hosts connect (127.0.0.1:7411); port 0: any");
  setting(app, line, "--socket", &Config::socket,
          "the API's unix socket (run/muster/musterd.sock)");
  setting(app, line, "--http", &Config::http,
          "HOST:PORT: the API on a loopback address too, for tests");
  setting(app, line, "--git-config", &Config::git_config,
          "a git configuration file with credentials for forges by URL");
  setting(app, line, "--log-level", &Config::log_level, "debug | info | warn | error");
  setting(app, line, "--log-format", &Config::log_format, "text | json");
}

Result<Config> configure(const CommandLine& line) {
  Config config;
  config.paths = Paths{fs::absolute(line.root).lexically_normal()};
  const bool named = !line.config_file.empty();
  const fs::path file = named ? fs::path(line.config_file) : config.paths.config() / "musterd.yaml";
  if (auto read = apply_file(config, file, named); !read)
    return tl::unexpected<Error>(read.error());
  for (const auto& set : line.given) set(config);
  if (auto sound = check(config); !sound) return tl::unexpected<Error>(sound.error());
  // serve() leaves this directory. A program without a slash is looked for in PATH.
  for (std::string* path : {&config.git_config, &config.socket})
    if (!path->empty()) *path = fs::absolute(*path).string();
  if (config.sandboxd.find('/') != std::string::npos)
    config.sandboxd = fs::absolute(config.sandboxd).string();
  return config;
}

/// The message as a JSON string: spdlog's own %v would let a quote break the line.
class JsonMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& to) override {
    const std::string text =
        nlohmann::json(std::string(message.payload.data(), message.payload.size()))
            .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    to.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<JsonMessage>();
  }
};

void set_up_log(const Config& config) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("musterd"));
  spdlog::set_level(spdlog::level::from_str(config.log_level));
  if (config.log_format != "json") return;
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<JsonMessage>('*').set_pattern(
      R"({"at":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","pid":%P,"message":%*})");
  spdlog::set_formatter(std::move(formatter));
}

sigset_t stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

int serve(const Config& config) {
  const sigset_t signals = stop_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // Before there is another thread.
  ::signal(SIGPIPE, SIG_IGN);
  fs::current_path("/");  // Where we were started may be removed, and git fails without one.
  auto app = App::start(config);
  if (!app) return complain(app.error());
  int signal = 0;
  ::sigwait(&signals, &signal);
  spdlog::info("signal {}: stopping, {} at most", signal, to_string(kStopLimit));
  // Whatever hangs: what is durable stays so. A second signal ends it at once, too.
  ::alarm(static_cast<unsigned>(kStopLimit.count() / 1000));
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  (*app)->stop();
  spdlog::info("stopped");
  return 0;
}

int check_installation(const Config& config) {
  const auto lock = lock_file(config.paths.data() / "musterd.lock");
  if (!lock) return complain({lock.error().code, "stop musterd first: " + lock.error().message});
  const auto engine = open_offline(config.paths.engine());
  if (!engine) return complain(engine.error());
  const auto result = check_fleets(View(**engine));
  if (!result) return complain(result.error());
  for (const std::string& difference : result->differences) std::printf("%s\n", difference.c_str());
  std::fprintf(stderr, "%zu fleets, %zu runs: %s\n", result->fleets, result->runs,
               result->differences.empty() ? "all agree" : "they disagree");
  return result->differences.empty() ? 0 : kExitFailed;
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
  CLI::App app(
      "The engine: runs fleets of coding agents on hosts. Without a command it serves until "
      "SIGTERM.",
      "musterd");
  declare(app, line);
  app.require_subcommand(0, 1);
  auto* check_command =
      app.add_subcommand("check", "compare the fleets' counters and rows with the runs");
  auto* host = app.add_subcommand("host", "the installation's hosts");
  host->require_subcommand(1);
  auto* add = host->add_subcommand("add", "make a certificate for another host");
  add->add_option("NAME", line.host_to_add, "the host's name")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  const auto config = configure(line);
  if (!config) return complain(config.error());
  set_up_log(*config);
  if (check_command->parsed()) return check_installation(*config);
  if (add->parsed()) return add_host(*config, line.host_to_add);
  return serve(*config);
}

}  // namespace
}  // namespace muster::musterd

int main(int argc, char** argv) {
  return muster::musterd::run(argc, argv);
}
