// How musterd is set up: /etc/muster/musterd.yaml, and what the command line says over it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"
#include "storage/base/paths.hpp"

namespace muster::musterd {

struct Config {
  Paths paths;
  std::string socket;  ///< Empty: paths.socket().
  std::string http;    ///< "127.0.0.1:0": for tests; empty: none.
  std::string link_address =
      "127.0.0.1:7411";  ///< Where hosts connect; port 0: the kernel's choice.
  bool embedded_host = false;
  std::string host_name = "local";  ///< Of the embedded host.
  unsigned slots = 0;               ///< Of the embedded host; 0: sandboxd decides.
  std::string sandboxd;             ///< Empty: beside this program, else from PATH.
  bool keep_host = false;           ///< A graceful stop leaves the embedded host running.
  bool allow_host_network = false;  ///< Of the embedded host.
  std::string git_config;           ///< For forges by URL: how git comes by its credentials.
  std::string log_level = "info";   ///< debug | info | warn | error
  std::string log_format = "text";  ///< text | json

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

/// Whether the settings make sense together.
Result<void> check(const Config& config);

}  // namespace muster::musterd
