// Swarms as a whole installation: the real kinds swarm, fleet, run, repo, pull and host on the
// shards, hosts and links of FleetWorld, git in memory (git_model.hpp), and people who pause,
// resume, drain, cancel, retry and repeat. Agents conflict, leave their scope, break the
// verification alone or in pairs, change nothing, and are lost with their hosts; verifications
// can't be run, or fail by chance; results come late and twice; the port hangs, gives no answer,
// and dies between the pack and the ref; now and then somebody else moves a green branch. One seed
// decides everything. Whatever happens:
//
//   - every commit that a facet handed in ends as merged (on the line, once, with its content),
//   superseded or rejected
//     with a reason, and what was said of it is said once; actors/swarm/ledger compares that with
//     git;
//   - the green branch is where the swarm says, or where a move that is under way puts it, and only
//   on commits that a
//     verification has passed;
//   - a facet that was merged stays merged; what it changed lies in its scope; counters agree with
//   the rows;
//   - a facet that was sent back is told why in each attempt;
//   - the swarm ends in its time, and its fleet, runs and queues with it.
//
// The parts: swarm_world.cpp (work, agents, people, git), swarm_verify.cpp (what must hold).
#pragma once

#include "actors/swarm/swarm.hpp"
#include "tests/simulation/fleet_world.hpp"
#include "tests/simulation/git_model.hpp"

namespace muster::sim {

class SwarmWorld : public FleetWorld {
 public:
  SwarmWorld(std::uint64_t seed, Sabotage sabotage, FleetOptions options = {});
  ~SwarmWorld() override;

  /// After a run without faults: facets that did not end as their agents deserve, a line each.
  [[nodiscard]] std::string unfinished_business() const;

 private:
  struct Order {
    std::uint32_t shard = 0;
    engine::PendingEffect effect;
  };
  /// What the agent of a facet does.
  enum class Habit { good, shares, logs, red_until_told, red, pair, strays_until_told, idle };
  struct Invented {
    kinds::swarm::SwarmPlan plan;
    kfbs::CreateSwarmT create;
    std::map<std::string, Habit> habits;
    bool foreign = false;  ///< Somebody else moved a green branch of it.
    // As last seen.
    std::map<std::string, kfbs::CommitFate> fates;
    std::map<std::string, std::string> merges;  ///< By facet.
  };
  /// One attempt on a host.
  struct Work {
    kfbs::StartSandboxT start;
    std::string base;  ///< What it cloned.
    std::string made;
  };

  // The work and its agents.
  void invent() override;
  void invent_swarm(const std::string& name, std::int64_t lines);
  void sandbox_ordered(const kfbs::StartSandboxT& start) override;
  void sandbox_begun(const SandboxId& sandbox) override;
  std::shared_ptr<wire::AttemptReportT> draw_report(const SandboxId& sandbox) override;
  void check_tree(const Work& work, wire::AttemptReportT& report);
  void change_tree(const SandboxId& sandbox, Work& work, wire::AttemptReportT& report);
  Files files_after(const Invented& invented, const std::string& facet, bool told,
                    Files files) const;
  [[nodiscard]] std::string made_by(const SandboxId& sandbox) const override;
  void run_ended(const std::string& run) override;

  // People.
  void next_wish(Person& person) override;
  [[nodiscard]] bool everybody_done() const override;
  void meddle(const std::string& name);

  // git.
  void perform_other(std::uint32_t shard, const engine::PendingEffect& effect,
                     const kfbs::EffectT& asked) override;
  std::string& branch_for(const kfbs::PushBranchT& m) override;
  void process_began() override { orders_.clear(); }
  void next_order(const std::string& url);
  void carry_out(const std::string& url, const Order& order);
  void merge(const std::string& url, const Order& order, const kfbs::MergeFacetsT& m);
  engine::Payload move(const std::string& url, const kfbs::MoveGreenT& m, bool& repeat);
  void finish(const std::string& url, const Order& order, const engine::Payload& answer,
              bool repeat);
  void say_again(const std::string& swarm, const engine::Payload& payload);

  // What must hold.
  void watch(const engine::Change& change) override;
  void watch_line(Invented& invented, const std::string& name, const kfbs::LineRowT& line);
  void watch_ledger(Invented& invented, const std::string& name);
  void watch_time(const std::string& name, const kfbs::SwarmHeadT& head);
  void verify_work() override;
  void verify_swarm(const std::string& name, const Invented& invented);
  void verify_line(const std::string& name, const Invented& invented, const kfbs::SwarmHeadT& head,
                   std::uint32_t number);
  void verify_commits(const std::string& name);

  std::map<std::string, Invented> swarms_;
  std::map<std::string, GitModel> git_;  ///< By URL.
  std::map<std::string, std::deque<Order>>
      orders_;  ///< By URL: one after the other, as the port does.
  std::map<SandboxId, Work> works_;
  std::map<std::string, ModelCommit> packs_;  ///< What agents made, before it is pushed.
  std::set<std::string> passed_;              ///< Commits that a verification passed.
  ModelFlaws flaws_;
};

/// What a verification looks at.
bool is_green(const Files& files);

}  // namespace muster::sim
