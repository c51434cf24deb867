// Snapshots on the hosts whose runs' contents were given up, or whose runs are gone.
#include <spdlog/spdlog.h>

#include "tools/musterd/host_orders.hpp"
#include "tools/musterd/retention.hpp"

namespace muster::musterd {
namespace {

constexpr Duration kHostLimit{10'000};

}  // namespace

/// The hosts say what they have: one that is away now is asked by a later look.
void Retention::remove_snapshots() const {
  if (hosts_ == nullptr) return;
  std::vector<std::string> hosts;
  (void)view_.each_host([&](const std::string& name) {
    hosts.push_back(name);
    return true;
  });
  for (const std::string& host : hosts)
    if (!stopping()) remove_snapshots_of(host);
}

void Retention::remove_snapshots_of(const std::string& host) const {
  const auto said = order_host(*hosts_, {host, "0", 1}, {storage::kListAllSnapshots}, kHostLimit);
  if (!said || !said->is_array()) return;
  for (const Json& one : *said) {
    const auto snapshot = snapshot_json(one, host, "");
    if (!snapshot || stopping()) continue;
    const std::string run = snapshot->at("run"), id = snapshot->at("id");
    if (!snapshot_is_over(run)) continue;
    const auto removed = order_host(*hosts_, {host, run, 1}, {storage::kRemoveSnapshot, id}, kHostLimit);
    if (removed)
      spdlog::info("snapshot {} of run {} is removed from host {}", id, run, host);
    else
      spdlog::warn("snapshot {} of run {} stays: {}", id, run, removed.error().message);
  }
}

/// A run that can't be read has not ended.
bool Retention::snapshot_is_over(const std::string& run) const {
  const auto head = view_.run_head(run);
  if (!head) return head.error().code == Errc::not_found;
  const auto fleet = view_.fleet(head->fleet);
  if (!fleet) return fleet.error().code == Errc::not_found;
  fbs::RunRowT row;
  row.state = head->state;
  row.ended_unix_ms = head->ended_unix_ms;
  return is_given_up(row, fleet->removed_unix_ms);
}

}  // namespace muster::musterd
