// Serial queues of tasks on CAF: what an Executor needs. No CAF header is included here.
//
// Each strand is one CAF actor whose only message is a task. A pooled strand runs on CAF's workers and must not
// block for long; a detached one has a thread of its own and may.
#pragma once

#include <memory>
#include <string>

#include "engine/core/interfaces.hpp"

namespace caf {
class actor_system;
}

namespace muster::engine {

class Strands {
 public:
  explicit Strands(std::size_t threads);
  /// On a system of somebody else's, which outlives them: a test's, whose scheduler it moves by hand.
  explicit Strands(caf::actor_system& system);
  /// Every strand must be closed before.
  ~Strands();

  class Strand {
   public:
    virtual ~Strand() = default;
    /// From any thread. After close() the task is dropped.
    virtual void post(Task task) = 0;
    virtual void post_after(Duration delay, Task task) = 0;
    /// Waits for everything posted so far, then takes nothing more. Not from the strand itself.
    virtual void close() = 0;
  };
  std::unique_ptr<Strand> pooled();
  std::unique_ptr<Strand> detached();

  /// Whether the caller is inside a task of any strand.
  static bool inside();

 private:
  struct System;
  std::unique_ptr<System> own_;
  caf::actor_system& system_;
};

}  // namespace muster::engine
