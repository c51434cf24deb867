// What goes wrong while a load runs, at times that the seed decides: hosts that lose their power
// and come back, connections that break all at once, hosts that read slowly.
#pragma once

#include <memory>
#include <vector>

#include "actors/ports/strand.hpp"
#include "bench/load/options.hpp"
#include "bench/load/simulated_host.hpp"

namespace muster::load {

class FaultMaker {
 public:
  FaultMaker(const Faults& faults, std::uint64_t seed,
             std::vector<std::unique_ptr<SimulatedHost>>& hosts, Meters& meters);
  ~FaultMaker() { stop(); }

  void start();
  /// Nothing goes wrong from now on. Hosts that are away stay away.
  void stop() { strand_.stop(); }

 private:
  void lose_later();
  void lose_one();
  void storm_later();
  void slow_later(std::size_t host);

  const Faults faults_;
  std::vector<std::unique_ptr<SimulatedHost>>& hosts_;
  Meters& meters_;
  Random random_;
  std::vector<bool> away_;
  actors::Strand strand_{"faults"};  // may block: hosts are lost and started there
};

}  // namespace muster::load
