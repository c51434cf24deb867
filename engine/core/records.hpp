// Bytes of the journal's records and back. Decoding verifies everything, because a disk may lie.
#pragma once

#include <string>
#include <string_view>

#include "engine/core/engine.hpp"
#include "engine/core/message.hpp"
#include "engine/core/record_generated.h"

namespace muster::engine {

/// Of the whole journal; raised when an older program could not read what this one writes.
/// 2: finished actors may be archived.
constexpr std::uint32_t kFormat = 2;

/// Bytes of a record with its file identifier. T: one of the ...RecordT of record.fbs.
template <class T>
std::string encode_record(const T& record);
/// Errc::corrupt unless the bytes are that record, whole.
template <class T>
Result<T> decode_record(std::string_view bytes);

std::string encode_envelope(const Envelope& envelope);
/// Without a copy: valid until `buffer`, which grows to what it needs, is used again.
std::string_view encode_envelope(std::string& buffer, const Envelope& envelope);
Result<Envelope> decode_envelope(std::string_view bytes);

std::unique_ptr<fbs::ActorNameT> record_of(const ActorId& id);
ActorId actor_of(const std::unique_ptr<fbs::ActorNameT>& record);
std::unique_ptr<fbs::PayloadRecordT> record_of(const Payload& payload);
Payload payload_of(const std::unique_ptr<fbs::PayloadRecordT>& record);
std::vector<std::uint8_t> record_of(std::string_view bytes);
std::string bytes_of(const std::vector<std::uint8_t>& record);

// Parts of records that are built without the object API, because they are the bulk of what is written.
flatbuffers::Offset<fbs::ActorName> encode_actor(flatbuffers::FlatBufferBuilder& builder,
                                                 const ActorId& id);
flatbuffers::Offset<flatbuffers::Vector<std::uint8_t>> encode_bytes(
    flatbuffers::FlatBufferBuilder& builder, std::string_view bytes);
std::string_view encode_timer(flatbuffers::FlatBufferBuilder& builder, const ActorId& actor,
                              std::string_view name, std::uint64_t generation,
                              const Payload& payload, std::string_view correlation);
/// The timer of an effect's deadline.
std::string_view encode_deadline(flatbuffers::FlatBufferBuilder& builder,
                                 const PendingEffect& effect, std::string_view name);
std::string_view encode_effect(flatbuffers::FlatBufferBuilder& builder, const PendingEffect& effect,
                               const Payload& on_unknown, Duration allowed,
                               std::string_view correlation);

/// Ends the record with its file identifier; its bytes, valid until `builder` is used again.
template <class T>
std::string_view finish_record(flatbuffers::FlatBufferBuilder& builder,
                               flatbuffers::Offset<typename T::TableType> root);

PendingEffect effect_of(const fbs::EffectRecordT& record);

/// A head where it lies: valid as long as its bytes. Errc::corrupt unless they are one.
Result<const fbs::HeadRecord*> head_in(std::string_view bytes);
std::string_view state_of(const fbs::HeadRecord& head);
/// The state in a head, as the API reads it: nothing for an actor that was only addressed.
Result<std::string> state_in_head(std::string_view head);
/// Whether this head is only what a removed actor leaves behind. False for bytes that are no head.
bool is_removed(std::string_view head);

}  // namespace muster::engine
