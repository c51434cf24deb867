// What goes long after the end of a swarm: its fleet with all runs, then the swarm itself. The
// fleet says when it is gone, behind everything that its runs had to say: so no word of a run comes
// for a swarm that isn't there any more.
#include "actors/fleet/fleet.hpp"
#include "actors/indexes.hpp"
#include "actors/swarm/life.hpp"

namespace muster::actors {

namespace {

constexpr const char* kRetention = "musterd";
/// Rows that one step erases.
constexpr std::size_t kErasedPerStep = 200;

}  // namespace

void SwarmLife::on(const fbs::ForgetSwarmT& m) {
  if (gone()) return;
  if (!ended() || s_.ended_unix_ms != m.ended_unix_ms || s_.continuing)
    return ctx_.refuse(Errc::refused, "swarm " + name() + " has not ended at that time");
  s_.forgetting = true;
  ctx_.audit(kRetention, "swarm.forget", "");
  ctx_.reply("");
  if (m.own_fleet)
    ctx_.send<Fleet>(name(), fbs::ForgetFleetT{});
  else
    forget();
}

/// It may be kept: then so is the swarm, and whoever looks after retention asks again.
void SwarmLife::on(const fbs::FleetForgottenT& m) {
  if (!s_.forgetting) return;
  if (!m.kept.empty()) {
    s_.forgetting = false;
    return;
  }
  forget();
}

void SwarmLife::forget() {
  ctx_.unindex(std::string(index::kSwarm), name());
  erase_page();
}

/// The swarm with what one step can erase; else that much of it, and a word to go on.
void SwarmLife::erase_page() {
  const auto rows = ctx_.rows("", "\x7f", kErasedPerStep);
  if (rows.size() < kErasedPerStep) return ctx_.remove();
  for (const auto& [key, value] : rows) ctx_.erase_row(key);
  ctx_.send<Swarm>(name(), fbs::ContinueSwarmT{});
}

/// True: it is being removed, and takes nothing else any more.
bool SwarmLife::goes(const Swarm::Message& message) {
  if (!s_.forgetting) return false;
  if (const auto* forgotten = std::get_if<fbs::FleetForgottenT>(&message))
    on(*forgotten);
  else if (std::holds_alternative<fbs::ContinueSwarmT>(message))
    erase_page();
  else if (std::holds_alternative<fbs::ForgetSwarmT>(message))
    ctx_.reply("");
  else
    ctx_.refuse(Errc::conflict,
                "the old swarm " + name() + " is being removed: try again in a moment");
  return true;
}

}  // namespace muster::actors
