// The audit log: entries in order, each hashed together with the one before, so that none can be
// changed, removed or moved without the rest telling. Append-only files; old ones go only by
// prune(), which leaves a signed checkpoint.
//
//   auto chain = AuditChain::open(paths.audit());
//   auto head = chain->append({"{\"who\":…}"});        // durable when it returns
//   chain->read(0, [](const AuditEntry& e) { … });
//
// Several processes may append at once (musterd, and a command beside it): each append takes the
// directory's lock and first reads what others added. Thread-safe.
//
// After kill -9 an append is there whole, or its torn last line is cut off by the next one: nobody
// was told of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "storage/audit/signing.hpp"
#include "storage/base/error.hpp"
#include "storage/base/files.hpp"
#include "storage/base/time.hpp"

namespace muster::storage {

inline constexpr std::size_t kMaxAuditPayload = 64u << 10;
inline constexpr std::uint64_t kAuditSegmentBytes = 4u << 20;  ///< A file is closed beyond it.

/// Where a chain stands: its newest entry. Number 0 and 64 zeros: empty.
struct AuditHead {
  std::uint64_t number = 0;
  std::string hash = std::string(64, '0');
  bool operator==(const AuditHead&) const = default;
};

struct AuditEntry {
  std::uint64_t number = 0;
  std::string_view hash;
  std::string_view payload;  ///< One line of text.
};

/// What prune() leaves: everything up to `head` was exported as a file of that digest.
struct AuditCheckpoint {
  AuditHead head;
  Instant at;
  std::string export_sha256;
};

class AuditChain {
 public:
  /// Creates the directory when missing. `segment_bytes`: for tests.
  static Result<std::unique_ptr<AuditChain>> open(const std::filesystem::path& directory,
                                                  std::uint64_t segment_bytes = kAuditSegmentBytes);

  /// All or none of them; durable when it returns. Errc::invalid for a payload with a line break,
  /// or too large.
  Result<AuditHead> append(const std::vector<std::string>& payloads);
  Result<AuditHead> head();

  /// Entries after number `after`, in order, until `each` returns false. Does not check hashes:
  /// verify.hpp does.
  Result<void> read(std::uint64_t after, const std::function<bool(const AuditEntry&)>& each) const;

  /// Gives up whole files of entries up to `upto` and leaves a checkpoint. `export_sha256` is the
  /// digest of the lines (export_line) of everything from the first kept entry up to `upto`:
  /// Errc::conflict unless it fits. The checkpoint is durable before the first file goes.
  Result<AuditCheckpoint> prune(std::uint64_t upto, const std::string& export_sha256,
                                const SigningKey& key, Instant now);

 private:
  AuditChain(std::filesystem::path directory, std::uint64_t segment_bytes);
  Result<Fd> lock() const;
  /// Reads what others appended, and cuts off a torn line. Under the lock.
  Result<void> catch_up();
  Result<void> begin_segment();
  Result<void> finish_pruning();

  const std::filesystem::path directory_;
  const std::uint64_t segment_bytes_;
  std::mutex mutex_;
  AuditHead head_;
  Fd file_;                    ///< The newest segment, for appending.
  std::uint64_t segment_ = 0;  ///< Its first number; 0: none is open.
  std::uint64_t size_ = 0;     ///< Of it, up to where it was read.
};

/// The hash of the entry after `before`.
std::string audit_hash(const AuditHead& before, std::string_view payload);
/// "NUMBER HASH PAYLOAD\n": an entry in its file and in an export.
std::string export_line(const AuditEntry& entry);

}  // namespace muster::storage
