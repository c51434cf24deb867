// The wall clock's time at the start, and CLOCK_BOOTTIME from then on: suspends count, jumps do not.
#pragma once

#include "engine/core/interfaces.hpp"

namespace muster::engine {

class BootClock : public Clock {
 public:
  BootClock();
  [[nodiscard]] Instant now() const override;

 private:
  Instant wall_;
  Duration boot_;
};

}  // namespace muster::engine
