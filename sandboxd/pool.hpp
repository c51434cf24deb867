// Which sandboxes are made ahead, how many, and when they go. An environment of a repository that was asked for twice within
// `idle_minutes` gets some: one less than it was asked for, at most `per_environment`, and all together at most `max`;
// one is made at a time. When nothing was asked for so long, they go; at once, when disk or memory run low, or the
// daemon ends. A fleet that asks each repository once therefore costs nothing.
//
// Loop thread only; what blocks (making, removing) runs on a thread of its own, so that no attempt waits for it.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "sandboxd/attempt.hpp"
#include "sandboxd/loop.hpp"

namespace muster::sandbox {

/// How many should wait, by when attempts asked (boot_ms). Pure.
unsigned warm_target(const std::deque<std::int64_t>& asked, std::int64_t now, const WarmSettings& settings);

class WarmPool {
 public:
  /// `number`: a slot number that nothing alive has, the pool's own asked for by slots() and excluded.
  WarmPool(Host& host, Loop& loop, std::function<unsigned()> number);
  ~WarmPool();  ///< Nothing is left of it.

  /// One for an attempt with that key, no longer the pool's.
  std::optional<WarmSandbox> take(const std::string& key);
  /// An attempt was placed, in one of these or not: what it asked for may be asked for again.
  void placed(const wire::SandboxSpecT& spec, const Started& started);
  /// About every second. Without `may_grow` what waits is removed, and nothing is made.
  void tick(bool may_grow);
  /// The container of that name has ended; false: it is none of the pool's.
  bool ended(const std::string& id);
  /// Removes what waits.
  void clear();

  [[nodiscard]] std::set<unsigned> slots() const;
  /// Mirrors that its sandboxes borrow from, for caches that are cleaned.
  [[nodiscard]] std::set<std::string> in_use() const;
  /// What the engine is told: counts, and the lines that were asked for last.
  [[nodiscard]] wire::WarmPoolStateT state() const;

 private:
  /// What attempts with one key asked for, and what waits for the next.
  struct Line {
    std::deque<std::int64_t> asked;
    std::shared_ptr<const wire::SandboxSpecT> like;
    Started started;
    std::deque<WarmSandbox> waiting;
    std::int64_t not_before = 0;  ///< After a failure.
    std::uint64_t hits = 0, misses = 0;
  };
  struct Making {
    std::string id, key;
    unsigned slot = 0;
    bool wanted = true;
  };

  void make(const std::string& key, Line& line);
  void made(Result<WarmSandbox> warm);
  void remove(const WarmSandbox& warm);
  void shrink(std::int64_t now);
  void grow(std::int64_t now);
  [[nodiscard]] std::size_t count() const;

  Host& host_;
  Loop& loop_;
  const std::function<unsigned()> number_;
  std::map<std::string, Line> lines_;
  std::uint64_t hits_ = 0, misses_ = 0;
  std::optional<Making> making_;
  std::map<std::string, unsigned> removing_;  ///< Their user ids are in use until they are gone.
  std::atomic<bool> give_up_{false};
  std::unique_ptr<Workers> worker_;  // last: its tasks use what stands above
};

/// Less than an eighth of the machine's memory is available.
bool memory_is_low();

}  // namespace muster::sandbox
