// test_simulation [--seeds N] [--seed S] [Catch2 options]     N installations from seed S on
// test_simulation --shrink --seed S [--broken VARIANT]        the fewest faults with which that seed fails, and which
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include "tests/simulation/seeds.hpp"
#include "tests/simulation/settings.hpp"

int main(int argc, char* argv[]) {
  Catch::Session session;
  muster::sim::Settings& settings = muster::sim::settings();
  using Catch::clara::Opt;
  session.cli(session.cli() | Opt(settings.seeds, "count")["--seeds"]("how many seeds") |
              Opt(settings.first, "seed")["--seed"]("the first seed") |
              Opt(settings.broken, "variant")["--broken"]("break this promise") |
              Opt(settings.shrink)["--shrink"]("look for the fewest faults that fail"));
  if (const int wrong = session.applyCommandLine(argc, argv); wrong != 0) return wrong;
  if (settings.shrink) return muster::sim::shrink(settings);
  return session.run();
}
