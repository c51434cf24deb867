// Where everything lies. `--root DIR` moves every place below DIR.
#pragma once

#include <filesystem>
#include <string>

namespace muster {

struct Paths {
  std::filesystem::path root = "/";

  [[nodiscard]] std::filesystem::path config() const { return root / "etc/muster"; }
  [[nodiscard]] std::filesystem::path secrets() const { return config() / "secrets"; }
  [[nodiscard]] std::filesystem::path data() const { return root / "var/lib/muster"; }
  [[nodiscard]] std::filesystem::path engine() const { return data() / "engine"; }
  [[nodiscard]] std::filesystem::path shard(int n) const {
    return engine() / ("shard-" + std::to_string(n));
  }
  [[nodiscard]] std::filesystem::path blobs() const { return data() / "blobs"; }
  [[nodiscard]] std::filesystem::path packs() const { return data() / "packs"; }
  [[nodiscard]] std::filesystem::path logs() const { return data() / "logs"; }
  [[nodiscard]] std::filesystem::path tokens() const { return data() / "tokens.json"; }
  [[nodiscard]] std::filesystem::path audit() const { return data() / "audit"; }
  /// Signed heads of the audit log: away from it, so that who removes the one does not have the other.
  [[nodiscard]] std::filesystem::path audit_heads() const { return root / "var/lib/muster-audit/heads"; }
  [[nodiscard]] std::filesystem::path audit_key() const { return config() / "audit.key"; }
  [[nodiscard]] std::filesystem::path ca() const { return data() / "ca"; }
  [[nodiscard]] std::filesystem::path host() const { return data() / "host"; }
  [[nodiscard]] std::filesystem::path mirrors() const { return host() / "mirrors"; }
  [[nodiscard]] std::filesystem::path images() const { return host() / "images"; }
  [[nodiscard]] std::filesystem::path runtime() const { return root / "run/muster"; }
  [[nodiscard]] std::filesystem::path socket() const { return runtime() / "musterd.sock"; }
  /// One sandbox's run-time directory; short, because a socket's path ends at 107 bytes.
  [[nodiscard]] std::filesystem::path sandbox(const std::string& id) const {
    return runtime() / "s" / id;
  }
};

}  // namespace muster
