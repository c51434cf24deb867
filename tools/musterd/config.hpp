// How musterd is set up: /etc/muster/musterd.yaml, and what the command line says over it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/paths.hpp"

namespace muster::musterd {

struct Config {
  Paths paths;
  std::string socket;           ///< Empty: paths.socket().
  std::string http;             ///< "127.0.0.1:0": for tests; empty: none.
  std::string https;            ///< "0.0.0.0:7412": the API over TLS; empty: none.
  std::string tls_certificate;  ///< Empty: one of the installation's own CA, for tls_names.
  std::string tls_key;
  std::vector<std::string>
      tls_names;  ///< Empty: this machine's name, localhost, 127.0.0.1 and ::1.
  std::string
      proxy_user_header;  ///< Where a reverse proxy names the user; empty: none is believed.
  std::string proxy_groups_header;
  std::map<std::string, std::string> proxy_roles;  ///< viewer, operator or admin, by group.
  std::string otlp_endpoint;  ///< "http://127.0.0.1:4318": a collector of traces; empty: none.
  std::string audit_heads;  ///< Where signed heads of the audit log go; empty: paths.audit_heads().
  unsigned audit_refusals_per_minute = 120;  ///< With an entry each; the others are counted.
  std::string link_address =
      "127.0.0.1:7411";  ///< Where hosts connect; port 0: the kernel's choice.
  bool embedded_host = false;
  std::string host_name = "local";  ///< Of the embedded host.
  unsigned slots = 0;               ///< Of the embedded host; 0: sandboxd decides.
  std::string sandboxd;             ///< Empty: beside this program, else from PATH.
  bool keep_host = false;           ///< A graceful stop leaves the embedded host running.
  bool allow_host_network = false;  ///< Of the embedded host.
  std::string git_config;           ///< For forges by URL: how git comes by its credentials.
  unsigned keep_contents_days =
      90;  ///< Logs, packs and artefacts, since the fleet's end; 0: as long as it.
  unsigned keep_fleets_days =
      400;  ///< Fleets and swarms, their runs and pull requests; 0: for ever.
  unsigned keep_hosts_days = 90;    ///< Hosts that do not connect any more; 0: for ever.
  bool retention_dry_run = false;   ///< What is due is counted, and nothing is removed.
  unsigned stop_seconds = 30;       ///< A graceful stop takes no longer, whatever clients and hosts do.
  unsigned shards = 1;              ///< Of the engine. No other number is supported yet.
  std::string log_level = "info";   ///< debug | info | warn | error
  std::string log_format = "text";  ///< text | json

  /// Where each setting that is not the default comes from: "FILE:LINE", "--log-level".
  std::map<std::string, std::string> sources;

  [[nodiscard]] std::filesystem::path audit_heads_path() const {
    return audit_heads.empty() ? paths.audit_heads() : std::filesystem::path(audit_heads);
  }
  [[nodiscard]] std::string socket_path() const {
    return socket.empty() ? paths.socket().string() : socket;
  }
};

/// Sets what the YAML names. Errc::invalid lists everything that is wrong, as "name:line:column:
/// …".
Result<void> apply_yaml(Config& config, std::string_view text, const std::string& name);

/// The file at `path`; a missing one changes nothing unless `required`.
Result<void> apply_file(Config& config, const std::filesystem::path& path, bool required);

/// Where hosts connect: what the running musterd says in its runtime file, else the setting.
std::string link_address_now(const Config& config);

/// One setting for `musterd config show`.
struct ShownSetting {
  std::string key;
  std::string value;
  std::string source;  ///< "default", "FILE:LINE" or the option.
  bool reloadable = false;
};
std::vector<ShownSetting> show(const Config& config);

/// Whether SIGHUP is enough for a change of it.
bool is_reloadable(std::string_view key);

/// Whether the settings make sense together.
Result<void> check(const Config& config);

}  // namespace muster::musterd
