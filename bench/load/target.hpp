// The musterd under load: one of ours with a fresh root, or somebody's.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>

#include "bench/load/options.hpp"
#include "storage/link/link.hpp"
#include "tools/muster/client.hpp"

namespace muster::load {

struct Resources {
  double memory = 0;       ///< Resident, in bytes.
  double memory_peak = 0;  ///< Since its start; 0 when not known.
  double cpu_s = -1;       ///< Negative when not known.
};

class Target {
 public:
  /// Waits until it answers.
  static Result<std::unique_ptr<Target>> open(const Options& options);
  ~Target();
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  [[nodiscard]] const cli::Endpoint& endpoint() const { return endpoint_; }
  [[nodiscard]] const std::string& link_address() const { return link_; }
  /// Made where that can be.
  [[nodiscard]] Result<storage::TlsFiles> certificate(const std::string& host) const;
  /// From /proc when it runs here.
  [[nodiscard]] Resources resources() const;
  /// For real repositories; goes with the target unless it is kept.
  [[nodiscard]] Result<std::filesystem::path> repositories_directory();
  /// Why an own musterd is gone; empty while it lives.
  [[nodiscard]] std::string death();

 private:
  Target() = default;
  Result<void> launch(const Options& options);
  Result<void> find(const std::filesystem::path& root, const Options& options);
  Result<void> wait_until_ready();

  cli::Endpoint endpoint_;
  std::string link_;
  std::filesystem::path ca_;
  bool makes_certificates_ = false;
  std::filesystem::path directory_;
  bool keep_ = false;
  pid_t own_ = 0;
  pid_t pid_ = 0;  ///< On this machine; 0: elsewhere.
};

}  // namespace muster::load
