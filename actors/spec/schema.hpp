// The published JSON Schema of the fleet file (tools/schema/fleet.schema.json), embedded. Pure.
#pragma once

#include <string_view>
#include <vector>

#include "actors/spec/fleet_spec.hpp"

namespace muster::actors {

std::string_view fleet_schema();

/// Where `json` breaks the schema. Editors see the same; parse_fleet says it better where it can.
std::vector<Problem> schema_problems(std::string_view json);

}  // namespace muster::actors
