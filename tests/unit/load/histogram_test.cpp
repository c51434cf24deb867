#include "bench/load/histogram.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "bench/load/distribution.hpp"

using namespace muster::load;

TEST_CASE("A histogram of small numbers is exact") {
  Histogram h;
  for (std::uint64_t v = 1; v <= 100; ++v) h.record(v);
  CHECK(h.count() == 100);
  CHECK(h.min() == 1);
  CHECK(h.max() == 100);
  CHECK(h.mean() == Approx(50.5));
  CHECK(h.percentile(50) == 50);
  CHECK(h.percentile(99) == 99);
  CHECK(h.percentile(100) == 100);
  CHECK(h.percentile(0) == 1);
}

TEST_CASE("An empty histogram is all zeros") {
  const Histogram h;
  CHECK(h.count() == 0);
  CHECK(h.min() == 0);
  CHECK(h.max() == 0);
  CHECK(h.mean() == 0);
  CHECK(h.percentile(99) == 0);
}

TEST_CASE("One value is every percentile of itself, however large") {
  for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{255}, std::uint64_t{256},
                                    std::uint64_t{1'000'003}, Histogram::kLargest}) {
    Histogram h;
    h.record(value, 3);
    CHECK(h.percentile(1) == value);
    CHECK(h.percentile(50) == value);
    CHECK(h.max() == value);
  }
  Histogram h;
  h.record(Histogram::kLargest + 1'000);
  CHECK(h.max() == Histogram::kLargest);
}

TEST_CASE("No percentile is off by more than 0.8 %") {
  Random random(7);
  std::vector<std::uint64_t> values;
  Histogram h;
  for (int i = 0; i < 50'000; ++i) {
    values.push_back(random.next() >> (24 + random.below(39)));
    h.record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double percent : {0.1, 1.0, 10.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
    const auto rank = static_cast<std::size_t>(std::ceil(percent / 100 * 50'000));
    const auto exact = static_cast<double>(values[rank - 1]);
    CHECK(static_cast<double>(h.percentile(percent)) >= exact);
    CHECK(static_cast<double>(h.percentile(percent)) <= exact * 1.008 + 1);
  }
}

TEST_CASE("Adding histograms is recording everything in one") {
  Random random(3);
  Histogram all, a, b;
  for (int i = 0; i < 1'000; ++i) {
    const std::uint64_t value = random.below(1'000'000);
    all.record(value);
    (i % 3 == 0 ? a : b).record(value);
  }
  a.add(b);
  CHECK(a.count() == all.count());
  CHECK(a.min() == all.min());
  CHECK(a.max() == all.max());
  CHECK(a.mean() == Approx(all.mean()));
  for (const double percent : {5.0, 50.0, 95.0})
    CHECK(a.percentile(percent) == all.percentile(percent));
}
