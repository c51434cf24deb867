// One round: fleets stand in a heap by share (running per weight); the least served one offers its best waiting run,
// which is placed or told why not, until every run has its answer. The cost is O(runs * hosts) at worst, and a
// look at warm mirrors only where a host has room. Once no host has a free slot the rest is told so without
// being put in order: with 50,000 runs waiting for 1,000 slots that is nearly all of the work.
#include "engine/scheduler/admission.hpp"

#include <algorithm>
#include <queue>
#include <tuple>
#include <unordered_map>

namespace muster::engine {

namespace {

/// A host's room as the round goes on.
struct Room {
  const Supply* host = nullptr;
  std::uint32_t used = 0;
  std::uint64_t cpus_used = 0;
  std::uint64_t memory_used = 0;

  [[nodiscard]] std::uint32_t free() const { return host->slots > used ? host->slots - used : 0; }
  /// A host that does not say how much it has is limited by its slots alone.
  [[nodiscard]] bool fits(const Demand& d) const {
    return free() > 0 && (host->cpus_milli == 0 || cpus_used + d.cpus_milli <= host->cpus_milli) &&
           (host->memory_bytes == 0 || memory_used + d.memory_bytes <= host->memory_bytes);
  }
  [[nodiscard]] bool could_ever(const Demand& d) const {
    return host->slots > 0 && (host->cpus_milli == 0 || d.cpus_milli <= host->cpus_milli) &&
           (host->memory_bytes == 0 || d.memory_bytes <= host->memory_bytes);
  }
  [[nodiscard]] bool is_warm(const Demand& d) const {
    return std::binary_search(host->warm.begin(), host->warm.end(), d.canonical_url);
  }
  void take(const Demand& d) {
    ++used;
    cpus_used += d.cpus_milli;
    memory_used += d.memory_bytes;
  }
};

bool better_run(const Demand* a, const Demand* b) {
  return std::tie(b->priority, a->queued_at, a->run) < std::tie(a->priority, b->queued_at, b->run);
}

/// One fleet's waiting runs, best first, and what it has running. Only the next few are in order.
struct Queue {
  static constexpr std::ptrdiff_t kChunk = 64;

  FleetLoad load;
  std::vector<const Demand*> runs;
  std::size_t next = 0;
  std::size_t sorted = 0;

  [[nodiscard]] bool empty() const { return next == runs.size(); }
  [[nodiscard]] const Demand& front() const { return *runs[next]; }
  /// Before anybody looks at front() as the best one.
  void put_in_order() {
    if (next < sorted || empty()) return;
    const auto from = runs.begin() + static_cast<std::ptrdiff_t>(next);
    const auto until = from + std::min(kChunk, runs.end() - from);
    std::partial_sort(from, until, runs.end(), better_run);
    sorted = static_cast<std::size_t>(until - runs.begin());
  }
};

/// Less served first: running / weight, compared without dividing. Then priority, age, name.
bool served_later(const Queue* a, const Queue* b) {
  const std::uint64_t share_a = std::uint64_t{a->load.running} * std::max(1U, b->load.weight);
  const std::uint64_t share_b = std::uint64_t{b->load.running} * std::max(1U, a->load.weight);
  return std::tie(share_b, a->front().priority, b->front().queued_at, b->load.fleet) <
         std::tie(share_a, b->front().priority, a->front().queued_at, a->load.fleet);
}

class Admission {
 public:
  Admission(const std::vector<Demand>& demand, const std::vector<FleetLoad>& fleets,
            const std::vector<Supply>& hosts,
            const std::vector<std::pair<std::string, std::uint32_t>>& running_by_repository,
            const AdmissionLimits& limits)
      : limits_(limits) {
    for (const FleetLoad& load : fleets) total_ += load.running;
    for (const auto& [repository, running] : running_by_repository)
      repositories_[repository] += running;
    take_hosts(hosts);
    take_queues(demand, fleets);
  }

  Round run() {
    std::priority_queue<Queue*, std::vector<Queue*>, decltype(&served_later)> turn(&served_later);
    for (Queue& queue : queues_) turn.push(&queue);
    while (!turn.empty()) {
      Queue& queue = *turn.top();
      turn.pop();
      const Demand& demand = queue.front();
      const WaitReason blocked = blocks_fleet(queue);
      if (blocked != WaitReason::none || free_slots_ == 0) {
        for (; !queue.empty(); ++queue.next)
          wait(queue.front(), blocked != WaitReason::none ? blocked : why_not(queue.front()));
        continue;
      }
      ++queue.next;
      if (place(demand)) ++queue.load.running;
      queue.put_in_order();
      if (!queue.empty()) turn.push(&queue);
    }
    return std::move(round_);
  }

 private:
  void take_hosts(const std::vector<Supply>& hosts) {
    for (const Supply& host : hosts) {
      any_room_.push_back({&host, 0, 0, 0});
      if (host.accepts) rooms_.push_back({&host, host.used, host.cpus_used, host.memory_used});
    }
    for (const Room& room : rooms_) free_slots_ += room.free();
    std::sort(rooms_.begin(), rooms_.end(),
              [](const Room& a, const Room& b) { return a.host->host < b.host->host; });
  }

