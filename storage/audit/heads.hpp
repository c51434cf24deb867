// Signed heads of the audit log, in a second place: whoever cuts entries off the log's end must
// also get at these. What was appended after the newest signed head can be cut off unnoticed, which
// bounds the loss to one period.
//
//   heads := ("HEAD " number " " hash " " unix-ms " " signature LF)*      signature of the line up
//   to the blank before it
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "storage/audit/chain.hpp"

namespace muster::storage {

struct SignedHead {
  AuditHead head;
  Instant at;
  std::string text;  ///< What is signed.
  std::string signature;
};

/// Durable when it returns.
Result<void> append_head(const std::filesystem::path& file, const AuditHead& head,
                         const SigningKey& key, Instant now);

/// In the file's order; a missing file holds none, a torn last line is passed over. A line that
/// can't be read has an empty text.
Result<std::vector<SignedHead>> read_heads(const std::filesystem::path& file);

/// Nothing for a line that is none.
std::optional<SignedHead> parse_head(std::string_view line);

}  // namespace muster::storage
