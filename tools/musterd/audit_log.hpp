// The installation's audit log: what decisions recorded in the journal, and what the API and the
// commands note besides, in one hash chain (storage/audit) whose heads are signed into a second
// place.
//
// An entry that a decision made is durable with the decision; a thread carries it over to the
// chain, once each: the chain itself says up to where, so kill -9 neither loses nor doubles one.
// Notes are kept in memory until the same thread has written them (milliseconds); note_now() waits
// for the disk.
//
//   auto log = AuditLog::open({…});
//   (*log)->follow(engine);
//   (*log)->note({.who = "alice", .action = "POST /v1/…"});
//   (*log)->stop();                     // before the engine: writes what waits, signs the head
#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/core/engine.hpp"
#include "storage/audit/chain.hpp"
#include "storage/audit/verify.hpp"
#include "tools/musterd/audit_note.hpp"
#include "tools/musterd/wakes.hpp"

namespace muster::musterd {

struct AuditPlaces {
  std::filesystem::path directory;  ///< The chain.
  std::filesystem::path heads;      ///< The second place: a file.
  std::filesystem::path key;
};

struct AuditLimits {
  std::size_t waiting =
      1'024;  ///< Notes in memory; what comes beyond is counted, and the count is written.
  std::size_t batch = 256;   ///< Entries per append.
  Duration signing{60'000};  ///< A changed head is signed after at most so long.
};

/// An entry as readers get it.
struct AuditRecord {
  std::uint64_t number = 0;
  std::string hash;
  std::string payload;  ///< A JSON object on one line.
};

class AuditLog {
 public:
  static Result<std::unique_ptr<AuditLog>> open(AuditPlaces places, AuditLimits limits = {});
  ~AuditLog() { stop(); }
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  /// Starts the thread that writes. `engine` outlives stop().
  void follow(engine::Engine& engine);
  void stop();

  /// Never blocks on the disk.
  void note(AuditNote note);
  /// Durable when it returns.
  Result<void> note_now(const AuditNote& note);

  /// At most `limit` entries after `number`.
  Result<std::vector<AuditRecord>> after(std::uint64_t number, std::size_t limit) const;
  Result<storage::AuditHead> head() const { return chain_->head(); }
  Result<storage::AuditReport> verify() const;
  Result<storage::AuditCheckpoint> prune(std::uint64_t upto, const std::string& export_sha256);
  /// Called when there are new entries.
  [[nodiscard]] std::shared_ptr<void> on_append(Wakes::Wake wake) {
    return wakes_.add("", std::move(wake));
  }
  /// Why entries can't be written; "" when they can.
  [[nodiscard]] std::string trouble() const;

 private:
  /// Up to where one shard's decided entries are in the chain.
  struct Decided {
    engine::Sequence position = 0;
    std::uint32_t ordinal = 0;
  };
  AuditLog(AuditPlaces places, AuditLimits limits, std::unique_ptr<storage::AuditChain> chain,
           storage::SigningKey key);
  Result<void> find_decided();
  void learn(std::string_view payload);
  void run();
  Result<void> write_notes();
  Result<void> write_decided(std::uint32_t shard);
  Result<void> append(const std::vector<std::string>& payloads);
  Result<void> sign_if_due(bool now);
  Result<void> write_cursor(const storage::AuditHead& head) const;

  const AuditPlaces places_;
  const AuditLimits limits_;
  std::unique_ptr<storage::AuditChain> chain_;
  storage::SigningKey key_;
  engine::Engine* engine_ = nullptr;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> waiting_;  ///< Under mutex_.
  std::uint64_t uncounted_ = 0;      ///< Notes that found no room. Under mutex_.
  bool commits_ = true;              ///< The engine may have decided more. Under mutex_.
  bool stopping_ = false;            ///< Under mutex_.
  std::string trouble_;              ///< Under mutex_.

  std::map<std::uint32_t, Decided> decided_;  ///< By shard. The thread's, and find_decided()'s.
  storage::AuditHead signed_;                 ///< The thread's.
  std::chrono::steady_clock::time_point signed_at_{};
  mutable std::mutex pruning_;  ///< Nobody verifies meanwhile.
  Wakes wakes_;
  std::shared_ptr<void> subscription_;
  std::thread thread_;
};

/// An entry's text.
std::string audit_payload(const AuditNote& note, Instant now);

}  // namespace muster::musterd
