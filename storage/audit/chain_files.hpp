// The files of an audit chain. Private to storage/audit.
//
//   DIR/NNNNNNNNNNNNNNNNNNNN.audit   a segment, named by its first entry's number (20 digits):
//       segment    := "MUSTER-AUDIT 1 " number " " hash LF   the first entry's number, and the hash
//       before it
//                     entry*
//       entry      := number " " hash " " payload LF
//       hash       := hex(SHA-256(hash-before LF number LF payload))
//   DIR/checkpoint := "CHECKPOINT " number " " hash " " unix-ms " " export-sha256 " " signature LF
//       signature of the line up to the blank before it; everything up to `number` may be gone
//   DIR/lock       held while appending and pruning
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "storage/audit/chain.hpp"

namespace muster::storage::audit {

struct Segment {
  std::filesystem::path path;
  std::uint64_t first = 0;
};
/// In order.
Result<std::vector<Segment>> segments(const std::filesystem::path& directory);

std::filesystem::path segment_path(const std::filesystem::path& directory, std::uint64_t first);
/// The first line; `head` is what stands before the first entry.
std::string segment_header(const AuditHead& head);
/// Errc::corrupt for anything else.
Result<AuditHead> parse_header(std::string_view line);
std::optional<AuditEntry> parse_entry(std::string_view line);

/// Lines of a file from `offset`, without their ends. The last argument says whether it ended with
/// a line break; the visitor returns false to stop. Bounded memory: a line longer than an entry can
/// be is Errc::corrupt.
using LineVisitor = std::function<bool(std::string_view line, bool whole)>;
Result<void> read_lines(const std::filesystem::path& path, std::uint64_t offset,
                        const LineVisitor& each);

/// Nothing: never pruned.
Result<std::optional<std::string>> checkpoint_line(const std::filesystem::path& directory);
struct SignedCheckpoint {
  AuditCheckpoint checkpoint;
  std::string text;  ///< What is signed.
  std::string signature;
};
Result<SignedCheckpoint> parse_checkpoint(std::string_view line);
std::string checkpoint_text(const AuditCheckpoint& checkpoint);

}  // namespace muster::storage::audit