  void take_queues(const std::vector<Demand>& demand, const std::vector<FleetLoad>& fleets) {
    std::unordered_map<std::string_view, const FleetLoad*> loads;
    for (const FleetLoad& load : fleets) loads.emplace(load.fleet, &load);
    std::unordered_map<std::string_view, std::size_t> places;
    for (const Demand& d : demand) {
      const auto [place, fresh] = places.emplace(d.fleet, queues_.size());
      if (fresh) {
        Queue queue;
        const auto load = loads.find(d.fleet);
        if (load != loads.end()) queue.load = *load->second;
        queue.load.fleet = d.fleet;
        queues_.push_back(std::move(queue));
      }
      queues_[place->second].runs.push_back(&d);
    }
    for (Queue& queue : queues_) queue.put_in_order();
  }

  /// What keeps every further run of this fleet from being proposed.
  [[nodiscard]] WaitReason blocks_fleet(const Queue& queue) const {
    if (queue.load.held) return WaitReason::fleet_held;
    if (queue.load.running >= queue.load.limit) return WaitReason::fleet_limit;
    if (total_ >= limits_.running_total) return WaitReason::total_limit;
    if (round_.proposals.size() >= limits_.proposals) return WaitReason::next_round;
    return WaitReason::none;
  }

  bool place(const Demand& demand) {
    std::uint32_t& in_repository = repositories_[demand.repository];
    if (in_repository >= limits_.running_per_repository) {
      wait(demand, WaitReason::repository_limit);
      return false;
    }
    Room* room = best_room(demand);
    if (room == nullptr) {
      wait(demand, why_no_room(demand));
      return false;
    }
    room->take(demand);
    --free_slots_;
    ++in_repository;
    ++total_;
    round_.proposals.push_back(
        {demand.run, demand.attempt, room->host->host, room->host->session});
    return true;
  }

  /// Where it is bound to, or a person moved it, or at least not from where. Else rather not where the attempt before was, which failed
  /// there or was taken away; then warm first, then most free slots, then by name.
  Room* best_room(const Demand& demand) {
    Room* best = nullptr;
    std::tuple<bool, bool, std::uint32_t> best_score;
    const bool named = demand.bound || (demand.moving && accepts(demand.to));
    for (Room& room : rooms_) {
      if (!room.fits(demand)) continue;
      const bool barred = named ? room.host->host != demand.to
                                : demand.moving && room.host->host == demand.left;
      if (barred) continue;
      const std::tuple score{room.host->host != demand.left, room.is_warm(demand), room.free()};
      if (best != nullptr && score <= best_score) continue;
      best = &room;
      best_score = score;
    }
    return best;
  }

  [[nodiscard]] bool accepts(const std::string& host) const {
    const auto at = std::lower_bound(
        rooms_.begin(), rooms_.end(), host,
        [](const Room& room, const std::string& name) { return room.host->host < name; });
    return at != rooms_.end() && at->host->host == host;
  }

  /// Of a run that found no free slot.
  [[nodiscard]] WaitReason why_not(const Demand& demand) const {
    const auto in_repository = repositories_.find(demand.repository);
    if (in_repository != repositories_.end() &&
        in_repository->second >= limits_.running_per_repository)
      return WaitReason::repository_limit;
    return why_no_room(demand);
  }

  [[nodiscard]] WaitReason why_no_room(const Demand& demand) const {
    if (demand.bound) return WaitReason::bound_host;
    if (rooms_.empty()) return WaitReason::no_host;
    const bool ever = std::any_of(any_room_.begin(), any_room_.end(),
                                  [&](const Room& room) { return room.could_ever(demand); });
    if (!ever) return WaitReason::too_large;
    const bool elsewhere =
        demand.moving && std::any_of(rooms_.begin(), rooms_.end(),
                                     [&](const Room& room) { return room.fits(demand); });
    return elsewhere ? WaitReason::no_other_host : WaitReason::hosts_full;
  }

  void wait(const Demand& demand, WaitReason reason) {
    round_.waiting.push_back({demand.run, reason});
  }

  const AdmissionLimits& limits_;
  std::uint32_t total_ = 0;
  std::uint64_t free_slots_ = 0;  ///< Of hosts that accept.
  std::unordered_map<std::string_view, std::uint32_t> repositories_;
  std::vector<Room> rooms_;     ///< Of hosts that accept.
  std::vector<Room> any_room_;  ///< Of every host, as if it were empty.
  std::vector<Queue> queues_;
  Round round_;
};

}  // namespace

std::string_view to_string(WaitReason reason) {
  switch (reason) {
    case WaitReason::none: return "none";
    case WaitReason::no_host: return "no_host";
    case WaitReason::hosts_full: return "hosts_full";
    case WaitReason::too_large: return "too_large";
    case WaitReason::fleet_limit: return "fleet_limit";
    case WaitReason::fleet_held: return "fleet_held";
    case WaitReason::repository_limit: return "repository_limit";
    case WaitReason::total_limit: return "total_limit";
    case WaitReason::next_round: return "next_round";
    case WaitReason::no_other_host: return "no_other_host";
    case WaitReason::bound_host: return "bound_host";
  }
  return "none";
}

Round admit(const std::vector<Demand>& demand, const std::vector<FleetLoad>& fleets,
            const std::vector<Supply>& hosts,
            const std::vector<std::pair<std::string, std::uint32_t>>& running_by_repository,
            const AdmissionLimits& limits) {
  return Admission(demand, fleets, hosts, running_by_repository, limits).run();
}

}  // namespace muster::engine
