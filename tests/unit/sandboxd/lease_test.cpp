#include "sandboxd/lease.hpp"

#include <catch2/catch.hpp>

namespace muster::sandbox::test {

TEST_CASE("the lease counts from when the acknowledged heartbeat was sent") {
  Lease lease;
  CHECK_FALSE(lease.lost(1'000'000));  // never had one
  lease.begin(1000, 300);
  CHECK(lease.until() == 1300);
  lease.sent(1, 1100);
  lease.sent(2, 1200);
  CHECK(lease.until() == 1300);  // sent is not acknowledged
  lease.renewed(1);
  CHECK(lease.until() == 1400);
  lease.renewed(7);  // of no heartbeat that was sent: nothing
  CHECK(lease.until() == 1400);
  CHECK_FALSE(lease.lost(1399));
  CHECK(lease.lost(1400));
}

TEST_CASE("a new session's lease takes the place of the old, a restart keeps what was left") {
  Lease lease;
  lease.restore(5000);
  CHECK(lease.lost(5000));
  lease.begin(4000, 100);
  CHECK(lease.until() == 4100);
}

}  // namespace muster::sandbox::test
