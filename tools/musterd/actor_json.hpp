// Actors, messages and decisions as the JSON of the API. Pure functions of what
// engine/core/inspect.hpp reads; bytes that can't be decoded are told as such, never left out.
#pragma once

#include <optional>
#include <string>

#include "engine/core/inspect.hpp"
#include "tools/musterd/actor_schemas.hpp"
#include "tools/musterd/render.hpp"

namespace muster::musterd {

/// "run/ER8SXG…": the organisation is the installation's only one.
std::string actor_name(const engine::ActorId& id);

/// The decoded document, or {"undecoded": why, "bytes": n}.
Json decoded_or_why(const Result<Json>& decoded, std::size_t bytes);

/// Who sent it: an actor, "api", "timer NAME", "effect", "channel NAME#N" or "engine".
std::string sender_text(const engine::Envelope& message);

Json envelope_json(std::uint32_t shard, const engine::Envelope& message);
/// `message` null: it is not kept any more.
Json step_json(std::uint32_t shard, const engine::StepLook& step, const engine::Envelope* message);
/// open, replayed or discarded.
std::string_view letter_state(engine::DeadLetter::State state);
Json dead_json(std::uint32_t shard, const engine::DeadLook& dead);

/// in_memory: "idle", "queued" or "busy"; else "backlog" or "passive".
Json activation_json(const std::optional<engine::ActivationLook>& look, bool backlog, Instant now);

/// One line of a list; `live` null: not in memory.
Json actor_line_json(const engine::ActorLook& actor, const engine::ActivationLook* live,
                     Instant now);

/// p50, p99 and the like over the last commits.
Json commits_json(const std::vector<engine::CommitLook>& commits,
                  const engine::CommitTotals& totals, std::size_t shown);

/// When the actor was made, as its state tells; 0 when it does not.
std::int64_t created_unix_ms(const engine::ActorLook& actor);

}  // namespace muster::musterd
