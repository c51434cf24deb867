// A swarm in memory: the kind itself over rows, its port's work over a real repository, and a fleet that is pretended.
// Everything durable is a Disk; a kill may come before each change of it, and loses the rest.
#pragma once

#include <deque>
#include <random>
#include <set>

#include "actors/common.hpp"
#include "actors/fleet/fleet.hpp"
#include "actors/ports/git_handles.hpp"
#include "actors/ports/git_local.hpp"
#include "actors/repo/repo.hpp"
#include "actors/swarm/ledger_check.hpp"
#include "actors/swarm/swarm.hpp"
#include "actors/swarm/swarm_port.hpp"
#include "engine/core/testing.hpp"
#include "import.hpp"

namespace muster::actors::swarm::test {

/// A real repository, and commits made in it by hand.
class WorkRepository {
 public:
  explicit WorkRepository(const Files& files);
  [[nodiscard]] const std::string& begin() const { return begin_; }
  [[nodiscard]] std::string path() const { return import_.repository().string(); }
  [[nodiscard]] std::filesystem::path scratch() const { return import_.scratch(); }
  std::string read(const std::string& commit, const std::string& path);
  std::string commit(const std::string& base, const std::map<std::string, std::string>& files,
                     const std::string& message);
  git::LocalRepository open() { return git::LocalRepository::open(path()).value(); }

 private:
  Import import_;
  std::string begin_;
  git::Repository repository_;
};

/// What a facet's agent does: the files it writes, by its number of runs so far and what it is told.
using AgentWork =
    std::function<std::map<std::string, std::string>(const std::string& facet, bool told)>;
/// What an agent leaves as result.json: `round` is a planner's, else 0.
using AgentSays = std::function<std::string(const std::string& facet, bool told, int round)>;
using Verification = std::function<bool(const std::string& tip)>;

struct WorldOptions {
  std::string plan;  ///< The swarm file as JSON; one repository, "r".
  AgentWork work;  ///< A resolver is asked as "FACET resolved".
  AgentSays says;  ///< Empty: nothing.
  Verification passes;
  /// What a file holds that is made anew on that tip.
  std::function<std::string(const std::string& tip)> remake{};
  unsigned seed = 1;
  int kill_at = -1;          ///< The write before which it is killed.
  int stop_at = -1;          ///< The step at which somebody cancels it.
  unsigned lost_one_in = 8;  ///< Runs that end without a commit; 0: none.
  bool doubled = true;       ///< Messages may come twice.
};

class SwarmWorld {
 public:
  SwarmWorld(WorkRepository& repository, WorldOptions options);

  /// Until nothing is left to do; REQUIREs that it ended.
  void run();
  void retry();
  /// Findings of the ledger against git, one a line; and counters that do not agree.
  std::string proof();

  [[nodiscard]] const fbs::SwarmHeadT& head() const { return disk_.head; }
  std::map<std::string, fbs::FacetRowT> facets();
  fbs::LineRowT line();
  [[nodiscard]] int writes() const { return writes_; }
  [[nodiscard]] const std::vector<fbs::OpenPullT>& pulls() const { return disk_.pulls; }
  [[nodiscard]] std::size_t commits_made() const { return disk_.made.size(); }

 private:
  struct Killed {};
  struct Run {
    std::string id;
    fbs::CreateRunT create;
  };
  struct Disk {
    bool exists = false;
    fbs::SwarmHeadT head;
    engine::testing::MemoryRows rows;
    std::map<std::string, engine::TimerChange> timers;
    std::vector<engine::Payload> inbox;
    std::vector<engine::EffectRequest> effects;
    std::vector<Run> runs;
    std::vector<fbs::OpenPullT> pulls;
    std::set<std::string> made;  ///< Commits that runs delivered.
  };

  bool chance(unsigned one_in) { return one_in != 0 && random_() % one_in == 0; }
  void write();
  bool act();
  void take();
  void carry_out();
  engine::Payload perform(const fbs::EffectBodyUnion& effect);
  void end_run();
  fbs::SwarmRunEndedT work_of(const Run& run);
  void verify(const Run& run, fbs::SwarmRunEndedT& ended);
  void apply(const engine::Decision& decision, Disk& next) const;
  void check_green();

  WorkRepository& repository_;
  WorldOptions options_;
  std::mt19937 random_;
  std::string name_;
  Blobs blobs_;
  std::unique_ptr<SwarmSpecs> specs_;
  std::unique_ptr<SwarmWork> work_;
  Disk disk_;
  int writes_ = 0, steps_ = 0, works_ = 0;
  std::string checked_;
  unsigned passed_ = 0;
  Instant now_{1'700'000'000'000};
};

/// Whether MUSTER_SOAK asks for the full size.
bool soak();

using MakeOptions = std::function<WorldOptions(unsigned seed, int kill_at)>;
using CheckWorld = std::function<void(SwarmWorld&)>;
/// That world killed before each `step`th of its writes, with MUSTER_SOAK before each.
void killed_before_writes(WorkRepository& repository, int writes, int step, const MakeOptions& make,
                          const CheckWorld& check);

}  // namespace muster::actors::swarm::test
