// Hearing of some changes only: for those who follow the engine all day and care for few of them. What
// nobody selects is not copied, and wakes no thread.
//
//   auto handle = subscribe_selected(engine, [](const Change& c) { return c.actor.kind == "run"; },
//                                    [](const std::vector<Change>& runs) { … });
#pragma once

#include "engine/core/engine.hpp"

namespace muster::engine {

/// Asked on the shard's strand, for every change: pure, no longer than a few comparisons, and holding
/// on to nothing: it may be asked once more while the handle goes.
using ChangeSelector = std::function<bool(const Change&)>;

/// What an engine is that can select where a commit is told.
class SelectedChanges {
 public:
  virtual ~SelectedChanges() = default;
  /// As Engine::subscribe(), but `each` is called only with what `wants` takes, and only when that
  /// is something. Gaps in `position` tell nothing.
  virtual std::shared_ptr<void> subscribe_selected(
      ChangeSelector wants, std::function<void(const std::vector<Change>&)> each) = 0;
};

/// The same of any engine: of one that can't select, what is not wanted is dropped here.
std::shared_ptr<void> subscribe_selected(Engine& engine, ChangeSelector wants,
                                         std::function<void(const std::vector<Change>&)> each);

}  // namespace muster::engine
