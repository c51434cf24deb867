// What a simulated attempt does: decided by the seed, the run's id and the attempt's number alone,
// so that the same load can be played again, and so that what musterd says of a run afterwards can
// be held against what the hosts did. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bench/load/distribution.hpp"
#include "storage/base/time.hpp"

namespace muster::load {

constexpr std::uint64_t kMaxPhaseMs = 3'600'000;
constexpr std::uint64_t kMaxLogBytes = 64u << 20;
constexpr std::uint64_t kMaxPackBytes = 4u << 20;

/// What the command line says about the attempts.
struct Workload {
  std::uint64_t seed = 1;
  Distribution provision, agent, verify;  ///< Milliseconds.
  Distribution log, pack;                 ///< Bytes.
  double unchanged = 0.1;                 ///< Share of attempts that change nothing.
  double failed = 0.05;                   ///< Of attempts that fail, in three ways alike.
};

enum class Fate : std::uint8_t { changed, unchanged, agent_fails, verification_fails, host_fails };
std::string_view to_string(Fate fate);

struct Plan {
  Fate fate = Fate::changed;
  Duration provision{}, agent{}, verify{};
  std::uint64_t log_bytes = 0;
  std::uint64_t pack_bytes = 0;  ///< Only of a change.
};

Plan plan_attempt(const Workload& workload, std::string_view run, std::uint32_t attempt);

/// What musterd says of a run at its end, as its API writes it.
struct Outcome {
  std::string_view state;          ///< delivered, unchanged, failed, …
  std::string_view failure_class;  ///< none, agent, …
  std::uint32_t attempt = 0;
};
/// Empty when that is what the attempt did; else what is wrong. Attempts that a fault took from
/// their host are infrastructure failures, which `faults` allows.
std::string contradiction(const Workload& workload, std::string_view run, const Outcome& outcome,
                          bool faults);

}  // namespace muster::load
