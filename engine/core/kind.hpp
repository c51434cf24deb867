// A kind of durable actor, and how to write one.
//
//   struct Counter {
//     static constexpr std::string_view kName = "counter";
//     static constexpr std::uint16_t kVersion = 1;         // raised when a step changes its meaning
//     using State = fbs::CounterHeadT;                     // FlatBuffers object API: the small head
//     using Messages = engine::MessageSet<fbs::CounterBodyUnionTraits, fbs::CreateT, fbs::AddT>;
//     using Message = Messages::Variant;
//     static bool creates(const Message& m) { return std::holds_alternative<fbs::CreateT>(m); }
//     static void step(State& state, const Message& message, engine::Context& ctx);
//   };
//
// `step` is pure: no clock, no randomness, no I/O. It changes `state`, and records everything else in the
// Context. A throw undoes the step and parks the message as a dead letter. A message to an actor that does not
// exist is a dead letter too, unless creates() says that it makes one. A finished actor goes on answering what its
// step defines for it, until its kind removes it (Context::remove).
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "engine/core/context.hpp"
#include "engine/core/message.hpp"

namespace muster::engine {

/// Where a table is built: on the stack when it is small, as most messages and states are.
class TableBuffer final : public flatbuffers::Allocator {
 public:
  static constexpr std::size_t kBytes = 2'048;

  std::uint8_t* allocate(std::size_t size) override {
    if (taken_ || size > kBytes) return new std::uint8_t[size];
    taken_ = true;
    return bytes_.data();
  }
  void deallocate(std::uint8_t* bytes, std::size_t /*size*/) override {
    if (bytes != bytes_.data()) delete[] bytes;
  }

 private:
  bool taken_ = false;
  alignas(std::max_align_t) std::array<std::uint8_t, kBytes> bytes_;  ///< Not set to zero.
};

/// Bytes of one table of the object API.
template <class T>
std::string encode_table(const T& table) {
  TableBuffer buffer;
  flatbuffers::FlatBufferBuilder builder(TableBuffer::kBytes, &buffer);
  builder.Finish(T::TableType::Pack(builder, &table));
  return {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()};
}

/// Into an empty table. Errc::corrupt unless the bytes verify as one.
template <class T>
Result<void> decode_into(T& table, std::string_view bytes) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  flatbuffers::Verifier verifier(data, bytes.size());
  if (!verifier.VerifyBuffer<typename T::TableType>(nullptr))
    return fail(Errc::corrupt, std::string("not a valid ") + T::TableType::GetFullyQualifiedName());
  flatbuffers::GetRoot<typename T::TableType>(data)->UnPackTo(&table);
  return {};
}

/// Errc::corrupt unless the bytes verify as that table.
template <class T>
Result<T> decode_table(std::string_view bytes) {
  Result<T> table;
  if (auto ok = decode_into(*table, bytes); !ok) table = tl::unexpected<Error>(ok.error());
  return table;
}

/// The closed set of messages of a kind. A message's number is its place in the schema's union; flatc's
/// `<Union>UnionTraits` tells it.
template <template <class> class Traits, class... Ts>
struct MessageSet {
  using Variant = std::variant<Ts...>;

  template <class T>
  static constexpr bool holds = (std::is_same_v<T, Ts> || ...);

  template <class T>
  static Payload encode(const T& message) {
    static_assert(holds<T>, "this kind takes no such message");
    return {static_cast<std::uint16_t>(Traits<T>::enum_value), encode_table(message)};
  }

  static Result<Variant> decode(const Payload& payload) {
    Result<Variant> result;
    if (!(decode_one<Ts>(payload, result) || ...))
      result = fail(Errc::corrupt, "unknown message type " + std::to_string(payload.type));
    return result;
  }

  /// Calls f.template operator()<T>() for each message table T of the set, until it returns true.
  template <class F>
  static bool any_of(F&& f) {
    return (f.template operator()<Ts>() || ...);
  }
  template <class T>
  static constexpr std::uint16_t number = static_cast<std::uint16_t>(Traits<T>::enum_value);

