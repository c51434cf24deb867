// What fleet_world's files share.
#pragma once

#include "tests/simulation/fleet_world.hpp"

namespace muster::sim {

/// A numbered event of a host.
struct FleetWorld::Event {
  std::uint64_t number = 0;
  std::string run;
  wire::Epoch epoch;
  wire::Phase phase{};
  std::shared_ptr<wire::AttemptReportT> report;
};

/// A host: survives crashes of the engine; its sandboxes stand still without its lease.
struct FleetWorld::Machine {
  struct Sandbox {
    wire::Epoch epoch;
    int phase = 0;        ///< 0 made … 3 about to finish.
    bool silent = false;  ///< Never says a word.
  };
  std::string name;
  std::uint32_t slots = 0;
  std::uint64_t connection = 0;  ///< 0: none.
  bool welcomed = false;
  bool away = false;             ///< Switched off.
  Instant lease_until;
  Instant hello_sent;
  std::map<std::uint64_t, Instant> beats;
  std::map<SandboxId, Sandbox> sandboxes;
  std::map<SandboxId, Event> finished;  ///< Its last word of each.
  std::deque<Event> spool;
  std::uint64_t next_number = 1;
  Instant last_sent;             ///< Keeps what it sends in order.
};

/// What the engine's process knows of a host.
struct FleetWorld::Line {
  std::string name;
  std::uint64_t connection = 0;
  std::uint64_t session = 0;
  bool welcomed = false;
  bool leased = false;
  Instant lease_until;
  std::uint64_t lost_session = 0;
  std::uint64_t mark = 0;        ///< Newest event that was taken.
  std::deque<Event> events;
  bool taking = false;
  Instant last_sent;
};

/// Somebody who wants one thing after the other, each until it is answered.
struct FleetWorld::Person {
  std::string name;
  std::string fleet;
  int wishes = 0;
  int retries = 0;  ///< Of what has ended; a fleet's people don't wait for that.
  bool created = false;
  bool paused = false;
  bool waiting = false;
  std::uint64_t attempts = 0;
  engine::Call call;
};

/// An agent's step, or a verification, that exits so.
void fail_step(wire::AttemptReportT& report, const char* name, int exit_code, const char* tail);

inline constexpr Duration kLeaseMargin{5'000};
inline constexpr Duration kTick{2'000};
inline constexpr Duration kHeartbeat{8'000};

}  // namespace muster::sim
