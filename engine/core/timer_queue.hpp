// The earliest timers of a shard, in memory; the others lie in the journal until it is their turn.
//
// A window over the rows of Family::timers: everything up to `horizon_` is here, and only that. Belongs to the
// shard's strand.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "engine/core/speculation.hpp"
#include "storage/base/time.hpp"

namespace muster::engine {

class TimerQueue {
 public:
  TimerQueue(Speculation& rows, std::size_t limit) : rows_(rows), limit_(limit) {}

  void set(std::string key, std::string record);
  void cancel(const std::string& key);

  /// When the earliest is due; nothing when there is none.
  Result<std::optional<Instant>> next();
  /// Takes the earliest one that is due at `now`, and deletes its row.
  Result<std::optional<std::string>> take_due(Instant now);

  [[nodiscard]] std::size_t in_memory() const { return near_.size(); }

  /// Forgets the window; the next question reads it anew.
  void clear();

 private:
  Result<void> refill();

  Speculation& rows_;
  std::size_t limit_;
  std::map<std::string, std::string> near_;
  /// Rows with greater keys are not in `near_`. Absent: there are none.
  std::optional<std::string> horizon_ = std::string();
};

}  // namespace muster::engine
