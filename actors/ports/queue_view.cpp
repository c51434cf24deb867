#include "actors/ports/queue_view.hpp"

#include <algorithm>

namespace muster::actors {

namespace {

engine::Demand demand_of(const std::string& run, const fbs::QueuedRunT& entry) {
  engine::Demand demand;
  demand.run = run;
  demand.attempt = entry.attempt;
  demand.fleet = entry.fleet;
  demand.repository = entry.repository;
  demand.canonical_url = entry.canonical_url;
  demand.priority = entry.priority;
  demand.queued_at = Instant{entry.queued_unix_ms};
  demand.cpus_milli = entry.cpus_milli;
  demand.memory_bytes = entry.memory_bytes;
  demand.left = entry.host;
  demand.moving = entry.moving;
  demand.to = entry.to;
  demand.bound = entry.bound;
  return demand;
}

}  // namespace

void QueueView::clear() {
  *this = QueueView();
}

void QueueView::queued(const std::string& run, const std::optional<fbs::QueuedRunT>& entry) {
  if (const auto found = proposed_.find(run); found != proposed_.end()) {
    auto& [demand, proposal] = found->second;
    if (entry && entry->attempt == proposal.attempt) {  // said already, but for where it may go
      demand.moving = entry->moving;
      demand.to = entry->to;
      return;
    }
    count(demand.fleet, demand.repository, -1);
    proposed_.erase(found);
  }
  remove_demand(run);
  if (!entry) return;
  fleets_[entry->fleet].limit = entry->fleet_concurrency;
  add_demand(demand_of(run, *entry));
}

void QueueView::placed(const std::string& run, const std::optional<fbs::QueuedRunT>& entry) {
  if (const auto found = placed_.find(run); found != placed_.end()) {
    count(found->second.fleet, found->second.repository, -1);
    placed_.erase(found);
  }
  if (!entry) return;
  fleets_[entry->fleet].limit = entry->fleet_concurrency;
  placed_[run] = {entry->fleet, entry->repository};
  count(entry->fleet, entry->repository, 1);
}

void QueueView::held(const std::string& fleet, bool is_held) {
  fleets_[fleet].held = is_held;
  forget_if_idle(fleet);
}

void QueueView::host(const std::string& name, const fbs::HostHeadT& head) {
  Host& host = hosts_[name];
  host.used.clear();
  engine::Supply& supply = host.supply;
  supply = {};
  supply.host = name;
  supply.session = head.session;
  supply.slots = head.slots;
  supply.cpus_milli = head.cpus_milli;
  supply.memory_bytes = head.memory_bytes;
  supply.accepts = head.state == fbs::HostState::ready;
  supply.warm = head.warm;
  std::sort(supply.warm.begin(), supply.warm.end());
  for (const auto& slot : head.used) {
    host.used.emplace_back(slot->run, slot->attempt);
    ++supply.used;
    supply.cpus_used += slot->cpus_milli;
    supply.memory_used += slot->memory_bytes;
  }
}

void QueueView::propose(const engine::Proposal& proposal) {
  const auto place = places_.find(proposal.run);
  if (place == places_.end()) return;
  engine::Demand demand = demand_[place->second];
  count(demand.fleet, demand.repository, 1);
  remove_demand(proposal.run);
  proposed_.emplace(proposal.run, std::pair{std::move(demand), proposal});
}

bool QueueView::withdraw(const std::string& run, std::uint32_t attempt) {
  const auto found = proposed_.find(run);
  if (found == proposed_.end() || found->second.second.attempt != attempt) return false;
  engine::Demand demand = std::move(found->second.first);
  proposed_.erase(found);
  const std::string fleet = demand.fleet, repository = demand.repository;
  add_demand(std::move(demand));
  count(fleet, repository, -1);
  return true;
}

std::vector<engine::FleetLoad> QueueView::fleets() const {
  std::vector<engine::FleetLoad> loads;
  loads.reserve(fleets_.size());
  for (const auto& [name, fleet] : fleets_) {
    engine::FleetLoad load;
    load.fleet = name;
    load.running = fleet.running;
    load.limit = fleet.limit;
    load.held = fleet.held;
    loads.push_back(std::move(load));
  }
  return loads;
}

/// With what is proposed and not yet in the host's own count.
std::vector<engine::Supply> QueueView::hosts() const {
  std::map<std::string_view, engine::Supply> supplies;
  for (const auto& [name, host] : hosts_) supplies.emplace(name, host.supply);
  for (const auto& [run, entry] : proposed_) {
    const auto& [demand, proposal] = entry;
    const auto host = hosts_.find(proposal.host);
    if (host == hosts_.end()) continue;
    const auto& used = host->second.used;
    if (std::find(used.begin(), used.end(), std::pair{run, proposal.attempt}) != used.end())
      continue;
    engine::Supply& supply = supplies.at(proposal.host);
    ++supply.used;
    supply.cpus_used += demand.cpus_milli;
    supply.memory_used += demand.memory_bytes;
  }
  std::vector<engine::Supply> list;
  list.reserve(supplies.size());
  for (auto& [name, supply] : supplies) list.push_back(std::move(supply));
  return list;
}

std::vector<std::pair<std::string, std::uint32_t>> QueueView::repositories() const {
  return {repositories_.begin(), repositories_.end()};
}

const engine::Demand* QueueView::find(const std::string& run) const {
  if (const auto place = places_.find(run); place != places_.end()) return &demand_[place->second];
  const auto found = proposed_.find(run);
  return found == proposed_.end() ? nullptr : &found->second.first;
}

void QueueView::add_demand(engine::Demand demand) {
  ++fleets_[demand.fleet].queued;
  places_[demand.run] = demand_.size();
  demand_.push_back(std::move(demand));
}

bool QueueView::remove_demand(const std::string& run) {
  const auto place = places_.find(run);
  if (place == places_.end()) return false;
  const std::size_t hole = place->second;
  places_.erase(place);
  const std::string fleet = demand_[hole].fleet;
  if (hole + 1 != demand_.size()) {
    demand_[hole] = std::move(demand_.back());
    places_[demand_[hole].run] = hole;
  }
  demand_.pop_back();
  --fleets_[fleet].queued;
  forget_if_idle(fleet);
  return true;
}

void QueueView::count(const std::string& fleet, const std::string& repository, int by) {
  fleets_[fleet].running += static_cast<std::uint32_t>(by);
  std::uint32_t& running = repositories_[repository];
  running += static_cast<std::uint32_t>(by);
  if (running == 0) repositories_.erase(repository);
  forget_if_idle(fleet);
}

void QueueView::forget_if_idle(const std::string& fleet) {
  const auto found = fleets_.find(fleet);
  if (found == fleets_.end()) return;
  const Fleet& f = found->second;
  if (f.running == 0 && f.queued == 0 && !f.held) fleets_.erase(found);
}

}  // namespace muster::actors
