// Reading the server's documents in the order in which it wrote them, without trusting their shape:
// what is missing or of another type is empty.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace muster::cli::console {

/// Keeps the order of fields: that of the schemas.
using Doc = nlohmann::ordered_json;

inline const Doc& at(const Doc& from, const char* key) {
  static const Doc kNothing;
  if (!from.is_object()) return kNothing;
  const auto found = from.find(key);
  return found == from.end() ? kNothing : *found;
}
inline std::string str(const Doc& from, const char* key) {
  const Doc& value = at(from, key);
  return value.is_string() ? value.get<std::string>() : "";
}
inline std::int64_t num(const Doc& from, const char* key) {
  const Doc& value = at(from, key);
  return value.is_number() ? value.get<std::int64_t>() : 0;
}
inline std::uint64_t count(const Doc& from, const char* key) {
  const std::int64_t n = num(from, key);
  return n < 0 ? 0 : static_cast<std::uint64_t>(n);
}
inline bool flag(const Doc& from, const char* key) {
  const Doc& value = at(from, key);
  return value.is_boolean() && value.get<bool>();
}
inline const Doc& list(const Doc& from, const char* key) {
  static const Doc kNone = Doc::array();
  const Doc& value = at(from, key);
  return value.is_array() ? value : kNone;
}
inline std::string dumped(const Doc& value, int indent = -1) {
  return value.dump(indent, ' ', false, Doc::error_handler_t::replace);
}

}  // namespace muster::cli::console
