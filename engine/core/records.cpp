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

namespace {

flatbuffers::Offset<flatbuffers::String> encode_text(flatbuffers::FlatBufferBuilder& builder,
                                                     std::string_view text) {
  if (text.empty()) return {};
  return builder.CreateString(text.data(), text.size());
}

flatbuffers::Offset<fbs::PayloadRecord> encode_payload(flatbuffers::FlatBufferBuilder& builder,
                                                       const Payload& payload) {
  return fbs::CreatePayloadRecord(builder, payload.type, encode_bytes(builder, payload.bytes));
}

}  // namespace

std::string_view encode_timer(flatbuffers::FlatBufferBuilder& builder, const ActorId& actor,
                              std::string_view name, std::uint64_t generation,
                              const Payload& payload, std::string_view correlation) {
  builder.Clear();
  const auto of = encode_actor(builder, actor);
  const auto named = encode_text(builder, name);
  const auto message = encode_payload(builder, payload);
  const auto root = encode_text(builder, correlation);
  fbs::TimerRecordBuilder record(builder);
  record.add_actor(of);
  record.add_name(named);
  record.add_generation(generation);
  record.add_payload(message);
  record.add_correlation(root);
  return finish_record<fbs::TimerRecordT>(builder, record.Finish());
}

std::string_view encode_deadline(flatbuffers::FlatBufferBuilder& builder,
                                 const PendingEffect& effect, std::string_view name) {
  builder.Clear();
  const auto of = encode_actor(builder, effect.actor);
  const auto named = encode_text(builder, name);
  fbs::TimerRecordBuilder record(builder);
  record.add_actor(of);
  record.add_name(named);
  record.add_effect_sequence(effect.sequence);
  record.add_effect_ordinal(effect.ordinal);
  return finish_record<fbs::TimerRecordT>(builder, record.Finish());
}

std::string_view encode_effect(flatbuffers::FlatBufferBuilder& builder, const PendingEffect& effect,
                               const Payload& on_unknown, Duration allowed,
                               std::string_view correlation) {
  builder.Clear();
  const auto of = encode_actor(builder, effect.actor);
  const auto port = encode_text(builder, effect.port);
  const auto key = encode_text(builder, effect.key);
  const auto bytes = encode_bytes(builder, effect.bytes);
  const auto unknown = encode_payload(builder, on_unknown);
  const auto root = encode_text(builder, correlation);
  fbs::EffectRecordBuilder record(builder);
  record.add_actor(of);
  record.add_sequence(effect.sequence);
  record.add_ordinal(effect.ordinal);
  record.add_port(port);
  record.add_key(key);
  record.add_bytes(bytes);
  record.add_deadline_unix_ms(effect.deadline.unix_ms);
  record.add_on_unknown(unknown);
  record.add_correlation(root);
  record.add_allowed_ms(allowed.count());
  return finish_record<fbs::EffectRecordT>(builder, record.Finish());
}

Result<Envelope> decode_envelope(std::string_view bytes) {
  const auto found = verified<fbs::EnvelopeRecordT>(bytes);
  if (!found) return tl::unexpected<Error>(found.error());
  const fbs::EnvelopeRecord& record = **found;
  const auto text = [](const flatbuffers::String* s) { return s ? s->str() : std::string(); };
  const auto actor = [&](const fbs::ActorName* name) {
    return name ? ActorId{text(name->org()), text(name->kind()), text(name->key())} : ActorId{};
  };
  Envelope envelope;
  envelope.sequence = record.sequence();
  envelope.from = actor(record.from());
  envelope.to = actor(record.to());
  envelope.lane = record.lane() == 0 ? Lane::normal : Lane::operator_;
  if (const auto* payload = record.payload()) {
    envelope.payload.type = payload->type();
    if (const auto* body = payload->bytes())
      envelope.payload.bytes.assign(reinterpret_cast<const char*>(body->data()), body->size());
  }
  envelope.enqueued_at = {record.enqueued_unix_ms()};
  envelope.correlation = text(record.correlation());
  envelope.causation = record.causation();
  envelope.dedup_key = text(record.dedup_key());
  envelope.timer = text(record.timer());
  envelope.timer_generation = record.timer_generation();
  envelope.only_if = text(record.only_if());
  envelope.only_if_rows = text(record.only_if_rows());
  return envelope;
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

Result<const fbs::HeadRecord*> head_in(std::string_view bytes) {
  return verified<fbs::HeadRecordT>(bytes);
}

std::string_view state_of(const fbs::HeadRecord& head) {
  const auto* state = head.state();
  if (state == nullptr) return {};
  return {reinterpret_cast<const char*>(state->data()), state->size()};
}

Result<std::string> state_in_head(std::string_view head) {
  auto table = head_in(head);
  if (!table) return tl::unexpected<Error>(table.error());
  return std::string(state_of(**table));
}

bool is_removed(std::string_view head) {
  const auto table = verified<fbs::HeadRecordT>(head);
  return table && (*table)->removed();
}

}  // namespace muster::engine
