// Who is to be woken when something of a given name happens: followers of one run's log, readers of
// events.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace muster::musterd {

/// Thread-safe. A wake comes on the thread that caused it and must be short.
class Wakes {
 public:
  using Wake = std::function<void()>;

  /// `wake` is called for every wake(name) until the handle is gone; a call under way may end a
  /// little after.
  [[nodiscard]] std::shared_ptr<Wake> add(const std::string& name, Wake wake) {
    auto handle = std::make_shared<Wake>(std::move(wake));
    const std::lock_guard lock(mutex_);
    auto& waiting = waiting_[name];
    std::erase_if(waiting, [](const auto& old) { return old.expired(); });
    waiting.push_back(handle);
    return handle;
  }

  /// Whether anybody waits, for whatever; …
  [[nodiscard]] bool any() {
    const std::lock_guard lock(mutex_);
    for (auto named = waiting_.begin(); named != waiting_.end();) {
      std::erase_if(named->second, [](const auto& old) { return old.expired(); });
      named = named->second.empty() ? waiting_.erase(named) : std::next(named);
    }
    return !waiting_.empty();
  }
  /// … or, as far as is known, for a name that is not "".
  [[nodiscard]] bool any_named() {
    const std::lock_guard lock(mutex_);
    return waiting_.size() > waiting_.count("");
  }

  void wake(std::string_view name) {
    std::vector<std::shared_ptr<Wake>> woken;
    {
      const std::lock_guard lock(mutex_);
      const auto found = waiting_.find(name);
      if (found == waiting_.end()) return;
      for (const auto& weak : found->second)
        if (auto wake = weak.lock()) woken.push_back(std::move(wake));
      if (woken.empty()) waiting_.erase(found);
    }
    for (const auto& wake : woken) (*wake)();
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::vector<std::weak_ptr<Wake>>, std::less<>> waiting_;
};

}  // namespace muster::musterd
