// The grammar of the journal's keys.
//
//   actor    := slot(1 byte) org 00 kind 00 key 00
//   state    := actor 'h'                       the head
//             | actor 'p' be64(decision)        a snapshot
//             | actor 'r' row                   a row
//             | actor 'a'                       head and rows of an archived actor, instead of those
//   inbox, dead        := be64(sequence)
//   audit    := be64(position) be32(ordinal)
//   changes  := be64(position)
//   backlog  := actor lane(1 byte) be64(sequence)
//   timers   := be64(due, ms) actor name
//   effects  := actor be64(sequence) be32(ordinal)
//   dedup    := 'k' API key | 'c' channel | 'x' be32(source shard)
//   outbox   := be32(destination shard) be64(number)
//   index    := escaped(index) 00 01 escaped(key) 00 01 actor
//   meta     := "shard"
//
// Numbers are big-endian, so that keys sort as they do. In `escaped`, 00 is written 00 FF: it keeps the order
// and is never mistaken for the end, 00 01.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "engine/core/message.hpp"

namespace muster::engine::keys {

std::string actor(const ActorId& id);
/// Takes an actor off the front of `text`; nothing when it does not begin with one.
std::optional<ActorId> take_actor(std::string_view& text);

std::string head(const ActorId& id);
std::string archive(const ActorId& id);
std::string row(const ActorId& id, std::string_view row);
/// The bounds of an actor's rows with keys in [lower, upper); an empty upper means all.
std::pair<std::string, std::string> rows(const ActorId& id, std::string_view lower,
                                         std::string_view upper);
/// Of an actor after that decision.
std::string snapshot(const ActorId& id, std::uint64_t decision);
std::string_view row_name(std::string_view row_key, const ActorId& id);

std::string sequence(Sequence sequence);
/// By the position of the decision's change, which grows with every commit: a reader that has seen one misses none
/// that comes later.
std::string audit(std::uint64_t position, std::uint32_t ordinal);

std::string backlog(const ActorId& id, Lane lane, Sequence sequence);

std::string timer(Instant due, const ActorId& id, std::string_view name);
Instant timer_due(std::string_view key);

std::string effect(const ActorId& id, Sequence sequence, std::uint32_t ordinal);

std::string call(std::string_view api_key);
std::string channel(std::string_view channel);
std::string source(std::uint32_t shard);

std::string outbox(std::uint32_t destination, std::uint64_t number);
std::uint64_t outbox_number(std::string_view key);

std::string index(std::string_view index, std::string_view key, const ActorId& id);
std::pair<std::string, std::string> index_range(std::string_view index, std::string_view lower,
                                                std::string_view upper);
struct IndexKey {
  std::string key;
  ActorId actor;
};
std::optional<IndexKey> parse_index(std::string_view text);

inline constexpr std::string_view kShard = "shard";

}  // namespace muster::engine::keys
