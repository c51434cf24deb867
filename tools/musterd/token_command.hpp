// `musterd token create | list | revoke`: works on the tokens' file, whether musterd runs or not; a
// running one sees the change at its next request.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/paths.hpp"

namespace muster::musterd {

class TokenCommand {
 public:
  explicit TokenCommand(CLI::App& app);
  TokenCommand(const TokenCommand&) = delete;
  TokenCommand& operator=(const TokenCommand&) = delete;

  [[nodiscard]] bool parsed() const { return token_->parsed(); }
  /// Prints what was asked for on stdout.
  Result<void> run(const Paths& paths);

 private:
  Result<void> create(const Paths& paths);
  Result<void> list(const Paths& paths) const;
  Result<void> revoke(const Paths& paths);

  CLI::App* token_;
  CLI::App* create_;
  CLI::App* list_;
  CLI::App* revoke_;
  std::string name_;
  std::string role_ = "viewer";
  std::string expires_ = "90d";
  std::vector<std::string> fleets_;
  std::vector<std::string> orgs_;
  bool proxy_ = false;
  bool json_ = false;
};

}  // namespace muster::musterd
