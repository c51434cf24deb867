// What the kinds share: names of enums, bounded text, and the bytes of an effect. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "actors/common_generated.h"
#include "actors/ports/effects_generated.h"
#include "engine/core/context.hpp"
#include "engine/core/kind.hpp"

namespace muster::actors {

namespace wire = muster::wire;

/// "waiting", "delivered", …: the lower-case names of the contract.
std::string to_string(fbs::RunState state);
std::string to_string(fbs::FailureClass cls);

/// delivered, unchanged, skipped, failed, cancelled, superseded.
bool is_end(fbs::RunState state);
/// provisioning, running, verifying: a host works for it.
bool is_on_host(fbs::RunState state);

/// At most `limit` bytes, never half a UTF-8 character; a cut is marked with "…".
std::string bounded(std::string_view text, std::size_t limit);
/// The last `limit` bytes, never half a UTF-8 character; a cut is marked with "…".
std::string bounded_tail(std::string_view text, std::size_t limit);
/// One line for a person: control characters become blanks, ends trimmed, bounded.
std::string one_line(std::string_view text, std::size_t limit);
/// A reason code as it came from outside: [a-z0-9_]{1,40}, anything else is `otherwise`.
std::string reason_code(std::string_view text, std::string_view otherwise);

/// `*` any text, `?` one character, the rest literal; '/' is nothing special ("acme/*" matches all of acme).
/// Linear in text times stars: safe on hostile patterns.
bool glob_matches(std::string_view glob, std::string_view text);

/// An effect's bytes: actors/ports/effects.fbs.
template <class T>
std::string encode_effect(T request) {
  fbs::EffectT effect;
  effect.body.Set(std::move(request));
  return engine::encode_table(effect);
}

/// What the engine delivers in place of a result when the effect's deadline passed.
template <class K>
engine::Payload unknown(std::string key, std::uint32_t attempt = 0) {
  fbs::EffectUnknownT message;
  message.key = std::move(key);
  message.attempt = attempt;
  return K::Messages::encode(message);
}

/// The decoded row, or a throw: a row that this kind wrote itself can't be missing or broken.
template <class T>
T must_decode(std::string_view bytes) {
  auto table = engine::decode_table<T>(bytes);
  if (!table) throw std::logic_error(table.error().message);
  return std::move(*table);
}

}  // namespace muster::actors
