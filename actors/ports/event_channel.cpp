#include "actors/ports/event_channel.hpp"

namespace muster::actors {

bool EventChannel::take(Event event) {
  const std::uint64_t next = mark_ + entries_.size() + 1;
  if (event.number > next) return false;
  if (event.number < next) {
    if (event.number <= mark_) owner_.durable(mark_);
    return true;
  }
  entries_.push_back({std::move(event)});
  offer();
  return true;
}

void EventChannel::offer() {
  if (failed_) return;
  for (Entry& entry : entries_) {
    if (under_way_ >= kMaxUnderWay) return;
    if (entry.state != State::waiting) continue;
    entry.state = State::under_way;
    ++under_way_;
    const Event& event = entry.event;
    engine_.deliver({name_, event.number, event.to, event.payload},
                    [self = shared_from_this(), number = event.number](const Result<void>& result) {
                      self->strand_->post([self, number, result] { self->done(number, result); });
                    });
  }
}

void EventChannel::done(std::uint64_t number, const Result<void>& result) {
  --under_way_;
  if (closed_) return;
  Entry& entry = entries_[number - mark_ - 1];
  entry.state = result ? State::durable : State::waiting;
  if (!result && !failed_) {
    failed_ = true;
    why_ = result.error().message;
  }
  settle();
  if (failed_ && under_way_ == 0) {
    retry(why_);
  } else {
    offer();
  }
}

/// Lets go of the durable front.
void EventChannel::settle() {
  const std::uint64_t before = mark_;
  while (!entries_.empty() && entries_.front().state == State::durable) {
    const std::function<void()> taken = std::move(entries_.front().event.taken);
    entries_.pop_front();
    ++mark_;
    if (taken) taken();
  }
  if (mark_ == before) return;
  failures_ = 0;
  owner_.durable(mark_);
}

void EventChannel::retry(const std::string& why) {
  if (++failures_ > kMaxFailures) {
    owner_.stuck(why);
    return;
  }
  strand_->after(kRetryPause, [self = shared_from_this()] {
    if (self->closed_) return;
    self->failed_ = false;
    self->offer();
  });
}

}  // namespace muster::actors
