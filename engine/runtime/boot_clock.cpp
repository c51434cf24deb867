#include "engine/runtime/boot_clock.hpp"

#include <ctime>

namespace muster::engine {

namespace {

Duration since_boot() {
  std::timespec t{};
  clock_gettime(CLOCK_BOOTTIME, &t);
  return Duration{static_cast<std::int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1'000'000};
}

}  // namespace

BootClock::BootClock() : wall_(wall_clock_now()), boot_(since_boot()) {}

Instant BootClock::now() const { return wall_ + (since_boot() - boot_); }

}  // namespace muster::engine
