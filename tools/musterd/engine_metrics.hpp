// The engine's own numbers as Prometheus families: pure, from what the shards counted.
#pragma once

#include <prometheus/metric_family.h>

#include <vector>

#include "engine/core/stats.hpp"

namespace muster::musterd {

/// Label sets are bounded: shards, kinds, and the store's few numbers.
std::vector<prometheus::MetricFamily> engine_families(
    const std::vector<engine::ShardStats>& shards);

}  // namespace muster::musterd
