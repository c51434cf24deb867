// Commands over what is kept: check, restore, the backups in a directory, and what is configured.
// musterd's own store is touched only while no musterd runs there.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "tools/musterd/config.hpp"

namespace muster::musterd {

class StoreCommands {
 public:
  explicit StoreCommands(CLI::App& app);
  StoreCommands(const StoreCommands&) = delete;
  StoreCommands& operator=(const StoreCommands&) = delete;

  [[nodiscard]] bool parsed() const;
  /// The exit code.
  int run(const Config& config) const;

 private:
  int check(const Config& config) const;
  int backups() const;
  int verify() const;
  int restore(const Config& config) const;
  int show_config(const Config& config) const;

  CLI::App* check_;
  CLI::App* config_;
  CLI::App* backup_;
  CLI::App* list_;
  CLI::App* verify_;
  CLI::App* restore_;
  std::string directory_;
  std::string id_;
  bool json_ = false;
};

}  // namespace muster::musterd
