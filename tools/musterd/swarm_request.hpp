// The body of POST /v1/swarms: checked, and turned into the blob and the message that make the swarm. Pure.
#pragma once

#include <string>

#include "actors/swarm/swarm_generated.h"
#include "actors/swarm/swarm_spec.hpp"
#include "storage/base/error.hpp"
#include "tools/musterd/render.hpp"

namespace muster::musterd {

struct SwarmRequest {
  actors::swarm::SwarmSpec spec;
  std::string plan;  ///< The plan blob: the swarm file as JSON, keys sorted.
  fbs::CreateSwarmT create;
};

/// Errc::invalid lists everything that is wrong with the file, or the first wrong repository.
Result<SwarmRequest> read_swarm_request(const Json& body);

}  // namespace muster::musterd
