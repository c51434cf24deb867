// The published JSON Schema of the fleet file (tools/schema/fleet.schema.json), embedded; and the
// check of a file against a schema, which swarm files share. Pure.
#pragma once

#include <string_view>
#include <vector>

#include "actors/spec/fleet_spec.hpp"

namespace muster::actors {

std::string_view fleet_schema();

/// Where `json` breaks the schema. Editors see the same; parse_fleet says it better where it can.
std::vector<Problem> schema_problems(std::string_view json,
                                     std::string_view schema = fleet_schema());
/// Adds what the schema forbids and the reader did not name: nothing, as long as the two agree.
void add_schema_problems(std::string_view json, std::string_view schema,
                         std::vector<Problem>& problems);

}  // namespace muster::actors
