// musterd's options, and the configuration that they and the file make.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "tools/musterd/config.hpp"

namespace muster::musterd {

struct CommandLine {
  std::string root = "/";
  std::string config_file;
  std::vector<std::function<void(Config&)>> given;  ///< Options that override the file.
};

void declare_options(CLI::App& app, CommandLine& line);

/// The file, then the options over it; may be asked again when the file has changed.
Result<Config> configure(const CommandLine& line);

/// Prints the error; the exit code.
int complain(const Error& error);
inline int finish(const Result<void>& done) {
  return done ? 0 : complain(done.error());
}

inline constexpr int kExitFailed = 1, kExitUsage = 2;

}  // namespace muster::musterd
