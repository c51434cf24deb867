// The installation's bearer tokens: `mst_ID_SECRET`, of which only SHA-256(SECRET) is kept (256
// random bits need no slow hash). One file, read again when it changed, so that what a command
// creates or revokes counts at once. The file is written whole under a lock, by any number of
// processes.
//
//   TokenStore tokens(paths.data() / "tokens.json");
//   auto made = tokens.create({.name = "ci", .role = Role::operator_, .expires = now + …}, now);
//   made->secret                      // shown once
//   tokens.find("mst_…", now)         // Errc::refused: unknown, revoked or expired
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/time.hpp"
#include "tools/musterd/identity.hpp"

namespace muster::musterd {

inline constexpr std::size_t kMaxTokens = 1'000;  ///< Kept, with the revoked and expired ones.

struct Token {
  std::string id;    ///< 10 characters; public.
  std::string name;  ///< Whose it is.
  std::string sha256;
  Role role = Role::viewer;
  bool proxy =
      false;  ///< A reverse proxy's: it may name the user in a header, where that is configured.
  Scope scope;
  Instant created;
  std::optional<Instant> expires;
  std::optional<Instant> revoked;

  /// "active", "expired" or "revoked".
  [[nodiscard]] std::string_view state(Instant now) const;
};

class TokenStore {
 public:
  explicit TokenStore(std::filesystem::path file) : file_(std::move(file)) {}

  struct Made {
    Token token;
    std::string secret;  ///< "mst_ID_SECRET": kept nowhere.
  };
  /// Fills in id, sha256 and created. Errc::invalid for a bad name; conflict when an active one has
  /// that name.
  Result<Made> create(Token token, Instant now);
  /// By id or name. Errc::not_found when none is active.
  Result<Token> revoke(const std::string& id_or_name, Instant now);
  Result<std::vector<Token>> list() const;

  /// The active token of that secret. One answer for every kind of wrong one, in the same time.
  Result<Token> find(std::string_view secret, Instant now) const;

 private:
  using Tokens = std::vector<Token>;
  Result<std::shared_ptr<const Tokens>> read() const;
  Result<void> write(const Tokens& tokens);
  /// What lets two versions of the file be told apart.
  struct Version {
    std::uint64_t inode = 0;
    std::int64_t modified_ns = 0;
    std::uint64_t size = 0;
    bool operator==(const Version&) const = default;
  };
  std::optional<Version> version() const;

  std::filesystem::path file_;
  mutable std::mutex mutex_;
  mutable std::optional<Version> seen_;           ///< Under mutex_.
  mutable std::shared_ptr<const Tokens> tokens_;  ///< Under mutex_.
};

}  // namespace muster::musterd
