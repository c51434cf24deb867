// Reading the server's documents without trusting their shape: what is missing or of another type
// is empty.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "storage/base/time.hpp"

namespace muster::cli {

using Json = nlohmann::json;

inline const Json& at(const Json& from, const char* key) {
  static const Json kNothing;
  if (!from.is_object()) return kNothing;
  const auto found = from.find(key);
  return found == from.end() ? kNothing : *found;
}
inline std::string str(const Json& from, const char* key) {
  const Json& value = at(from, key);
  return value.is_string() ? value.get<std::string>() : "";
}
inline std::int64_t num(const Json& from, const char* key) {
  const Json& value = at(from, key);
  return value.is_number() ? value.get<std::int64_t>() : 0;
}
inline std::uint64_t count(const Json& from, const char* key) {
  const std::int64_t n = num(from, key);
  return n < 0 ? 0 : static_cast<std::uint64_t>(n);
}
inline bool flag(const Json& from, const char* key) {
  const Json& value = at(from, key);
  return value.is_boolean() && value.get<bool>();
}
/// The elements of a list; nothing for anything else.
inline const Json& list(const Json& from, const char* key) {
  static const Json kNone = Json::array();
  const Json& value = at(from, key);
  return value.is_array() ? value : kNone;
}
inline std::optional<Instant> when(const Json& from, const char* key) {
  const Json& value = at(from, key);
  if (!value.is_string()) return std::nullopt;
  const auto parsed = parse_rfc3339(value.get<std::string>());
  return parsed ? std::optional(*parsed) : std::nullopt;
}
inline std::string joined(const Json& from, const char* key, const char* between = ", ") {
  std::string out;
  for (const Json& item : list(from, key))
    if (item.is_string()) out += (out.empty() ? "" : between) + item.get<std::string>();
  return out;
}
inline std::string dumped(const Json& value, int indent = -1) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace muster::cli
