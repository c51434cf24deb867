// What the engine has committed about hosts and where runs are placed. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "actors/host/host_generated.h"
#include "actors/run/run_generated.h"
#include "engine/core/engine.hpp"

namespace muster::actors {

class Placements {
 public:
  Placements(const engine::Engine& engine, std::string org)
      : engine_(engine), org_(std::move(org)) {}

  [[nodiscard]] engine::ActorId host_actor(const std::string& name) const;
  [[nodiscard]] engine::ActorId run_actor(const std::string& run) const;

  [[nodiscard]] std::optional<fbs::HostHeadT> host_head(const std::string& name) const;
  [[nodiscard]] std::optional<fbs::AttemptRowT> attempt_row(const std::string& run,
                                                            std::uint32_t attempt) const;
  /// Whether that host works for that attempt now. `run` comes from outside.
  [[nodiscard]] bool is_placed_on(const std::string& host, const std::string& run,
                                  std::uint32_t attempt) const;
  /// Also when the run has gone on since.
  [[nodiscard]] bool attempt_was_on(const std::string& host, const std::string& run,
                                    std::uint32_t attempt) const;

 private:
  const engine::Engine& engine_;
  const std::string org_;
};

}  // namespace muster::actors
