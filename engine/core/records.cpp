#include "engine/core/records.hpp"

#include <flatbuffers/flatbuffers.h>

namespace muster::engine {

namespace {

template <class T>
struct Identifier;
template <>
struct Identifier<fbs::EnvelopeRecordT> { static constexpr const char* value = "MSTE"; };
template <>
struct Identifier<fbs::HeadRecordT> { static constexpr const char* value = "MSTH"; };
template <>
struct Identifier<fbs::TimerRecordT> { static constexpr const char* value = "MSTT"; };
template <>
struct Identifier<fbs::EffectRecordT> { static constexpr const char* value = "MSTF"; };
template <>
struct Identifier<fbs::CallRecordT> { static constexpr const char* value = "MSTD"; };
template <>
struct Identifier<fbs::DeadRecordT> { static constexpr const char* value = "MSTL"; };
template <>
struct Identifier<fbs::AuditRecordT> { static constexpr const char* value = "MSTA"; };
template <>
struct Identifier<fbs::ChangesRecordT> { static constexpr const char* value = "MSTC"; };
template <>
struct Identifier<fbs::SnapshotRecordT> { static constexpr const char* value = "MSTP"; };
template <>
struct Identifier<fbs::ShardRecordT> { static constexpr const char* value = "MSTM"; };
template <>
struct Identifier<fbs::ArchiveRecordT> { static constexpr const char* value = "MSTX"; };

template <class T>
Result<const typename T::TableType*> verified(std::string_view bytes) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  flatbuffers::Verifier verifier(data, bytes.size());
  if (!verifier.VerifyBuffer<typename T::TableType>(Identifier<T>::value))
    return fail(Errc::corrupt, std::string("not a record ") + Identifier<T>::value + " (" +
                                   T::TableType::GetFullyQualifiedName() + ")");
  return flatbuffers::GetRoot<typename T::TableType>(data);
}

}  // namespace

template <class T>
std::string_view finish_record(flatbuffers::FlatBufferBuilder& builder,
                               flatbuffers::Offset<typename T::TableType> root) {
  builder.Finish(root, Identifier<T>::value);
  return {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()};
}

template <class T>
std::string encode_record(const T& record) {
  flatbuffers::FlatBufferBuilder builder;
  return std::string(finish_record<T>(builder, T::TableType::Pack(builder, &record)));
}

template <class T>
Result<T> decode_record(std::string_view bytes) {
  auto table = verified<T>(bytes);
  if (!table) return tl::unexpected<Error>(table.error());
  T record;
  (*table)->UnPackTo(&record);
  return record;
}

#define MUSTER_RECORD(T)                                                      \
  template std::string encode_record<T>(const T&);                            \
  template Result<T> decode_record<T>(std::string_view);                      \
  template std::string_view finish_record<T>(flatbuffers::FlatBufferBuilder&, \
                                             flatbuffers::Offset<T::TableType>);
MUSTER_RECORD(fbs::EnvelopeRecordT)
MUSTER_RECORD(fbs::HeadRecordT)
MUSTER_RECORD(fbs::TimerRecordT)
MUSTER_RECORD(fbs::EffectRecordT)
MUSTER_RECORD(fbs::CallRecordT)
MUSTER_RECORD(fbs::DeadRecordT)
MUSTER_RECORD(fbs::AuditRecordT)
MUSTER_RECORD(fbs::ChangesRecordT)
MUSTER_RECORD(fbs::SnapshotRecordT)
MUSTER_RECORD(fbs::ShardRecordT)
MUSTER_RECORD(fbs::ArchiveRecordT)
#undef MUSTER_RECORD

std::unique_ptr<fbs::ActorNameT> record_of(const ActorId& id) {
  auto record = std::make_unique<fbs::ActorNameT>();
  record->org = id.org;
  record->kind = id.kind;
  record->key = id.key;
  return record;
}

ActorId actor_of(const std::unique_ptr<fbs::ActorNameT>& record) {
  return record ? ActorId{record->org, record->kind, record->key} : ActorId{};
}

std::vector<std::uint8_t> record_of(std::string_view bytes) { return {bytes.begin(), bytes.end()}; }
std::string bytes_of(const std::vector<std::uint8_t>& record) {
  return {record.begin(), record.end()};
}

std::unique_ptr<fbs::PayloadRecordT> record_of(const Payload& payload) {
  auto record = std::make_unique<fbs::PayloadRecordT>();
  record->type = payload.type;
  record->bytes = record_of(std::string_view(payload.bytes));
  return record;
}

Payload payload_of(const std::unique_ptr<fbs::PayloadRecordT>& record) {
  return record ? Payload{record->type, bytes_of(record->bytes)} : Payload{};
}

flatbuffers::Offset<fbs::ActorName> encode_actor(flatbuffers::FlatBufferBuilder& builder,
                                                 const ActorId& id) {
  const auto org = builder.CreateString(id.org);
  const auto kind = builder.CreateString(id.kind);
  const auto key = builder.CreateString(id.key);
  return fbs::CreateActorName(builder, org, kind, key);
}

