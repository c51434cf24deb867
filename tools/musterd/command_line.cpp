#include "tools/musterd/command_line.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "storage/base/exit_code.hpp"
#include "tools/musterd/version.hpp"

namespace muster::musterd {
namespace {

namespace fs = std::filesystem;

/// An option that overrides the configuration file when it was given.
template <class T>
void setting(CLI::App& app, CommandLine& line, const std::string& name, T Config::*member,
             const std::string& help) {
  const auto take = [&line, member, name](const T& value) {
    line.given.push_back([member, name, value](Config& config) {
      config.*member = value;
      std::string key = name.substr(2);
      std::replace(key.begin(), key.end(), '-', '_');
      config.sources[key] = name;
    });
  };
  if constexpr (std::is_same_v<T, bool>) {
    app.add_flag_callback(
        name, [take] { take(true); }, help);
  } else {
    app.add_option_function<T>(name, take, help);
  }
}

}  // namespace

void declare_options(CLI::App& app, CommandLine& line) {
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
  setting(app, line, "--stop-seconds", &Config::stop_seconds,
          "a graceful stop takes no longer (30)");
  setting(app, line, "--allow-host-network", &Config::allow_host_network,
          "runs on the embedded host may ask for network: host");
  setting(app, line, "--link-address", &Config::link_address,
          "HOST:PORT where hosts connect (127.0.0.1:7411); port 0: any");
  setting(app, line, "--socket", &Config::socket,
          "the API's unix socket (run/muster/musterd.sock)");
  setting(app, line, "--http", &Config::http,
          "HOST:PORT: the API on a loopback address too, for tests");
  setting(app, line, "--https", &Config::https, "HOST:PORT: the API over TLS (0.0.0.0:7412)");
  setting(app, line, "--tls-certificate", &Config::tls_certificate,
          "a PEM file; default: one of the own CA");
  setting(app, line, "--tls-key", &Config::tls_key, "its key");
  setting(app, line, "--git-config", &Config::git_config,
          "a git configuration file with credentials for forges by URL");
  setting(app, line, "--otlp-endpoint", &Config::otlp_endpoint,
          "a collector of traces: http://127.0.0.1:4318");
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
  for (std::string* path : {&config.git_config, &config.socket, &config.tls_certificate,
                            &config.tls_key, &config.audit_heads})
    if (!path->empty()) *path = fs::absolute(*path).string();
  if (config.sandboxd.find('/') != std::string::npos)
    config.sandboxd = fs::absolute(config.sandboxd).string();
  return config;
}

int complain(const Error& error) {
  std::fprintf(stderr, "musterd: %s\n", error.message.c_str());
  return exit_code(error.code);
}

}  // namespace muster::musterd
