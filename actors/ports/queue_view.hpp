// What the dispatcher believes: runs that are queued, placed or proposed, fleets, hosts. Changed by
// index entries and heads as the engine commits them; a round reads it as it stands. No I/O, one
// thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "actors/host/host_generated.h"
#include "actors/run/run_generated.h"
#include "engine/scheduler/admission.hpp"

namespace muster::actors {

class QueueView {
 public:
  void clear();

  /// Entries of the indexes "queued" and "placed"; absent: removed.
  void queued(const std::string& run, const std::optional<fbs::QueuedRunT>& entry);
  void placed(const std::string& run, const std::optional<fbs::QueuedRunT>& entry);
  void held(const std::string& fleet, bool is_held);
  void host(const std::string& name, const fbs::HostHeadT& head);

  /// The run leaves the demand until it is placed, or withdrawn.
  void propose(const engine::Proposal& proposal);
  /// The proposal had no effect: the run stands in the demand again. False when it is gone or
  /// another attempt's.
  bool withdraw(const std::string& run, std::uint32_t attempt);

  [[nodiscard]] const std::vector<engine::Demand>& demand() const { return demand_; }
  [[nodiscard]] std::vector<engine::FleetLoad> fleets() const;
  [[nodiscard]] std::vector<engine::Supply> hosts() const;
  [[nodiscard]] std::vector<std::pair<std::string, std::uint32_t>> repositories() const;
  [[nodiscard]] const engine::Demand* find(const std::string& run) const;
  /// Those that are proposed and wait for their host's word.
  [[nodiscard]] const std::unordered_map<std::string, std::pair<engine::Demand, engine::Proposal>>&
  proposed() const {
    return proposed_;
  }

 private:
  struct Fleet {
    std::uint32_t running = 0;  ///< Placed and proposed.
    std::uint32_t queued = 0;
    std::uint32_t limit = 50;
    bool held = false;
  };
  struct Host {
    engine::Supply supply;
    std::vector<std::pair<std::string, std::uint32_t>> used;
  };
  struct Placed {
    std::string fleet;
    std::string repository;
  };

  void add_demand(engine::Demand demand);
  bool remove_demand(const std::string& run);
  void count(const std::string& fleet, const std::string& repository, int by);
  void forget_if_idle(const std::string& fleet);

  std::vector<engine::Demand> demand_;                   // no order
  std::unordered_map<std::string, std::size_t> places_;  // in demand_
  std::unordered_map<std::string, std::pair<engine::Demand, engine::Proposal>> proposed_;
  std::unordered_map<std::string, Placed> placed_;
  std::unordered_map<std::string, std::uint32_t> repositories_;
  std::map<std::string, Fleet> fleets_;
  std::map<std::string, Host> hosts_;
};

}  // namespace muster::actors