flatbuffers::Offset<flatbuffers::Vector<std::uint8_t>> encode_bytes(
    flatbuffers::FlatBufferBuilder& builder, std::string_view bytes) {
  return builder.CreateVector(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

std::string_view encode_envelope(flatbuffers::FlatBufferBuilder& builder,
                                 const Envelope& envelope) {
  builder.Clear();
  const auto text = [&](const std::string& s) {
    return s.empty() ? flatbuffers::Offset<flatbuffers::String>() : builder.CreateString(s);
  };
  // Sender and receiver share what they have in common.
  const ActorId& sender = envelope.from;
  const ActorId& receiver = envelope.to;
  const auto org = builder.CreateString(receiver.org);
  const auto kind = builder.CreateString(receiver.kind);
  const auto to = fbs::CreateActorName(builder, org, kind, builder.CreateString(receiver.key));
  flatbuffers::Offset<fbs::ActorName> from;
  if (!sender.kind.empty()) {
    const auto from_org = sender.org == receiver.org ? org : builder.CreateString(sender.org);
    const auto from_kind = sender.kind == receiver.kind ? kind : builder.CreateString(sender.kind);
    from = fbs::CreateActorName(builder, from_org, from_kind, builder.CreateString(sender.key));
  }
  const auto bytes = encode_bytes(builder, envelope.payload.bytes);
  const auto payload = fbs::CreatePayloadRecord(builder, envelope.payload.type, bytes);
  const auto correlation = text(envelope.correlation);
  const auto dedup_key = text(envelope.dedup_key);
  const auto timer = text(envelope.timer);
  const auto only_if = text(envelope.only_if);
  const auto only_if_rows = text(envelope.only_if_rows);
  fbs::EnvelopeRecordBuilder record(builder);
  record.add_sequence(envelope.sequence);
  record.add_enqueued_unix_ms(envelope.enqueued_at.unix_ms);
  record.add_causation(envelope.causation);
  record.add_timer_generation(envelope.timer_generation);
  record.add_from(from);
  record.add_to(to);
  record.add_payload(payload);
  record.add_correlation(correlation);
  record.add_dedup_key(dedup_key);
  record.add_timer(timer);
  record.add_only_if(only_if);
  record.add_only_if_rows(only_if_rows);
  record.add_lane(static_cast<std::uint8_t>(envelope.lane));
  return finish_record<fbs::EnvelopeRecordT>(builder, record.Finish());
}

std::string encode_envelope(const Envelope& envelope) {
  flatbuffers::FlatBufferBuilder builder;
  return std::string(encode_envelope(builder, envelope));
}

Result<Envelope> decode_envelope(std::string_view bytes) {
  auto record = decode_record<fbs::EnvelopeRecordT>(bytes);
  if (!record) return tl::unexpected<Error>(record.error());
  Envelope envelope;
  envelope.sequence = record->sequence;
  envelope.from = actor_of(record->from);
  envelope.to = actor_of(record->to);
  envelope.lane = record->lane == 0 ? Lane::normal : Lane::operator_;
  envelope.payload = payload_of(record->payload);
  envelope.enqueued_at = {record->enqueued_unix_ms};
  envelope.correlation = std::move(record->correlation);
  envelope.causation = record->causation;
  envelope.dedup_key = std::move(record->dedup_key);
  envelope.timer = std::move(record->timer);
  envelope.timer_generation = record->timer_generation;
  envelope.only_if = std::move(record->only_if);
  envelope.only_if_rows = std::move(record->only_if_rows);
  return envelope;
}

fbs::EffectRecordT record_of(const PendingEffect& effect) {
  fbs::EffectRecordT record;
  record.actor = record_of(effect.actor);
  record.sequence = effect.sequence;
  record.ordinal = effect.ordinal;
  record.port = effect.port;
  record.key = effect.key;
  record.bytes = record_of(std::string_view(effect.bytes));
  record.deadline_unix_ms = effect.deadline.unix_ms;
  return record;
}

PendingEffect effect_of(const fbs::EffectRecordT& record) {
  PendingEffect effect;
  effect.actor = actor_of(record.actor);
  effect.sequence = record.sequence;
  effect.ordinal = record.ordinal;
  effect.port = record.port;
  effect.key = record.key;
  effect.bytes = bytes_of(record.bytes);
  effect.deadline = {record.deadline_unix_ms};
  return effect;
}

Result<std::string> state_in_head(std::string_view head) {
  auto table = verified<fbs::HeadRecordT>(head);
  if (!table) return tl::unexpected<Error>(table.error());
  const auto* state = (*table)->state();
  if (state == nullptr) return std::string();
  return std::string(reinterpret_cast<const char*>(state->data()), state->size());
}

bool is_removed(std::string_view head) {
  const auto table = verified<fbs::HeadRecordT>(head);
  return table && (*table)->removed();
}

}  // namespace muster::engine
