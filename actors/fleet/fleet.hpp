// The fleet: one intent over many repositories. Key: its name.
//
// Reads the snapshot of its repositories in pages, makes a run for each, opens waves one after the other, keeps one
// outcome row per run and the counters over them, halts when too much fails, and ends when every run ended.
// README.md says how waves, halting, cancelling and retrying work.
// The fleet of a swarm reads no snapshot: the swarm adds its runs by and by, hears of their ends, and closes it.
//
// Promises: a row changes only by that run's RunStatus with a higher number, and the counters change in the same
// decision (fleet::count); a step sends at most kPage messages and goes on by NextPage to itself; the index
// "fleet-held" names the fleet exactly while nothing new of it may be placed. Refusals change nothing.
#pragma once

#include <vector>

#include "actors/fleet/fleet_generated.h"
#include "engine/core/kind.hpp"

namespace muster::actors {

struct Fleet {
  static constexpr std::string_view kName = "fleet";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::FleetHeadT;
  using Messages =
      engine::MessageSet<fbs::FleetBodyUnionTraits, fbs::CreateFleetT, fbs::SnapshotPageT,
                         fbs::RunStatusT, fbs::PauseFleetT, fbs::ResumeFleetT, fbs::CancelFleetT,
                         fbs::RetryFleetT, fbs::FleetTimeoutT, fbs::NextPageT, fbs::EffectUnknownT,
                         fbs::AddRunT, fbs::CloseFleetT, fbs::RemoveContentsT, fbs::ForgetFleetT,
                         fbs::TellRunT>;
  using Message = Messages::Variant;
  static bool creates(const Message& m) { return std::holds_alternative<fbs::CreateFleetT>(m); }
  static void step(State& state, const Message& message, engine::Context& ctx);
};

namespace fleet {

/// Messages that one step sends to runs.
inline constexpr std::size_t kPage = 100;
/// Rows that one step of a fan-out looks at.
inline constexpr std::size_t kScan = 500;
/// Bytes that one step of creation spends on rows and messages, of a decision's 1 MiB.
inline constexpr std::size_t kPageBytes = 512u << 10;
inline constexpr std::size_t kMaxWaves = 100;
inline constexpr std::uint32_t kMaxRepositories = 50'000;
/// Of title, body and names in CreateFleet together.
inline constexpr std::size_t kMaxCreateBytes = 64u << 10;
inline constexpr std::size_t kMaxEscalate = 100;

inline constexpr std::string_view kRowPrefix = "run/";
inline constexpr std::string_view kRowEnd = "run0";  ///< Behind all rows: '0' follows '/'.

/// Cumulative repositories per wave: strictly rising, the last is `total`. Permille are rounded up.
std::vector<std::uint32_t> wave_limits(const fbs::CreateFleetT& create, std::uint32_t total);
/// The wave of the repository at that place in the snapshot.
std::uint32_t wave_of(const std::vector<std::uint32_t>& limits, std::uint32_t place);

/// Adds (sign 1) or takes back (sign -1) what one row contributes to the counters of `head`.
void count(fbs::FleetHeadT& head, const fbs::RunRowT& row, int sign);

/// The counters over all rows from nothing: what a head must say. Only counter fields are set.
fbs::FleetHeadT recount(const std::vector<fbs::RunRowT>& rows, std::uint32_t waves);
/// How the counters of two heads differ, one line each; empty when they agree. For `musterd check`.
std::string counter_differences(const fbs::FleetHeadT& head, const fbs::FleetHeadT& recounted);

/// Runs that ended in one of these: delivered, unchanged, skipped, failed. What halting looks at.
std::uint32_t ended_for_halt(const fbs::FleetHeadT& head);

}  // namespace fleet

}  // namespace muster::actors
