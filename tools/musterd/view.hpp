// What the API shows of committed state: heads, rows and indexes, decoded. Reads only; any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/fleet/fleet_generated.h"
#include "actors/host/host_generated.h"
#include "actors/pull/pull_generated.h"
#include "actors/run/run_generated.h"
#include "actors/swarm/swarm_generated.h"
#include "engine/core/engine.hpp"

namespace muster::musterd {

namespace fbs = actors::fbs;

/// A run as the index of runs tells it.
struct RunName {
  std::string id;
  std::string fleet;
  std::string repository;
};

/// A run with everything that is kept of it.
struct RunWhole {
  std::string id;
  fbs::RunHeadT head;
  fbs::CreateRunT create;
  fbs::RunRowT row;  ///< The fleet's outcome row.
  std::vector<fbs::AttemptRowT> attempts;
};

struct PullName {
  std::string id;  ///< OWNER/NAME#N
  std::string fleet;
  std::string state;
};

class View {
 public:
  explicit View(const engine::Engine& engine, std::string org = "default")
      : engine_(engine), org_(std::move(org)) {}

  [[nodiscard]] engine::ActorId actor(std::string_view kind, std::string_view key) const {
    return {org_, std::string(kind), std::string(key)};
  }
  [[nodiscard]] Instant now() const { return engine_.now(); }

  // In order of name or id, from just after `after`, until `each` returns false.
  Result<void> each_fleet(std::string_view after,
                          const std::function<bool(const std::string& name)>& each) const;
  Result<void> each_row(std::string_view fleet, std::string_view after,
                        const std::function<bool(const fbs::RunRowT& row)>& each) const;
  Result<void> each_run(std::string_view after,
                        const std::function<bool(const RunName& run)>& each) const;
  Result<void> each_pull(std::string_view fleet, std::string_view after,
                         const std::function<bool(const PullName& pull)>& each) const;
  Result<void> each_swarm(std::string_view after,
                          const std::function<bool(const std::string& name)>& each) const;
  /// By number, as five digits.
  Result<void> each_facet(
      std::string_view swarm, std::string_view after,
      const std::function<bool(const std::string& number, const fbs::FacetRowT& row)>& each) const;
  Result<void> each_commit(
      std::string_view swarm,
      const std::function<bool(const std::string& commit, const fbs::CommitRowT& row)>& each) const;
  /// The newest result.json of each facet that left one.
  Result<void> each_result(
      std::string_view swarm,
      const std::function<bool(std::uint32_t number, std::string_view json)>& each) const;
  /// `box`: the number of the planner that it is for, as five digits, or "report".
  Result<void> each_note(
      std::string_view swarm,
      const std::function<bool(const std::string& box, const fbs::NoteRowT& note)>& each) const;
  Result<void> each_message(std::string_view swarm,
                            const std::function<bool(const fbs::MessageRowT&)>& each) const;
  Result<void> each_host(const std::function<bool(const std::string& name)>& each) const;

  // Errc::not_found says what is missing.
  [[nodiscard]] Result<fbs::FleetHeadT> fleet(std::string_view name) const;
  [[nodiscard]] Result<fbs::CreateFleetT> fleet_create(std::string_view name) const;
  [[nodiscard]] Result<fbs::RunRowT> row(std::string_view fleet, std::string_view run) const;
  [[nodiscard]] Result<fbs::RunHeadT> run_head(std::string_view id) const;
  [[nodiscard]] Result<std::vector<fbs::AttemptRowT>> attempts(std::string_view id) const;
  [[nodiscard]] Result<fbs::AttemptRowT> attempt(std::string_view id, std::uint32_t number) const;
  [[nodiscard]] Result<RunWhole> run(std::string_view id) const;
  [[nodiscard]] Result<fbs::PullHeadT> pull(std::string_view id) const;
  [[nodiscard]] Result<std::string> pull_body(std::string_view id) const;
  [[nodiscard]] Result<fbs::HostHeadT> host(std::string_view name) const;
  /// The repositories that it has mirrors of.
  [[nodiscard]] std::vector<std::string> host_warm(const fbs::HostHeadT& host) const;
  [[nodiscard]] Result<fbs::SwarmHeadT> swarm(std::string_view name) const;
  [[nodiscard]] Result<fbs::LineRowT> swarm_line(std::string_view name, std::uint32_t number) const;
  [[nodiscard]] Result<fbs::CreateSwarmT> swarm_create(std::string_view name) const;
  /// What the reducer run made, as JSON; empty: nothing.
  [[nodiscard]] Result<std::string> swarm_reduced(std::string_view name) const;
  /// Why that facet was sent back or rejected last, as JSON; empty: nothing is the matter.
  [[nodiscard]] Result<std::string> facet_feedback(std::string_view swarm, std::uint32_t number) const;
  [[nodiscard]] Result<fbs::PlanFacetT> swarm_plan(std::string_view name,
                                                   std::uint32_t number) const;

  /// The id that `selector` means: an id, its first characters (4 at least; any case), or
  /// FLEET/OWNER/NAME. Errc::conflict names the candidates of an ambiguous prefix.
  [[nodiscard]] Result<std::string> find_run(std::string_view selector) const;

 private:
  template <class T>
  [[nodiscard]] Result<T> head(std::string_view kind, std::string_view key) const;
  template <class T>
  [[nodiscard]] Result<T> decoded_row(const engine::ActorId& id, std::string_view key) const;
  template <class T>
  Result<void> decoded_rows(
      const engine::ActorId& id, const std::string& prefix, std::string_view after,
      const std::function<bool(const std::string& rest, const T& row)>& each) const;
  [[nodiscard]] Result<std::string> find_by_repository(std::string_view selector) const;
  [[nodiscard]] Result<std::string> find_by_prefix(std::string_view prefix) const;

  const engine::Engine& engine_;
  std::string org_;
};

}  // namespace muster::musterd
