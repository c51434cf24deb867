#include "actors/swarm/result_schema.hpp"

#include <exception>
#include <nlohmann/json.hpp>
#include <set>

#include "actors/spec/schema.hpp"

namespace muster::actors::swarm {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxTold = 20;
constexpr std::size_t kToldBytes = 300;

/// std::regex takes stack for each character, $ref may go round, and uniqueItems compares all with
/// all.
const std::set<std::string> kRefused = {"$ref", "pattern", "patternProperties", "uniqueItems"};
/// Below these stand names, and not keywords.
const std::set<std::string> kNamed = {"properties", "definitions", "dependencies"};
const std::set<std::string> kValues = {"enum", "const", "default", "examples"};

/// Null when it is no JSON, or nested deeper than anybody would.
json parsed(std::string_view text) {
  bool deep = false;
  json value = json::parse(
      text,
      [&deep](int depth, json::parse_event_t, json&) {
        deep = deep || depth > kMaxDepth;
        return !deep;
      },
      false);
  return deep || value.is_discarded() ? json() : value;
}

std::string refused_keyword(const json& schema) {
  if (schema.is_array())
    for (const json& one : schema)
      if (std::string found = refused_keyword(one); !found.empty()) return found;
  if (!schema.is_object()) return {};
  for (const auto& [key, value] : schema.items()) {
    if (kRefused.contains(key)) return key;
    if (kValues.contains(key)) continue;
    if (kNamed.contains(key) && value.is_object()) {
      for (const json& one : value)
        if (std::string found = refused_keyword(one); !found.empty()) return found;
    } else if (std::string found = refused_keyword(value); !found.empty()) {
      return found;
    }
  }
  return {};
}

}  // namespace

std::string trouble_in_result_schema(std::string_view schema) {
  if (schema.size() > kMaxResultSchemaBytes)
    return "is larger than " + std::to_string(kMaxResultSchemaBytes) + " bytes";
  const json document = parsed(schema);
  if (!document.is_object()) return "must be a JSON Schema, nested at most 64 deep";
  if (const std::string key = refused_keyword(document); !key.empty())
    return "may not use \"" + key + "\": results are checked in bounded time";
  try {
    (void)schema_problems("null", schema);
  } catch (const std::exception& e) {
    return std::string("is no JSON Schema: ") + e.what();
  }
  return {};
}

std::string trouble_with_result(std::string_view result, std::string_view schema) {
  if (parsed(result).is_null()) return "result.json is no JSON, or nested too deep";
  if (schema.empty()) return {};
  std::string told;
  std::size_t lines = 0;
  for (const Problem& problem : schema_problems(result, schema)) {
    if (lines++ == kMaxTold) break;
    told += (told.empty() ? "" : "\n") +
            (problem.pointer + ": " + problem.message).substr(0, kToldBytes);
  }
  return told;
}

}  // namespace muster::actors::swarm
