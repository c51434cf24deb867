// How long this host may go on without the engine: a pure clock of heartbeats. Times are CLOCK_BOOTTIME milliseconds.
//
// The lease counts from when the last *acknowledged* heartbeat was *sent*; the engine counts from when it received it,
// plus a margin: so the host always knows first.
//
// Its end stops every sandbox and ends none: they are frozen, because the engine may have given their runs to another
// host. Whether it has, only the engine can tell: one that was away itself, or behind a broken network, gives each host
// a whole lease when it is back, and names in its Welcome what goes on. After an hour without a word they are ended.
#pragma once

#include <cstdint>
#include <deque>

namespace muster::sandbox {

class Lease {
 public:
  static constexpr std::int64_t kLongestAloneMs = 3'600'000;

  enum class Standing : std::uint8_t { held, suspended, over };

  /// A session began with a Hello that was sent then.
  void begin(std::int64_t hello_sent, std::int64_t lease_ms) {
    sent_.clear();
    lease_ms_ = lease_ms;
    extend(hello_sent);
  }
  void sent(std::uint64_t heartbeat, std::int64_t now) {
    if (sent_.size() >= kMaxUnanswered) sent_.pop_front();
    sent_.push_back({heartbeat, now});
  }
  void renewed(std::uint64_t heartbeat) {
    while (!sent_.empty() && sent_.front().number <= heartbeat) {
      if (sent_.front().number == heartbeat) extend(sent_.front().at);
      sent_.pop_front();
    }
  }
  /// After a restart: what the last one knew.
  void restore(std::int64_t until) { until_ = until; }

  [[nodiscard]] std::int64_t until() const { return until_; }
  /// Held before the first session: who never had a lease has nothing to lose.
  [[nodiscard]] Standing standing(std::int64_t now) const {
    if (until_ == 0 || now < until_) return Standing::held;
    return now - until_ < kLongestAloneMs ? Standing::suspended : Standing::over;
  }

 private:
  static constexpr std::size_t kMaxUnanswered = 256;
  struct Sent {
    std::uint64_t number;
    std::int64_t at;
  };
  /// The newest word counts, also when it is shorter: the engine goes by it.
  void extend(std::int64_t from) { until_ = from + lease_ms_; }
  std::deque<Sent> sent_;
  std::int64_t lease_ms_ = 0;
  std::int64_t until_ = 0;
};

}  // namespace muster::sandbox
