// An EnvelopeRecord from front to back:
//
//   root, "MSTE" | vtable, table | vtable of names, to, its strings, from, its strings | vtable,
//   payload, its bytes | strings
//
// To a reader it is like any other: FlatBuffers only asks that pointers point forwards. flatc's
// builder goes from back to front, field by field, and looks for equal vtables among those that it
// wrote. Every message is written once, so that this is a good part of what a message costs.
#include <array>
#include <bit>
#include <cstring>

#include "engine/core/records.hpp"

namespace muster::engine {

namespace {

static_assert(std::endian::native == std::endian::little, "as FlatBuffers are");

using EnvelopeTable = fbs::EnvelopeRecord;
using NameTable = fbs::ActorName;
using PayloadTable = fbs::PayloadRecord;

/// A vtable: its size, its table's size, and where in the table each field lies; 0: not there.
template <std::size_t kLastSlot>
using VTable = std::array<std::uint16_t, kLastSlot / 2 + 1>;

class ForwardWriter {
 public:
  /// With room for `most` bytes.
  ForwardWriter(std::string& buffer, std::size_t most) : buffer_(buffer) {
    if (buffer_.size() < most) buffer_.resize(most);
  }

  [[nodiscard]] std::uint32_t at() const { return at_; }
  [[nodiscard]] std::string_view written() const { return {buffer_.data(), at_}; }

  void bytes(const void* from, std::size_t size) {
    std::memcpy(buffer_.data() + at_, from, size);
    at_ += static_cast<std::uint32_t>(size);
  }
  void zeros(std::size_t size) {
    std::memset(buffer_.data() + at_, 0, size);
    at_ += static_cast<std::uint32_t>(size);
  }
  void align(std::uint32_t to) { zeros((to - at_ % to) % to); }
  template <class T>
  void set(std::uint32_t place, T value) {
    std::memcpy(buffer_.data() + place, &value, sizeof value);
  }

  /// What comes next is what the pointer at `place` means.
  void point(std::uint32_t place) {
    align(4);
    set(place, at_ - place);
  }
  /// Where it lies.
  template <std::size_t N>
  std::uint32_t vtable(const std::array<std::uint16_t, N>& slots) {
    align(2);
    const std::uint32_t place = at_;
    bytes(slots.data(), sizeof slots);
    return place;
  }
  /// Of the vtable's size, all zeros but for the pointer to it. Where it lies.
  std::uint32_t table(std::uint32_t vtable, std::uint16_t size) {
    const std::uint32_t place = at_;
    zeros(size);
    set(place, static_cast<std::int32_t>(place - vtable));
    return place;
  }
  /// A vector of bytes.
  void blob(std::uint32_t pointer, std::string_view content) {
    point(pointer);
    const auto size = static_cast<std::uint32_t>(content.size());
    bytes(&size, sizeof size);
    bytes(content.data(), content.size());
  }
  /// Where it lies.
  std::uint32_t text(std::uint32_t pointer, std::string_view content) {
    blob(pointer, content);
    zeros(1);
    return pointer + get(pointer);
  }
  [[nodiscard]] std::uint32_t get(std::uint32_t place) const {
    std::uint32_t value = 0;
    std::memcpy(&value, buffer_.data() + place, sizeof value);
    return value;
  }

