// Names what an actor is at a moment, so that who changes it can say what he saw: the change is
// stepped only while it is so (Call::only_if). Made of the state itself, so the same state has the
// same revision, after a restart and in a restored copy too.
//
//   call.only_if = revision_of(head_bytes, {});
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/core/context.hpp"
#include "engine/core/kind.hpp"

namespace muster::engine {

using NamedRows = std::vector<std::pair<std::string, std::string>>;

/// Rows that one revision is made of; what is beyond them does not count.
inline constexpr std::size_t kRevisionRows = 1'024;

/// Of an encoded state and the rows that belong to it, in order of their keys: 16 hexadecimal
/// digits.
std::string revision_of(std::string_view state, const NamedRows& rows);

/// The refusal of a message whose sender saw another actor; nothing when it may be stepped. Pure,
/// so that a replay comes to the same.
std::optional<Reply> check_only_if(const Envelope& message, const KindOps& kind, const void* state,
                                   RowReader& rows);

/// The revision that the actor had, when that is what this error of a call tells.
std::optional<std::string> is_outdated(const Error& error);

}  // namespace muster::engine
