// One step of a fleet, internal to this folder. life.cpp: creation, waves, ends; operators.cpp:
// what people ask; fanout.cpp: pages of rows and messages; removal.cpp: what goes long after the
// end.
#pragma once

#include <functional>

#include "actors/common.hpp"
#include "actors/fleet/fleet.hpp"

namespace muster::actors {

class FleetLife {
 public:
  FleetLife(fbs::FleetHeadT& state, engine::Context& ctx) : s_(state), ctx_(ctx) {}

  // life.cpp
  void on(const fbs::CreateFleetT& m);
  void on(const fbs::RunStatusT& m);
  void on(const fbs::FleetTimeoutT& m);
  void on(const fbs::EffectUnknownT& m);

  // operators.cpp
  void on(const fbs::PauseFleetT& m);
  void on(const fbs::ResumeFleetT& m);
  void on(const fbs::CancelFleetT& m);
  void on(const fbs::RetryFleetT& m);

  // of_swarm.cpp
  void on(const fbs::AddRunT& m);
  void on(const fbs::CloseFleetT& m);
  void on(const fbs::TellRunT& m);

  // removal.cpp
  void on(const fbs::RemoveContentsT& m);
  void on(const fbs::ForgetFleetT& m);

  // fanout.cpp
  void on(const fbs::SnapshotPageT& m);
  void on(const fbs::NextPageT& m);

 private:
  [[nodiscard]] const std::string& name() const { return ctx_.self().key; }
  [[nodiscard]] bool exists() const { return !s_.name.empty(); }
  [[nodiscard]] bool ended() const { return s_.state >= fbs::FleetState::completed; }
  [[nodiscard]] bool all_made() const { return s_.snapshot_next >= s_.wave_limits.back(); }
  [[nodiscard]] std::uint32_t in(fbs::RunState state) const {
    return s_.counts[static_cast<std::size_t>(state)];
  }
  [[nodiscard]] bool gone();
  [[nodiscard]] bool of_swarm() const { return !s_.swarm.empty(); }

  // of_swarm.cpp
  void begin_for_swarm();
  void tell_swarm(const fbs::RunStatusT& m);
  [[nodiscard]] bool only_for_swarm(const char* what);

  // removal.cpp
  [[nodiscard]] bool ended_at(std::int64_t unix_ms);
  void forget_for_swarm(const std::string& swarm);
  void forget();
  void gone_with_its_runs();

  // life.cpp
  void settle();
  [[nodiscard]] bool everything_ended() const;
  void complete();
  [[nodiscard]] bool fails_too_much() const;
  void halt(std::string why);
  void open_waves();
  void set_deadline();
  void hold(fbs::FleetState state, std::string why);
  void release();
  void cancel(std::string why);

  // operators.cpp
  void reopen();

  // fanout.cpp
  void read_snapshot();
  bool make_run(const fbs::CreateFleetT& create, const fbs::SnapshotEntryT& entry,
                std::size_t& bytes_left);
  fbs::CreateRunT create_run(const fbs::CreateFleetT& create, const fbs::RunRowT& row) const;
  void proceed(const std::string& run);
  /// Runs one page; true when something was sent or more rows are to come.
  bool page(const fbs::NextPageT& page);
  std::size_t open_row(const fbs::RunRowT& row, std::uint32_t wave);
  std::size_t cancel_row(const fbs::RunRowT& row, const fbs::NextPageT& page);
  std::size_t retry_row(const fbs::CreateFleetT& create, const fbs::RunRowT& row,
                        const fbs::NextPageT& page);
  std::size_t forget_row(const fbs::RunRowT& row);
  fbs::CreateFleetT created();

  fbs::FleetHeadT& s_;
  engine::Context& ctx_;
};

}  // namespace muster::actors
