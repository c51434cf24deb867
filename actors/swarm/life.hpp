// One step of a swarm, internal to this folder. life.cpp: creation, plan, people, ends; facets.cpp: the facets' rows,
// the ledger, pages; runs.cpp: runs; line.cpp: what happens to the lines; deliver.cpp: pull requests; planners.cpp:
// what planners add, and notes; choice.cpp: the best of several tries; converge.cpp: enough, and the reducer run;
// steer.cpp: messages to agents; removal.cpp: what goes long after the end.
#pragma once

#include <map>
#include <set>

#include "actors/common.hpp"
#include "actors/run/run_generated.h"
#include "actors/swarm/swarm.hpp"

namespace muster::actors {

class SwarmLife {
 public:
  SwarmLife(fbs::SwarmHeadT& state, engine::Context& ctx) : s_(state), ctx_(ctx) {}

  // life.cpp
  void on(const fbs::CreateSwarmT& m);
  void on(const fbs::PlanPageT& m);
  void on(const fbs::FleetTakenT& m);
  void on(const fbs::CancelSwarmT& m);
  void on(const fbs::RetrySwarmT& m);
  void on(const fbs::PauseSwarmT& m);
  void on(const fbs::ResumeSwarmT& m);
  void on(const fbs::DrainSwarmT& m);
  void on(const fbs::SwarmTickT& m);
  void on(const fbs::EffectUnknownT& m);
  void on(const fbs::ContinueSwarmT& m);

  // runs.cpp
  void on(const fbs::SwarmRunEndedT& m);

  // line.cpp
  void on(const fbs::LineStartedT& m);
  void on(const fbs::LineMergedT& m);
  void on(const fbs::GreenMovedT& m);

  // deliver.cpp
  void on(const fbs::SwarmPullOpenedT& m);

  // planners.cpp
  void on(const fbs::PlanAdoptedT& m);

  // choice.cpp
  void on(const fbs::CandidatesShownT& m);

  // steer.cpp
  void on(const fbs::SteerSwarmT& m);

  // removal.cpp
  void on(const fbs::ForgetSwarmT& m);
  void on(const fbs::FleetForgottenT& m);
  bool goes(const Swarm::Message& message);

  /// What follows from all of that; the last thing of every step.
  void go_on();

 private:
  [[nodiscard]] const std::string& name() const { return ctx_.self().key; }
  [[nodiscard]] std::int64_t now() const { return ctx_.now().unix_ms; }
  [[nodiscard]] bool exists() const { return !s_.name.empty(); }
  [[nodiscard]] bool ended() const { return swarm::is_end(s_.state); }
  [[nodiscard]] std::uint32_t in(fbs::FacetState state) const {
    return s_.counts[static_cast<std::size_t>(state)];
  }

  // life.cpp
  void read_plan();
  void set_timers();
  void progress();
  void stop(const std::string& why);
  bool gone();
  bool too_late();
  void resume();
  [[nodiscard]] bool drained() const;
  [[nodiscard]] bool everything_over();
  void end(fbs::SwarmState state);
  fbs::CreateSwarmT created();
  std::string limit_passed();

  // facets.cpp
  fbs::FacetRowT facet(std::uint32_t number);
  void put(std::uint32_t number, const fbs::FacetRowT& row);
  void move(std::uint32_t number, fbs::FacetRowT& row, fbs::FacetState to);
  void reject(std::uint32_t number, fbs::FacetRowT& row, const std::string& why);
  void evict(std::uint32_t number, const char* reason, const std::string& why,
             const std::string& context);
  static std::string integration_feedback(const fbs::FacetRowT& row, const char* reason,
                                          const std::string& context);
  void release_held(std::uint32_t number);
  fbs::PlanFacetT plan(std::uint32_t number);
  void received(std::uint32_t number, const std::string& run, const std::string& base,
                const std::string& commit);
  bool settle(const std::string& commit, fbs::CommitFate fate, const std::string& what);
  void stop_page();
  void retry_page();
  void tell_dependents();

