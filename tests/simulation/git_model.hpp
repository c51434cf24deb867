// git as far as a swarm sees it, in memory: commits, branches, and what the port "swarm" does to
// them, with its answers. That port's own merges run over real git in tests/unit/swarm;
// model_test.cpp there gives the same orders to both, and demands the same outcomes, conflicts,
// scopes and files. So a simulation may use this one, which is fast.
//
// What it leaves out: lines within a file (a path that both sides changed in two ways is a
// conflict, unless it is a changelog), renames, modes. Ids are digests of what a commit is: the
// same commit made twice is one.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "actors/ports/effects_generated.h"
#include "actors/swarm/ledger.hpp"
#include "actors/swarm/swarm_generated.h"
#include "actors/swarm/swarm_specs.hpp"

namespace muster::sim {

using Files = std::map<std::string, std::string>;  ///< Bytes by path.

struct ModelCommit {
  Files files;
  std::vector<std::string> parents;
  std::string message;
  [[nodiscard]] std::string id() const;
};

struct GitModel {
  std::map<std::string, ModelCommit> commits;
  std::map<std::string, std::string> branches;

  std::string add(const ModelCommit& commit);
  /// Empty when there is none.
  [[nodiscard]] std::string branch(const std::string& name) const;
  /// `tip` and all that is below it.
  [[nodiscard]] std::set<std::string> history(const std::string& tip) const;
};

/// Ways in which the model can be wrong on purpose.
struct ModelFlaws {
  bool drops_peers =
      false;  ///< A merge takes the facet's files as they are: what others did is gone.
  bool ignores_scopes = false;
  bool forgets_moves =
      false;  ///< A green branch that was moved by an earlier try is somebody else's.
};

/// A batch, merged: the answer, and the objects that are not in the repository yet.
struct ModelBatch {
  actors::fbs::LineMergedT answer;
  std::vector<ModelCommit> made;
};

actors::fbs::PlanPageT read_plan(const actors::swarm::SwarmPlan& plan,
                                 const actors::fbs::ReadPlanT& read);
actors::fbs::LineStartedT start_line(GitModel& git, const actors::fbs::StartLineT& start);
ModelBatch merge_facets(const GitModel& git, const actors::swarm::SwarmPlan& plan,
                        const actors::fbs::MergeFacetsT& order, const ModelFlaws& flaws = {});
actors::fbs::GreenMovedT move_green(GitModel& git, const actors::fbs::MoveGreenT& order,
                                    const ModelFlaws& flaws = {});

/// What swarm::read_line reads from real git: the line with every merge made again, and what it
/// reaches.
actors::swarm::GitFacts facts_of(const GitModel& git, const std::string& begin,
                                 const std::string& tip);

}  // namespace muster::sim