 private:
  template <class T>
  static bool decode_one(const Payload& payload, Result<Variant>& result) {
    if (payload.type != static_cast<std::uint16_t>(Traits<T>::enum_value)) return false;
    if (auto ok = decode_into(result->template emplace<T>(), payload.bytes); !ok)
      result = tl::unexpected<Error>(ok.error());
    return true;
  }
};

/// A table's set fields on one line: { run: "7K2M", attempt: 1 }. The bytes must have been verified.
std::string describe_table(std::string_view bytes, const flatbuffers::TypeTable* type);
/// A payload that is no message of its kind: its number and size.
std::string describe_unknown(const Payload& payload);

/// "AcmeStarted { … }" for a payload of kind K.
template <class K>
std::string describe_payload(const Payload& payload) {
  std::string text = describe_unknown(payload);
  K::Messages::any_of([&]<class T>() {
    using Table = typename T::TableType;
    if (K::Messages::template number<T> != payload.type) return false;
    if (!decode_table<T>(payload.bytes)) return true;
    const std::string name = Table::GetFullyQualifiedName();
    text = name.substr(name.rfind('.') + 1) + " " +
           describe_table(payload.bytes, Table::MiniReflectTypeTable());
    return true;
  });
  return text;
}

/// A kind with its types erased: what the shard works with.
struct KindOps {
  std::string name;
  std::uint16_t version = 1;

  std::function<std::shared_ptr<void>()> make_state;
  std::function<std::shared_ptr<void>(const std::shared_ptr<void>&)> copy_state;
  std::function<std::string(const void*)> encode_state;
  std::function<Result<std::shared_ptr<void>>(std::string_view)> decode_state;
  /// Whether this message makes the actor; an error when it can't be decoded.
  std::function<Result<bool>(const Payload&)> creates;
  /// A message with its fields, for people: "Add { amount: 5 }".
  std::function<std::string(const Payload&)> describe;
  /// Runs the step. An error: the message can't be decoded. A throw of the step passes through.
  std::function<Result<void>(void* state, const Payload&, Context&)> step;
};

template <class K>
KindOps kind_ops() {
  using State = typename K::State;
  KindOps ops;
  ops.name = std::string(K::kName);
  ops.version = K::kVersion;
  ops.make_state = [] { return std::make_shared<State>(); };
  ops.copy_state = [](const std::shared_ptr<void>& from) -> std::shared_ptr<void> {
    return std::make_shared<State>(*static_cast<const State*>(from.get()));
  };
  ops.encode_state = [](const void* state) {
    return encode_table(*static_cast<const State*>(state));
  };
  ops.decode_state = [](std::string_view bytes) -> Result<std::shared_ptr<void>> {
    auto state = std::make_shared<State>();
    if (auto ok = decode_into(*state, bytes); !ok) return tl::unexpected<Error>(ok.error());
    return std::shared_ptr<void>(std::move(state));
  };
  ops.creates = [](const Payload& payload) -> Result<bool> {
    auto message = K::Messages::decode(payload);
    if (!message) return tl::unexpected<Error>(message.error());
    return K::creates(*message);
  };
  ops.describe = &describe_payload<K>;
  ops.step = [](void* state, const Payload& payload, Context& ctx) -> Result<void> {
    auto message = K::Messages::decode(payload);
    if (!message) return tl::unexpected<Error>(message.error());
    K::step(*static_cast<State*>(state), *message, ctx);
    return {};
  };
  return ops;
}

/// The kinds that an installation knows, by name.
using Kinds = std::map<std::string, KindOps, std::less<>>;

template <class... Ks>
Kinds make_kinds() {
  Kinds kinds;
  (kinds.emplace(std::string(Ks::kName), kind_ops<Ks>()), ...);
  return kinds;
}

}  // namespace muster::engine
