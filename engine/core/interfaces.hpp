// What a shard stands on. engine/runtime gives it CAF, RocksDB and the system's clock; the simulator gives it
// virtual ones. None of these may throw.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/core/engine.hpp"

namespace muster::engine {

using Task = std::function<void()>;

/// Where a shard's work runs.
class Executor {
 public:
  virtual ~Executor() = default;
  /// On the shard's strand: one task at a time, in the order of posting. From any thread.
  virtual void post(Task task) = 0;
  /// As post, but not before `delay` has passed. For waking up; a task that comes late is only late.
  virtual void post_after(Duration delay, Task task) = 0;
  /// On the shard's writer, which may block on the disk: one task at a time, in the order of posting.
  virtual void write(Task task) = 0;
};

/// A clock that follows the wall at the start of the process and afterwards only goes forward.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual Instant now() const = 0;
};

/// Messages from one shard to another, numbered `first`, `first + 1`, … without a gap.
struct Parcel {
  std::uint32_t source = 0;
  std::uint64_t first = 0;
  std::vector<std::string> envelopes;  ///< EnvelopeRecords.
};

/// The receiver's durable mark. `again`: it missed something above, send from mark + 1.
struct ParcelAck {
  std::uint32_t source = 0;  ///< The shard that acknowledges.
  std::uint64_t mark = 0;
  bool again = false;
};

/// Between shards. May delay, lose, repeat and reorder.
class Link {
 public:
  virtual ~Link() = default;
  virtual void send(std::uint32_t destination, Parcel parcel) = 0;
  virtual void acknowledge(std::uint32_t destination, ParcelAck ack) = 0;
};

/// Remembers over the end of the process which message was being stepped (breadcrumb.hpp).
class StepMark {
 public:
  virtual ~StepMark() = default;
  virtual void enter(std::uint64_t name) = 0;
  virtual void leave() = 0;
  /// The process has ended too often while this message was stepped.
  [[nodiscard]] virtual bool condemned(std::uint64_t name) const = 0;
};

/// What leaves a shard once it is durable. Called on the strand; must return soon, and must not call the shard
/// (post to its strand instead).
class Outside {
 public:
  virtual ~Outside() = default;
  virtual void perform(const PendingEffect& effect) = 0;
  virtual void changed(const std::vector<Change>& changes) = 0;
  /// Empty: healthy again.
  virtual void trouble(const std::string& what) = 0;
};

}  // namespace muster::engine
