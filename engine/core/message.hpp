// Who an actor is and what is sent to it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"
#include "storage/base/time.hpp"

namespace muster::engine {

constexpr std::uint32_t kSlots = 256;

/// Addresses a durable actor: `org/kind/key`. A key may contain '/' and '#', never NUL.
struct ActorId {
  std::string org;
  std::string kind;
  std::string key;

  auto operator<=>(const ActorId&) const = default;

  [[nodiscard]] std::string to_string() const { return org + "/" + kind + "/" + key; }
  /// The fixed slot that decides its shard: stable for ever.
  [[nodiscard]] std::uint8_t slot() const;
  static Result<ActorId> parse(std::string_view text);
};

/// Position in a shard's order; also a message's id there. Strictly increasing, never reused.
using Sequence = std::uint64_t;

/// Two ways into a mailbox, with separate cursors, so that an operator gets through to a full one. Order
/// holds per sender and lane.
enum class Lane : std::uint8_t { normal = 0, operator_ = 1 };

/// One typed message: a FlatBuffers table of the receiving kind, and its number in that kind's union.
struct Payload {
  std::uint16_t type = 0;
  std::string bytes;

  bool operator==(const Payload&) const = default;
};

/// One journaled message with its headers.
struct Envelope {
  Sequence sequence = 0;       ///< Given by the shard that holds the receiver.
  ActorId from;                ///< Empty kind: the outside (API, host, timer, effect).
  ActorId to;
  Lane lane = Lane::normal;
  Payload payload;
  Instant enqueued_at;
  std::string correlation;     ///< The API call or trigger at the root of it all.
  Sequence causation = 0;      ///< The message whose step sent this one.
  std::string dedup_key;       ///< The API key whose caller waits for the reply, if any.
  std::string timer;           ///< Of a fired timer: its name and generation; a stale one is not stepped.
  std::uint64_t timer_generation = 0;
  /// Revisions (engine/core/revision.hpp), separated by blanks: unless the actor has one of them when its turn
  /// comes, it is not stepped, and the caller is refused. Empty: whatever it has.
  std::string only_if;
  std::string only_if_rows;    ///< The prefix of the rows that count; empty: none.
};

/// Names a message by what stays the same when it comes again: one that was not durable when the process ended
/// comes again under another sequence. Never 0.
std::uint64_t fingerprint(const Envelope& message);

}  // namespace muster::engine

template <>
struct std::hash<muster::engine::ActorId> {
  std::size_t operator()(const muster::engine::ActorId& id) const noexcept {
    const std::hash<std::string> text;
    return text(id.key) * 31 + text(id.kind) * 7 + text(id.org);
  }
};
