// Whether the audit log is what was written: every hash, every number, every signed head and the
// checkpoint. Reads only; works beside a running musterd, and on an exported file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "storage/audit/heads.hpp"

namespace muster::storage {

inline constexpr std::size_t kMaxAuditFindings = 100;

struct AuditReport {
  std::uint64_t first = 0;  ///< The number of the first entry that is kept; 0: none.
  AuditHead head;           ///< The newest one.
  std::uint64_t entries = 0;
  std::optional<AuditCheckpoint> checkpoint;
  std::uint64_t signed_heads = 0;
  std::optional<SignedHead> newest_signed;
  bool torn = false;  ///< The last line is not whole: a crash, or somebody's scissors.
  /// What is wrong, for a person; empty: the log is sound.
  std::vector<std::string> findings;
};

Result<AuditReport> verify_audit(const std::filesystem::path& directory,
                                 const std::filesystem::path& heads, const VerifyingKey& key);

/// Of a file of export_line()s, which begins at any entry. `heads` may be missing.
Result<AuditReport> verify_audit_export(const std::filesystem::path& file,
                                        const std::filesystem::path& heads,
                                        const VerifyingKey& key);

}  // namespace muster::storage
