#include "storage/journal/journal.hpp"

namespace muster::storage {

std::string_view to_string(Family family) {
  switch (family) {
    case Family::meta: return "meta";
    case Family::inbox: return "inbox";
    case Family::backlog: return "backlog";
    case Family::state: return "state";
    case Family::timers: return "timers";
    case Family::effects: return "effects";
    case Family::dedup: return "dedup";
    case Family::outbox: return "outbox";
    case Family::changes: return "changes";
    case Family::dead: return "dead";
    case Family::index: return "index";
    case Family::audit: return "audit";
  }
  return "unknown";
}

std::vector<Batch::Op> Batch::ops() const {
  std::vector<Op> copies;
  copies.reserve(count_);
  for_each([&](Family family, std::string_view key, std::optional<std::string_view> value) {
    copies.push_back({family, std::string(key), std::nullopt});
    if (value) copies.back().value = std::string(*value);
  });
  return copies;
}

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (end.empty()) return end;
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

namespace {

template <class T>
void put_big_endian(std::string& to, T value) {
  for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8)
    to.push_back(static_cast<char>((value >> shift) & 0xff));
}

template <class T>
T get_big_endian(std::string_view from) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T) && i < from.size(); ++i)
    value = static_cast<T>((value << 8) | static_cast<unsigned char>(from[i]));
  return value;
}

}  // namespace

void put_be64(std::string& to, std::uint64_t value) { put_big_endian(to, value); }
void put_be32(std::string& to, std::uint32_t value) { put_big_endian(to, value); }
std::uint64_t get_be64(std::string_view from) { return get_big_endian<std::uint64_t>(from); }

}  // namespace muster::storage
