// One step of a run, internal to this folder: the state, the context, and what every part of its life shares.
// life.cpp: creation, waiting, queueing, ends. attempt.cpp: from placement to report. delivery.cpp: push and pull.
#pragma once

#include "actors/common.hpp"
#include "actors/fleet/fleet_generated.h"
#include "actors/run/classify.hpp"
#include "actors/run/run.hpp"

namespace muster::actors {

class RunLife {
 public:
  RunLife(fbs::RunHeadT& state, engine::Context& ctx) : s_(state), ctx_(ctx) {}

  // life.cpp
  void on(const fbs::CreateRunT& m);
  void on(const fbs::ProceedT& m);
  void on(const fbs::RepoGrantedT& m);
  void on(const fbs::RepoRefusedT& m);
  void on(const fbs::CancelRunT& m);
  void on(const fbs::SupersedeT& m);
  void on(const fbs::BackoffOverT& m);
  void on(const fbs::StateTimeoutT& m);
  void on(const fbs::EffectUnknownT& m);
  void on(const fbs::ForgetRunT& m);
  void on(const fbs::SteerRunT& m);

  // attempt.cpp
  void on(const fbs::PlacedT& m);
  void on(const fbs::StartDoneT& m);
  void on(const fbs::StopDoneT& m);
  void on(const fbs::SteerDoneT& m);
  void on(const fbs::HostEventT& m);
  void on(const fbs::HostLostT& m);
  void on(const fbs::ReleaseRunT& m);

  // delivery.cpp
  void on(const fbs::PushDoneT& m);
  void on(const fbs::PullOpenedT& m);

 private:
  [[nodiscard]] const std::string& id() const { return ctx_.self().key; }
  [[nodiscard]] std::int64_t now() const { return ctx_.now().unix_ms; }
  [[nodiscard]] bool waiting_for(std::string_view what) const {
    return s_.state == fbs::RunState::waiting && s_.waiting_for == what;
  }
  [[nodiscard]] bool delivering(std::string_view what) const {
    return s_.state == fbs::RunState::delivering && s_.waiting_for == what;
  }
  [[nodiscard]] bool on_host() const { return is_on_host(s_.state); }

  // life.cpp
  void enter(fbs::RunState state, std::string waiting_for = {});
  void tell_fleet();
  void tell_result(fbs::RunStatusT& status);
  void timer(Duration delay, std::uint8_t stage = 0);
  void wait_timer();
  [[nodiscard]] bool held_up(const fbs::StateTimeoutT& m) const;
  void keep_message(const fbs::SteerRunT& m);
  void enqueue();
  void index_queued();
  void attempt_over(const Verdict& verdict);
  void back_off();
  void end(fbs::RunState state, std::string reason, std::string message);
  void leave_repo();
  fbs::CreateRunT created();
  fbs::QueuedRunT queued_value(std::uint32_t attempt, const fbs::CreateRunT& create) const;

  // attempt.cpp
  void start_effect(const fbs::CreateRunT& create);
  std::unique_ptr<wire::CheckpointT> last_checkpoint();
  std::string messages_given();
  void steer();
  void stop(muster::wire::StopReason reason);
  void host_gone_silent();
  void finished(const fbs::HostEventT& m);
  void judge(Verdict verdict);
  void note(const Verdict& verdict);
  void stay();
  void leave_host(bool free_slot);
  fbs::AttemptRowT attempt_row();
  void put_attempt(const fbs::AttemptRowT& row);

  // delivery.cpp
  void deliver();
  void push();
  void open_pull();
  void delivery_over(const Verdict& verdict);
  void delivered(std::string reason = {});

  fbs::RunHeadT& s_;
  engine::Context& ctx_;
};

}  // namespace muster::actors
