#include "tools/musterd/refusal_meter.hpp"

namespace muster::musterd {
namespace {

bool is_refusal(const AuditNote& note) {
  return note.outcome == "refused" || note.outcome.starts_with('4');
}

}  // namespace

void RefusalMeter::note(AuditNote note, Instant now) {
  const std::lock_guard lock(mutex_);
  // A clock that was set back begins a window too: nothing is passed over for longer than one.
  if (now < window_begin_ || now - window_begin_ >= kWindow) {
    write_count();
    window_begin_ = now;
    kept_ = 0;
  }
  if (is_refusal(note) && ++kept_ > per_window_) {
    ++counted_;
    ++ever_;
    return;
  }
  log_(std::move(note));
}

void RefusalMeter::close() {
  const std::lock_guard lock(mutex_);
  write_count();
}

std::uint64_t RefusalMeter::not_kept() const {
  const std::lock_guard lock(mutex_);
  return ever_;
}

void RefusalMeter::write_count() {
  if (counted_ == 0) return;
  log_({"musterd", "", "", "audit.refusals", "", "not kept",
        std::to_string(counted_) + " refusals more than are kept one by one", ""});
  counted_ = 0;
}

}  // namespace muster::musterd
