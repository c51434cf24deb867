#include "sandboxd/lease.hpp"

#include <catch2/catch.hpp>

namespace muster::sandbox::test {

TEST_CASE("the lease counts from when the acknowledged heartbeat was sent") {
  Lease lease;
  CHECK(lease.standing(1'000'000) == Lease::Standing::held);  // never had one
  lease.begin(1000, 300);
  CHECK(lease.until() == 1300);
  lease.sent(1, 1100);
  lease.sent(2, 1200);
  CHECK(lease.until() == 1300);  // sent is not acknowledged
  lease.renewed(1);
  CHECK(lease.until() == 1400);
  lease.renewed(7);  // of no heartbeat that was sent: nothing
  CHECK(lease.until() == 1400);
  CHECK(lease.standing(1399) == Lease::Standing::held);
  CHECK(lease.standing(1400) == Lease::Standing::suspended);
}

TEST_CASE("a new session's lease takes the place of the old, a restart keeps what was left") {
  Lease lease;
  lease.restore(5000);
  CHECK(lease.standing(5000) == Lease::Standing::suspended);
  lease.begin(4000, 100);
  CHECK(lease.until() == 4100);
}

TEST_CASE("after its end there is an hour for the engine to say what goes on") {
  Lease lease;
  lease.begin(1000, 30'000);
  const std::int64_t end = 31'000;
  CHECK(lease.standing(end + 10 * 60'000) == Lease::Standing::suspended);
  CHECK(lease.standing(end + Lease::kLongestAloneMs - 1) == Lease::Standing::suspended);
  CHECK(lease.standing(end + Lease::kLongestAloneMs) == Lease::Standing::over);
  lease.begin(end + 10 * 60'000, 30'000);
  CHECK(lease.standing(end + 10 * 60'000) == Lease::Standing::held);
}

}  // namespace muster::sandbox::test
