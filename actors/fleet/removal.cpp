// What goes long after the end. Whoever asks for it (tools/musterd/retention.hpp) removes the
// files; here stands, durably, that they are given up, and that they are gone. So a crash between
// the two is repeated, and never half forgotten.
#include "actors/fleet/life.hpp"
#include "actors/indexes.hpp"
#include "actors/swarm/swarm.hpp"

namespace muster::actors {

namespace {

constexpr const char* kWho = "musterd";

}  // namespace

/// False, with a refusal, unless it ended then and nothing came after: a retry makes it run again.
bool FleetLife::ended_at(std::int64_t unix_ms) {
  if (ended() && s_.ended_unix_ms == unix_ms) return true;
  ctx_.refuse(Errc::refused, "fleet " + name() + " has not ended at that time");
  return false;
}

void FleetLife::on(const fbs::RemoveContentsT& m) {
  if (gone() || !ended_at(m.ended_unix_ms)) return;
  const bool given_up = s_.removed_unix_ms >= s_.ended_unix_ms;
  if (m.done && !given_up)
    return ctx_.refuse(Errc::refused, "the contents of fleet " + name() + " were not given up");
  ctx_.reply("");
  if (m.done) {
    s_.contents_gone = true;
  } else if (!given_up) {
    s_.removed_unix_ms = ctx_.now().unix_ms;
    s_.contents_gone = false;
    ctx_.audit(kWho, "fleet.remove_contents", "");
  }
}

void FleetLife::on(const fbs::ForgetFleetT& m) {
  if (ctx_.sender().kind == Swarm::kName) return forget_for_swarm(ctx_.sender().key);
  if (gone() || !ended_at(m.ended_unix_ms)) return;
  if (of_swarm()) return ctx_.refuse(Errc::refused, "fleet " + name() + " belongs to a swarm");
  if (!s_.contents_gone)
    return ctx_.refuse(Errc::refused, "fleet " + name() + " still has its contents");
  forget();
}

/// The swarm waits for a word: that it is gone, which comes with the last page, or why it is not.
void FleetLife::forget_for_swarm(const std::string& swarm) {
  fbs::FleetForgottenT answer;
  if (s_.swarm == swarm) {
    if (s_.forgetting) return;
    if (ended() && s_.contents_gone) return forget();
    answer.kept = "fleet " + name() + " has not ended, or still has its contents";
  }
  ctx_.send<Swarm>(swarm, answer);
}

/// From here on nobody finds it; its runs go page by page, and it after the last.
void FleetLife::forget() {
  s_.forgetting = true;
  ctx_.unindex(std::string(index::kFleet), name());
  ctx_.audit(kWho, "fleet.forget", "");
  ctx_.reply("");
  fbs::NextPageT first;
  first.what = fbs::FanOut::forget;
  page(first);
}

void FleetLife::gone_with_its_runs() {
  if (of_swarm()) ctx_.send<Swarm>(s_.swarm, fbs::FleetForgottenT{});
  ctx_.remove();
}

}  // namespace muster::actors
