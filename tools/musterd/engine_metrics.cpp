#include "tools/musterd/engine_metrics.hpp"

#include <string>

namespace muster::musterd {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

MetricFamily family(std::string name, std::string help, MetricType type) {
  return {std::move(name), std::move(help), type, {}};
}

void add(MetricFamily& to, Labels labels, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  if (to.type == MetricType::Counter) metric.counter.value = value;
  if (to.type == MetricType::Gauge) metric.gauge.value = value;
  to.metric.push_back(std::move(metric));
}

/// `unit`: what one of the histogram's units is in the metric's.
void add(MetricFamily& to, Labels labels, const engine::PowerHistogram& counted, double unit) {
  ClientMetric metric;
  metric.label = std::move(labels);
  std::uint64_t upto = 0;
  for (std::size_t i = 0; i < counted.counts().size(); ++i) {
    upto += counted.counts()[i];
    // Values of bucket i are below 2^i, so at most 2^i - 1. Powers of four are enough for a graph.
    if (i % 2 == 1 && i + 1 < counted.counts().size())
      metric.histogram.bucket.push_back(
          {upto, static_cast<double>((std::uint64_t{1} << i) - 1) * unit});
  }
  metric.histogram.bucket.push_back({upto, std::numeric_limits<double>::infinity()});
  metric.histogram.sample_count = upto;
  metric.histogram.sample_sum = static_cast<double>(counted.sum()) * unit;
  to.metric.push_back(std::move(metric));
}

constexpr double kMicrosecond = 1e-6;

}  // namespace

std::vector<MetricFamily> engine_families(const std::vector<engine::ShardStats>& shards) {
  const auto counter = [](const char* name, const char* help) {
    return family(name, help, MetricType::Counter);
  };
  const auto gauge = [](const char* name, const char* help) {
    return family(name, help, MetricType::Gauge);
  };
  const auto histogram = [](const char* name, const char* help) {
    return family(name, help, MetricType::Histogram);
  };
  MetricFamily commits = counter("muster_commits_total", "Batches that became durable");
  MetricFamily failed = counter("muster_commit_failures_total", "Batches whose commit failed");
  MetricFamily bytes = counter("muster_commit_bytes_total", "Bytes of durable batches");
  MetricFamily batch = histogram("muster_commit_batch_decisions", "Decisions in one batch");
  MetricFamily sync = histogram("muster_commit_sync_seconds", "Until a batch was durable");
  MetricFamily steps = histogram("muster_step_seconds", "One step of an actor, by kind");
  MetricFamily dead =
      counter("muster_dead_letters_total", "Messages that could not be handled, by kind");
  MetricFamily active = gauge("muster_actors_active", "Actors in memory");
  MetricFamily idle = gauge("muster_actors_idle", "Actors in memory with nothing to do");
  MetricFamily sleeping =
      gauge("muster_actors_sleeping",
            "Actors with messages that are not in memory: after a start, or for want of room");
  MetricFamily messages =
      gauge("muster_mailbox_messages", "Messages pending in mailboxes of active actors");
  MetricFamily deepest =
      gauge("muster_mailbox_deepest_messages", "Messages pending in the fullest mailbox");
  MetricFamily window = gauge("muster_window_bytes", "Bytes of messages in memory");
  std::map<std::string, MetricFamily> store;
  for (const engine::ShardStats& shard : shards) {
    const Labels of_shard{{"shard", std::to_string(shard.shard)}};
    const auto with_kind = [&](const std::string& kind) {
      return Labels{{"kind", kind}, {"shard", std::to_string(shard.shard)}};
    };
    add(commits, of_shard, static_cast<double>(shard.commits));
    add(failed, of_shard, static_cast<double>(shard.failed_commits));
    add(bytes, of_shard, static_cast<double>(shard.committed_bytes));
    add(batch, of_shard, shard.batch, 1);
    add(sync, of_shard, shard.sync_us, kMicrosecond);
    for (const auto& [kind, counted] : shard.steps_us)
      add(steps, with_kind(kind), counted, kMicrosecond);
    for (const auto& [kind, count] : shard.dead_letters)
      add(dead, with_kind(kind), static_cast<double>(count));
    add(active, of_shard, static_cast<double>(shard.active_actors));
    add(idle, of_shard, static_cast<double>(shard.idle_actors));
    add(sleeping, of_shard, static_cast<double>(shard.sleeping_actors));
    add(messages, of_shard, static_cast<double>(shard.mailbox_messages));
    add(deepest, of_shard, static_cast<double>(shard.mailbox_deepest));
    add(window, of_shard, static_cast<double>(shard.window_bytes));
    for (const auto& [name, value] : shard.store) {
      const std::string metric = "muster_rocksdb_" + name;
      const auto found =
          store.try_emplace(metric, family(metric, "RocksDB's own: " + name, MetricType::Gauge))
              .first;
      add(found->second, of_shard, static_cast<double>(value));
    }
  }
  std::vector<MetricFamily> all{commits, failed, bytes,    batch,    sync,    steps, dead,
                                active,  idle,   sleeping, messages, deepest, window};
  for (auto& [name, each] : store) all.push_back(std::move(each));
  std::erase_if(all, [](const MetricFamily& each) { return each.metric.empty(); });
  return all;
}

}  // namespace muster::musterd
