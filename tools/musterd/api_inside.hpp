// What the handlers over actors and journals share. Private to api_actors.cpp, api_engine.cpp and
// their like.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "engine/core/inspect.hpp"
#include "tools/musterd/actor_json.hpp"
#include "tools/musterd/api_base.hpp"

namespace muster::musterd {

// Named limits of looks into the engine.
inline constexpr std::size_t kMaxStepsScanned = 200'000;  ///< Decisions looked at for one page.
inline constexpr std::size_t kMaxPendingShown = 100;
inline constexpr std::size_t kMaxEffectsShown = 100;
inline constexpr std::size_t kMaxDeadScanned = 10'000;

void add_actor_routes(Router& router, ApiContext api);
void add_engine_routes(Router& router, ApiContext api);
void add_move_routes(Router& router, ApiContext api);
void add_operation_routes(Router& router, ApiContext api);
void add_watch_routes(Router& router, ApiContext api);

/// Errc::unreachable where the engine can't be looked into.
Result<engine::Inside*> inside_of(const ApiContext& api);

/// The actor that {kind} and {key} of the path name; a run also by the first characters of its id.
/// Errc::not_found unless it exists.
Result<engine::ActorLook> actor_of(const ApiContext& api, engine::Inside& inside,
                                   const Request& request);

/// The same for "KIND/KEY".
Result<engine::ActorLook> actor_named(const ApiContext& api, engine::Inside& inside,
                                      const std::string& name);

/// Decisions with their messages, as JSON, in the order of `steps`.
Result<Json> steps_json(const storage::Journal& journal, std::uint32_t shard,
                        const std::vector<engine::StepLook>& steps);

/// Steps as they are committed, as a stream: `changed` with each that `takes` it, `gap` when some
/// were missed.
Result<Response> step_stream(const ApiContext& api, engine::Inside& inside, const Request& request,
                             std::function<bool(const engine::StepLook&)> takes);

/// Which actors are meant: by name, or by what they are. Of
/// ?kind=&prefix=&fleet=&state=&older_than= &younger_than=&min_pending=.
struct Selection {
  std::string kind;
  std::string prefix;
  std::string fleet;
  std::string state;
  Duration older_than{0};
  Duration younger_than{0};  ///< 0: any.
  std::size_t min_pending = 0;

  [[nodiscard]] bool takes(const engine::ActorLook& actor, const engine::ActivationLook* live,
                           Instant now) const;
};
Result<Selection> read_selection(const Request& request);

/// Which dead letters: of ?kind=&actor=&state=, open ones unless `state` says another or "all".
struct LetterSelection {
  std::string kind;
  std::string actor;  ///< KIND/KEY
  std::string state;

  /// By what never changes of a letter.
  [[nodiscard]] bool concerns(const engine::DeadLook& dead) const;
  [[nodiscard]] bool takes(const engine::DeadLook& dead) const;
};
Result<LetterSelection> read_letters(const Request& request);

/// Actors in memory by name, for joining with what the journal says.
class LiveActors {
 public:
  explicit LiveActors(engine::Inside& inside);
  [[nodiscard]] const engine::ActivationLook* find(const engine::ActorId& id) const;
  [[nodiscard]] const std::vector<engine::ActivationLook>& all() const { return *looks_; }

 private:
  std::shared_ptr<const std::vector<engine::ActivationLook>> looks_;
  std::unordered_map<engine::ActorId, const engine::ActivationLook*> by_id_;
};

}  // namespace muster::musterd