  // runs.cpp
  void give_work();
  std::size_t launch(std::uint32_t number);
  fbs::CreateRunT facet_run(std::uint32_t number, fbs::FacetRowT& row,
                            const fbs::PlanFacetT& planned, const char* role);
  void facet_run_ended(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m);
  void hear(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m);
  void unfit(std::uint32_t number, fbs::FacetRowT& row, const char* cls, const std::string& why,
             const std::string& trouble);
  std::string trouble_with(const std::string& result);
  void keep_result(std::uint32_t number, const std::string& result);
  void handed_in(std::uint32_t number, fbs::FacetRowT& row, const fbs::SwarmRunEndedT& m);
  void hold_commit(fbs::FacetRowT& row, const fbs::SwarmRunEndedT& m);
  void add_run(const std::string& run, const fbs::RunUseT& use, const fbs::LineRowT& line,
               fbs::CreateRunT create);
  fbs::RunPolicyT policy() const;

  // planners.cpp
  std::string planner_input(std::uint32_t number, const fbs::FacetRowT& row);
  void plan_run_ended(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m);
  void adopt_next();
  void add_facet(const fbs::PlanFacetT& entry);
  void tell_owner(std::uint32_t number, fbs::FacetRowT& over);
  void settle_planners();
  void settle_planner(std::uint32_t number);
  void keep_notes(std::uint32_t from, const fbs::SwarmRunEndedT& m);
  std::string note_box(const fbs::FacetRowT& from);
  bool has_new_notes(std::uint32_t planner);
  void forward_notes(std::uint32_t planner, const fbs::FacetRowT& row);

  // choice.cpp
  std::size_t launch_candidates(std::uint32_t number, fbs::FacetRowT& row,
                         const fbs::PlanFacetT& planned);
  void candidate_ended(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m);
  void choose(std::uint32_t number, fbs::FacetRowT& row);
  void score(std::uint32_t number, fbs::FacetRowT& row, const fbs::PlanFacetT& planned);
  void score_ended(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m);
  void ask_judge(std::uint32_t number, const fbs::FacetRowT& row);
  void ask_judge_of(std::uint32_t number);
  void judge_ended(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m);
  void take(std::uint32_t number, fbs::FacetRowT& row, std::size_t best);

  // converge.cpp
  void answered(std::uint32_t number);
  void converge(const std::string& why);
  bool reducing();
  void start_reducer();
  void reduce_ended(const fbs::SwarmRunEndedT& m);

  // steer.cpp
  std::vector<std::unique_ptr<fbs::SteerRunT>> messages_for(const std::string& facet);
  void tell_runs();

  // removal.cpp
  void forget();
  void erase_page();

  // line.cpp
  bool may_resolve(const fbs::FacetRowT& row) const;
  void resolve(const fbs::MergedFacetT& head);
  fbs::LineRowT& line(std::uint32_t number);
  void start_line(std::uint32_t number);
  void feed(std::uint32_t number);
  fbs::LineRowT& begin_order(std::uint32_t number, fbs::LineState state);
  std::vector<std::uint32_t> next_batch(std::uint32_t number);
  void merge(std::uint32_t number);
  void verify(std::uint32_t number);
  void check_ended(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m);
  bool keep_remade(std::uint32_t number, const fbs::SwarmRunEndedT& m);
  void passed(std::uint32_t number);
  void split(std::uint32_t number, const std::string& why, const std::string& output);
  void move_green(std::uint32_t number);
  void green_order(std::uint32_t number);
  void lose_green(std::uint32_t number, const std::string& error);
  void try_again(std::uint32_t number, const std::string& trouble);
  void release_lines();
  void save_lines();
  [[nodiscard]] std::string line_key(std::uint32_t number, const std::string& what) const;

  // deliver.cpp
  void deliver();
  void conclude();
  void ask_for_pull(std::uint32_t number);
  std::string pull_body(std::uint32_t number);

  fbs::SwarmHeadT& s_;
  engine::Context& ctx_;
  std::map<std::uint32_t, fbs::LineRowT> lines_;  ///< Those that this step looked at.
  std::set<std::uint32_t> touched_;               ///< … and changed.
  std::set<std::uint32_t> hungry_;                ///< … and that may merge something now.
  bool more_ = false;                             ///< A page is left.
  std::string enough_;                            ///< Why this step found that it may converge.
};

}  // namespace muster::actors
