// The effect port "swarm": ReadPlan, StartLine, MergeFacets and MoveGreen of actors/ports/effects.fbs, on threads of
// its own. The merges happen in the repository's object store, in memory until they are published; no work tree, no
// hook, none of its configuration.
//
// Every operation may be repeated after death at any moment: merges are a function of their request, and the green
// branch moves by compare-and-swap. Repositories are paths on this machine.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "actors/swarm/known_lines.hpp"
#include "actors/swarm/swarm_specs.hpp"
#include "engine/core/engine.hpp"

namespace muster::actors {

/// What the port does, on the caller's thread; every answer says in words what went wrong.
class SwarmWork {
 public:
  using Complain = std::function<void(const std::string&)>;  ///< What hinders no answer.
  SwarmWork(swarm::SwarmSpecs& specs, std::filesystem::path scratch,
            Complain complain = [](const std::string&) {})
      : specs_(specs), scratch_(std::move(scratch)), complain_(std::move(complain)) {}

  /// A page is shorter than asked when its dependents would be too many for one message.
  fbs::PlanPageT read_plan(const fbs::ReadPlanT& read);
  fbs::PlanAdoptedT adopt(const fbs::AdoptPlanT& order);
  fbs::CandidatesShownT show(const fbs::ShowCandidatesT& order) const;
  fbs::LineStartedT start_line(const fbs::StartLineT& start) const;
  fbs::LineMergedT merge(const fbs::MergeFacetsT& order);
  fbs::GreenMovedT move_green(const fbs::MoveGreenT& order) const;

 private:
  swarm::SwarmSpecs& specs_;
  std::filesystem::path scratch_;
  Complain complain_;
  swarm::KnownLines lines_;
};

struct SwarmPortOptions {
  std::size_t threads = 2;
  std::size_t queue = 4'096;  ///< Effects waiting.
  SwarmWork::Complain complain = [](const std::string&) {};
};

/// `specs` must outlive it. Orders of one repository never run at once.
std::unique_ptr<engine::EffectPort> make_swarm_port(swarm::SwarmSpecs& specs,
                                                    std::filesystem::path scratch,
                                                    SwarmPortOptions options = {});

}  // namespace muster::actors