 private:
  std::string& buffer_;
  std::uint32_t at_ = 0;
};

constexpr VTable<NameTable::VT_KEY> kNameSlots{10, 16, 4, 8, 12};
static_assert(NameTable::VT_ORG == 4 && NameTable::VT_KIND == 6 && NameTable::VT_KEY == 8);
constexpr VTable<PayloadTable::VT_BYTES> kMessageSlots{8, 12, 8, 4};
static_assert(PayloadTable::VT_TYPE == 4 && PayloadTable::VT_BYTES == 6);

/// The fields that this envelope has. Numbers stand at multiples of eight when the table does.
VTable<EnvelopeTable::VT_ONLY_IF_ROWS> slots_of(const Envelope& envelope) {
  VTable<EnvelopeTable::VT_ONLY_IF_ROWS> slots{};
  std::uint16_t size = sizeof(std::int32_t);
  const auto add = [&](std::size_t slot, std::uint16_t width, bool there) {
    if (!there) return;
    slots[slot / 2] = size;
    size = static_cast<std::uint16_t>(size + width);
  };
  add(EnvelopeTable::VT_TO, 4, true);
  add(EnvelopeTable::VT_FROM, 4, !envelope.from.kind.empty());
  add(EnvelopeTable::VT_PAYLOAD, 4, true);
  add(EnvelopeTable::VT_CORRELATION, 4, !envelope.correlation.empty());
  add(EnvelopeTable::VT_DEDUP_KEY, 4, !envelope.dedup_key.empty());
  add(EnvelopeTable::VT_TIMER, 4, !envelope.timer.empty());
  add(EnvelopeTable::VT_ONLY_IF, 4, !envelope.only_if.empty());
  add(EnvelopeTable::VT_ONLY_IF_ROWS, 4, !envelope.only_if_rows.empty());
  size = static_cast<std::uint16_t>((size + 7) / 8 * 8);
  add(EnvelopeTable::VT_SEQUENCE, 8, envelope.sequence != 0);
  add(EnvelopeTable::VT_ENQUEUED_UNIX_MS, 8, envelope.enqueued_at.unix_ms != 0);
  add(EnvelopeTable::VT_CAUSATION, 8, envelope.causation != 0);
  add(EnvelopeTable::VT_TIMER_GENERATION, 8, envelope.timer_generation != 0);
  add(EnvelopeTable::VT_LANE, 1, envelope.lane != Lane::normal);
  slots[0] = sizeof slots;
  slots[1] = size;
  return slots;
}

std::size_t most_bytes(const Envelope& envelope) {
  constexpr std::size_t kTables = 256;
  std::size_t bytes = kTables;
  for (const std::string* text :
       {&envelope.from.org, &envelope.from.kind, &envelope.from.key, &envelope.to.org,
        &envelope.to.kind, &envelope.to.key, &envelope.payload.bytes, &envelope.correlation,
        &envelope.dedup_key, &envelope.timer, &envelope.only_if, &envelope.only_if_rows})
    bytes += text->size() + 8;  // Its size, its NUL, and up to three before the next one.
  return bytes;
}

/// Sender and receiver share what they have in common.
void write_names(ForwardWriter& out, std::uint32_t to, std::uint32_t from,
                 const Envelope& envelope) {
  const std::uint32_t slots = out.vtable(kNameSlots);
  const auto place = [](std::uint32_t name, std::size_t slot) {
    return name + kNameSlots[slot / 2];
  };
  out.point(to);
  const std::uint32_t receiver = out.table(slots, kNameSlots[1]);
  std::uint32_t sender = 0;
  if (from != 0) {
    out.point(from);
    sender = out.table(slots, kNameSlots[1]);
  }
  const auto write = [&](std::size_t slot, const std::string& theirs, const std::string& ours) {
    const std::uint32_t text = out.text(place(receiver, slot), theirs);
    if (sender == 0) return;
    const std::uint32_t pointer = place(sender, slot);
    if (ours == theirs)
      out.set(pointer, text - pointer);
    else
      out.text(pointer, ours);
  };
  write(NameTable::VT_ORG, envelope.to.org, envelope.from.org);
  write(NameTable::VT_KIND, envelope.to.kind, envelope.from.kind);
  write(NameTable::VT_KEY, envelope.to.key, envelope.from.key);
}

void write_payload(ForwardWriter& out, std::uint32_t pointer, const Payload& payload) {
  const std::uint32_t slots = out.vtable(kMessageSlots);
  out.point(pointer);
  const std::uint32_t message = out.table(slots, kMessageSlots[1]);
  out.set(message + kMessageSlots[PayloadTable::VT_TYPE / 2], payload.type);
  out.blob(message + kMessageSlots[PayloadTable::VT_BYTES / 2], payload.bytes);
}

}  // namespace

std::string_view encode_envelope(std::string& buffer, const Envelope& envelope) {
  const auto slots = slots_of(envelope);
  ForwardWriter out(buffer, most_bytes(envelope));
  out.zeros(sizeof(std::uint32_t));
  out.bytes("MSTE", 4);
  const std::uint32_t vtable = out.vtable(slots);
  out.align(8);
  out.point(0);
  const std::uint32_t record = out.table(vtable, slots[1]);
  const auto place = [&](std::size_t slot) { return record + slots[slot / 2]; };
  const auto number = [&](std::size_t slot, auto value) {
    if (slots[slot / 2] != 0) out.set(place(slot), value);
  };
  const auto text = [&](std::size_t slot, const std::string& content) {
    if (slots[slot / 2] != 0) out.text(place(slot), content);
  };
  number(EnvelopeTable::VT_SEQUENCE, envelope.sequence);
  number(EnvelopeTable::VT_ENQUEUED_UNIX_MS, envelope.enqueued_at.unix_ms);
  number(EnvelopeTable::VT_CAUSATION, envelope.causation);
  number(EnvelopeTable::VT_TIMER_GENERATION, envelope.timer_generation);
  number(EnvelopeTable::VT_LANE, static_cast<std::uint8_t>(envelope.lane));
  const bool sent = slots[EnvelopeTable::VT_FROM / 2] != 0;
  write_names(out, place(EnvelopeTable::VT_TO), sent ? place(EnvelopeTable::VT_FROM) : 0, envelope);
  write_payload(out, place(EnvelopeTable::VT_PAYLOAD), envelope.payload);
  text(EnvelopeTable::VT_CORRELATION, envelope.correlation);
  text(EnvelopeTable::VT_DEDUP_KEY, envelope.dedup_key);
  text(EnvelopeTable::VT_TIMER, envelope.timer);
  text(EnvelopeTable::VT_ONLY_IF, envelope.only_if);
  text(EnvelopeTable::VT_ONLY_IF_ROWS, envelope.only_if_rows);
  return out.written();
}

std::string encode_envelope(const Envelope& envelope) {
  std::string buffer;
  return std::string(encode_envelope(buffer, envelope));
}

}  // namespace muster::engine
