// The JSON Schema that a swarm file gives for its facets' results, and whether a result meets it.
// Pure, and bounded in time and stack whatever an agent wrote: a step calls it. So such a schema
// may hold no $ref, no regular expression and no uniqueItems.
#pragma once

#include <string>
#include <string_view>

namespace muster::actors::swarm {

inline constexpr std::size_t kMaxResultSchemaBytes = 32u << 10;

/// What is wrong with the schema, for a person; empty: nothing.
std::string trouble_in_result_schema(std::string_view schema);

/// The places where the result breaks the schema, a line each, at most 20; empty: it fits. An empty
/// schema takes any JSON. `schema` has no trouble.
std::string trouble_with_result(std::string_view result, std::string_view schema);

}  // namespace muster::actors::swarm
