// musterd whole: opens the stores, the engine and its ports, serves hosts and the API, and looks
// after the embedded host. Everything is made in start() in the order of its needs, and unmade in
// stop() in the opposite one.
//
//   auto app = App::start(config);     // Errc::conflict: another musterd has this root
//   …
//   (*app)->stop();                    // its waits are parts of config.stop_seconds
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/core/kind.hpp"
#include "tools/musterd/config.hpp"

namespace muster::musterd {

class App {
 public:
  virtual ~App() = default;
  static Result<std::unique_ptr<App>> start(const Config& config);
  virtual void stop() = 0;
  /// Takes over what can be changed at run time (is_reloadable); the names of other settings that
  /// differ come back, for they need a restart. Errc::invalid changes nothing.
  virtual Result<std::vector<std::string>> reload(const Config& config) = 0;

  [[nodiscard]] virtual int link_port() const = 0;
  /// 0 without a TCP listener.
  [[nodiscard]] virtual int http_port() const = 0;
  /// Of the TLS listener; 0 without one.
  [[nodiscard]] virtual int https_port() const = 0;
};

/// The kinds of this installation.
engine::Kinds all_kinds();

}  // namespace muster::musterd
