// Death of a child process at a moment, for tests of what comes after.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>

namespace muster::actors::test {

/// Runs `work` in a child that is killed after `life`.
template <class Work>
void killed_after(std::chrono::microseconds life, Work work) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    work();
    _exit(0);
  }
  std::this_thread::sleep_for(life);  // The point of death, not a condition.
  kill(child, SIGKILL);
  REQUIRE(waitpid(child, nullptr, 0) == child);
}

/// Moments of death from the beginning of a call to shortly after its end, as long as it takes here
/// and now.
template <class Work>
std::uniform_int_distribution<int> moments_of(Work work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  const auto took = std::chrono::steady_clock::now() - begin;
  return std::uniform_int_distribution<int>(
      0, static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(took).count() * 3 /
                          2));
}

}  // namespace muster::actors::test
