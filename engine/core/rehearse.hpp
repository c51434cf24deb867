// What an actor would decide of a message if it came now: its step on the state that is committed,
// of which nothing is kept. So an operator sees what an order would do before it is given; a step
// is pure, and another message that comes before the order may still change what it means.
#pragma once

#include "engine/core/context.hpp"
#include "engine/core/inspect.hpp"

namespace muster::engine {

/// From outside, as an operator's messages come. The error: it would become a dead letter, and why.
Result<Decision> rehearse(const Journals& journals, const KindOps& kind, const ActorLook& actor,
                          const Payload& payload, Instant now);

}  // namespace muster::engine
