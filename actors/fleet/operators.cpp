// What people ask of a fleet. Every answer is a reply or a refusal that says why.
#include <algorithm>

#include "actors/fleet/life.hpp"

namespace muster::actors {

using fbs::FleetState;
using fbs::RunState;

namespace {

std::string words(FleetState state) {
  std::string text = fbs::EnumNameFleetState(state);
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

std::string order_text(const std::string& what, const std::string& by, const std::string& reason) {
  std::string text = what;
  if (!by.empty()) text += " by " + by;
  if (!reason.empty()) text += ": " + reason;
  return text;
}

/// Why, and what: "the mirror is back (only acme/*)".
std::string retry_words(const fbs::RetryFleetT& m) {
  if (m.repository_glob.empty()) return m.reason;
  return m.reason + (m.reason.empty() ? "" : " ") + "(only " + m.repository_glob + ")";
}

}  // namespace

/// True, with a refusal, when there is no fleet behind this name (its creation was refused).
bool FleetLife::gone() {
  const bool there = exists() && !s_.forgetting;
  if (!there) ctx_.refuse(Errc::not_found, "no fleet " + name());
  return !there;
}

void FleetLife::on(const fbs::PauseFleetT& m) {
  if (gone() || only_for_swarm("pause")) return;
  if (ended()) return ctx_.refuse(Errc::refused, "fleet " + name() + " has ended: " + words(s_.state));
  if (s_.cancelling) return ctx_.refuse(Errc::refused, "fleet " + name() + " is being cancelled");
  if (s_.state == FleetState::halted)
    return ctx_.refuse(Errc::refused, "fleet " + name() + " is halted already: " + s_.reason);
  ctx_.reply("");
  if (s_.state == FleetState::paused) return;
  ctx_.audit(m.by, "fleet.pause", one_line(m.reason, 500));
  hold(FleetState::paused, order_text("paused", m.by, m.reason));
}

void FleetLife::on(const fbs::ResumeFleetT& m) {
  if (gone() || only_for_swarm("resume")) return;
  if (ended()) return ctx_.refuse(Errc::refused, "fleet " + name() + " has ended: " + words(s_.state));
  if (s_.cancelling) return ctx_.refuse(Errc::refused, "fleet " + name() + " is being cancelled");
  ctx_.reply("");
  if (s_.state != FleetState::paused && s_.state != FleetState::halted) return;
  ctx_.audit(m.by, "fleet.resume", one_line(m.reason, 500));
  const bool unreadable = s_.state == FleetState::halted && !all_made();
  s_.state = s_.wave == 0 ? FleetState::pending : FleetState::running;
  s_.reason.clear();
  s_.halt_base_ended = fleet::ended_for_halt(s_);  // what failed so far is accepted
  s_.halt_base_failed = in(RunState::failed);
  release();
  if (unreadable) read_snapshot();
  settle();
}

void FleetLife::on(const fbs::CancelFleetT& m) {
  if (gone() || only_for_swarm("cancel")) return;
  if (ended() && s_.state != FleetState::cancelled)
    return ctx_.refuse(Errc::refused, "fleet " + name() + " has ended: " + words(s_.state));
  ctx_.reply("");
  if (ended() || s_.cancelling) return;
  ctx_.audit(m.by, "fleet.cancel", one_line(m.reason, 500));
  cancel(order_text("cancelled", m.by, m.reason));
}

void FleetLife::on(const fbs::RetryFleetT& m) {
  if (gone() || only_for_swarm("retry")) return;
  if (s_.cancelling && !ended())
    return ctx_.refuse(Errc::refused, "fleet " + name() + " is being cancelled");
  std::uint32_t failed = 0;
  for (std::size_t cls = 0; cls < s_.failed_by_class.size(); ++cls)
    if (m.classes.empty() || std::find(m.classes.begin(), m.classes.end(),
                                       static_cast<fbs::FailureClass>(cls)) != m.classes.end())
      failed += s_.failed_by_class[cls];
  fbs::NextPageT first;
  first.what = fbs::FanOut::retry;
  first.classes = m.classes;
  first.repository_glob = m.repository_glob;
  if (failed == 0 || !page(first))
    return ctx_.refuse(Errc::refused, "no failed run of fleet " + name() + " to retry" +
                                          (m.classes.empty() && m.repository_glob.empty()
                                               ? ""
                                               : " with that class and repository"));
  reopen();  // also when what failed stands on a later page: that must not take the fleet for cancelled
  ctx_.audit(m.by, "fleet.retry", one_line(retry_words(m), 500));
  ctx_.reply("");
}

/// A retry makes an ended fleet run again, with its whole time before it. Pause and halt stay.
void FleetLife::reopen() {
  if (!ended()) return;
  s_.state = FleetState::running;
  s_.cancelling = false;
  s_.reason.clear();
  s_.ended_unix_ms = 0;
  set_deadline();
}

}  // namespace muster::actors
