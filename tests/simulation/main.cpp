// test_simulation [--seeds N] [--seed S] [Catch2 options]: N installations from seed S on.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include "tests/simulation/settings.hpp"

int main(int argc, char* argv[]) {
  Catch::Session session;
  muster::sim::Settings& settings = muster::sim::settings();
  using Catch::clara::Opt;
  session.cli(session.cli() | Opt(settings.seeds, "count")["--seeds"]("how many seeds") |
              Opt(settings.first, "seed")["--seed"]("the first seed"));
  if (const int wrong = session.applyCommandLine(argc, argv); wrong != 0) return wrong;
  return session.run();
}
