// How many refusals get an entry each in the audit log: who knocks at the door all night must not
// fill the disk. What comes beyond is counted, and the count becomes an entry with the first note
// after the window, or when the meter is closed.
//
//   RefusalMeter meter(120, [&](AuditNote note) { log.note(std::move(note)); });
//   meter.note({… .outcome = "refused" …});
//   meter.close();                       // before the log stops
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <mutex>

#include "storage/base/time.hpp"
#include "tools/musterd/audit_note.hpp"

namespace muster::musterd {

class RefusalMeter {
 public:
  static constexpr Duration kWindow{60'000};

  RefusalMeter(std::size_t per_window, Auditor log)
      : per_window_(per_window), log_(std::move(log)) {}

  /// Refusals (outcome "refused" or a status 4xx) beyond the limit are counted only; everything
  /// else is passed on.
  void note(AuditNote note, Instant now = wall_clock_now());
  void close();
  /// Since this process began.
  [[nodiscard]] std::uint64_t not_kept() const;

 private:
  void write_count();

  const std::size_t per_window_;
  const Auditor log_;
  mutable std::mutex mutex_;
  Instant window_begin_;       ///< Under mutex_, as all below.
  std::size_t kept_ = 0;       ///< In this window.
  std::uint64_t counted_ = 0;  ///< Not written yet.
  std::uint64_t ever_ = 0;
};

}  // namespace muster::musterd
