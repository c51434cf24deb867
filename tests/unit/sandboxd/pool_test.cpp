#include "sandboxd/pool.hpp"

#include <catch2/catch.hpp>

namespace muster::sandbox::test {

TEST_CASE("one fewer waits than was asked for lately, within the limit; asked for once, none") {
  const WarmSettings settings{.max = 8, .per_environment = 3, .idle_minutes = 10};
  constexpr std::int64_t kMinute = 60'000;
  const std::int64_t now = 100 * kMinute;
  CHECK(warm_target({}, now, settings) == 0);
  CHECK(warm_target({now}, now, settings) == 0);
  CHECK(warm_target({now - 1, now}, now, settings) == 1);
  CHECK(warm_target({now - 3, now - 2, now - 1, now}, now, settings) == 3);
  CHECK(warm_target(std::deque<std::int64_t>(64, now), now, settings) == 3);
  CHECK(warm_target({now - 11 * kMinute, now - 9 * kMinute, now}, now, settings) == 1);
  CHECK(warm_target({now - 10 * kMinute - 1, now}, now, settings) == 0);
  CHECK(warm_target({now - 10 * kMinute, now}, now, settings) == 1);
}

}  // namespace muster::sandbox::test
