#include "engine/core/message.hpp"

namespace muster::engine {

namespace {

/// FNV-1a, 64 bits. On disk through slot(): never change it.
std::uint64_t fnv1a(std::uint64_t hash, std::string_view bytes) {
  for (const char c : bytes) {
    hash ^= static_cast<std::uint8_t>(c);
    hash *= 0x100000001b3ULL;
  }
  return hash;
}

}  // namespace

std::uint8_t ActorId::slot() const {
  constexpr std::string_view kNul("\0", 1);
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const std::string_view part : {std::string_view(org), kNul, std::string_view(kind), kNul,
                                      std::string_view(key)})
    hash = fnv1a(hash, part);
  hash ^= hash >> 32;
  hash ^= hash >> 16;
  return static_cast<std::uint8_t>(hash ^ (hash >> 8));
}

Result<ActorId> ActorId::parse(std::string_view text) {
  const std::size_t first = text.find('/');
  const std::size_t second = first == text.npos ? text.npos : text.find('/', first + 1);
  if (second == text.npos || first == 0 || second == first + 1 || second + 1 == text.size() ||
      text.find('\0') != text.npos)
    return fail(Errc::invalid, "not an actor like ORG/KIND/KEY: \"" + std::string(text) + "\"");
  return ActorId{std::string(text.substr(0, first)),
                 std::string(text.substr(first + 1, second - first - 1)),
                 std::string(text.substr(second + 1))};
}

std::uint64_t fingerprint(const Envelope& message) {
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15;
  constexpr std::hash<std::string_view> text;
  std::uint64_t name = message.causation ^ (message.timer_generation << 32) ^ message.payload.type;
  for (const std::string_view part :
       {std::string_view(message.to.key), std::string_view(message.to.kind),
        std::string_view(message.correlation), std::string_view(message.payload.bytes)})
    name = (name ^ text(part)) * kOdd;
  return name == 0 ? 1 : name;
}

}  // namespace muster::engine
