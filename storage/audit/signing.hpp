// Ed25519 keys that sign the audit log's heads and checkpoints. The private key stays where musterd
// runs; whoever checks needs the public one only.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"

namespace muster::storage {

class SigningKey {
 public:
  /// The key at `path` (PEM, 0600), made when there is none, with its public half at `path`.pub.
  /// Errc::corrupt when there is a file that is no key, or a public half alone: a new key would
  /// make every old signature look forged.
  static Result<SigningKey> ensure(const std::filesystem::path& path);

  /// 128 hexadecimal digits.
  [[nodiscard]] Result<std::string> sign(std::string_view text) const;

 private:
  explicit SigningKey(std::shared_ptr<void> key) : key_(std::move(key)) {}
  std::shared_ptr<void> key_;  ///< EVP_PKEY
};

class VerifyingKey {
 public:
  /// The public half at `path` (PEM).
  static Result<VerifyingKey> read(const std::filesystem::path& path);
  [[nodiscard]] bool fits(std::string_view text, std::string_view signature) const;

 private:
  explicit VerifyingKey(std::shared_ptr<void> key) : key_(std::move(key)) {}
  std::shared_ptr<void> key_;
};

}  // namespace muster::storage
