// A run, and what its surroundings say to it, for tests of single kinds.
#pragma once

#include "actors/common.hpp"
#include "actors/fleet/fleet.hpp"
#include "actors/host/host.hpp"
#include "actors/pull/pull.hpp"
#include "actors/repo/repo.hpp"
#include "actors/run/run.hpp"
#include "actors/swarm/swarm.hpp"
#include "engine/core/testing.hpp"

namespace muster::actors {

/// What a decision does, one short line each, without the state and the fields: "fleet RunStatus", "timer state",
/// "effect push/f/acme/api/R-1", "index queued", "unindex queued", "refuse refused: why".
template <class K>
std::string acts(engine::testing::Stage<K>& stage) {
  const auto name = [](const engine::ActorId& to, const engine::Payload& payload) {
    using engine::describe_payload;
    std::string text = to.kind == "run"     ? describe_payload<Run>(payload)
                       : to.kind == "fleet" ? describe_payload<Fleet>(payload)
                       : to.kind == "repo"  ? describe_payload<Repo>(payload)
                       : to.kind == "pull"  ? describe_payload<Pull>(payload)
                       : to.kind == "swarm" ? describe_payload<Swarm>(payload)
                                            : describe_payload<Host>(payload);
    return to.kind + " " + text.substr(0, text.find(' '));
  };
  std::string text;
  const engine::Decision& d = stage.decision();
  for (const auto& out : d.sends) text += name(out.to, out.payload) + "\n";
  for (const auto& timer : d.timers) text += (timer.due ? "timer " : "cancel ") + timer.name + "\n";
  for (const auto& effect : d.effects) text += "effect " + effect.key + "\n";
  for (const auto& change : d.indexes)
    text += (change.value ? "index " : "unindex ") + change.index + "\n";
  if (d.reply)
    text += d.reply->error ? "refuse " + std::string(to_string(*d.reply->error)) + ": " + d.reply->body + "\n"
                           : "reply " + d.reply->body + "\n";
  return text;
}

}  // namespace muster::actors
