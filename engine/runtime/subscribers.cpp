#include "engine/runtime/subscribers.hpp"

#include <algorithm>
#include <functional>
#include <iterator>

namespace muster::engine {

std::shared_ptr<void> Subscribers::add(Callback each, ChangeSelector wants) {
  auto subscriber = std::make_shared<Subscriber>();
  subscriber->each = std::move(each);
  subscriber->wants = std::move(wants);
  const std::lock_guard lock(mutex_);
  std::erase_if(all_, [](const auto& weak) { return weak.expired(); });
  all_.push_back(subscriber);
  return {static_cast<void*>(subscriber.get()), [subscriber](void*) {
            const std::lock_guard calling(subscriber->calling);
            subscriber->each = nullptr;
          }};
}

void Subscribers::publish(const std::vector<Change>& changes) {
  std::vector<std::shared_ptr<Subscriber>> alive;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& weak : all_)
      if (auto subscriber = weak.lock()) alive.push_back(std::move(subscriber));
  }
  if (changes.empty()) return;
  Commit whole;
  for (const auto& subscriber : alive)
    if (auto part = part_of(changes, *subscriber, whole)) enqueue(subscriber, std::move(part));
}

Subscribers::Commit Subscribers::part_of(const std::vector<Change>& changes, const Subscriber& subscriber,
                                         Commit& whole) {
  if (!subscriber.wants) {
    if (!whole) whole = std::make_shared<const std::vector<Change>>(changes);
    return whole;
  }
  const auto wants = std::cref(subscriber.wants);  // Algorithms copy what they call.
  const auto wanted = std::find_if(changes.begin(), changes.end(), wants);
  if (wanted == changes.end()) return nullptr;
  auto part = std::make_shared<std::vector<Change>>();
  std::copy_if(wanted, changes.end(), std::back_inserter(*part), wants);
  return part;
}

void Subscribers::enqueue(const std::shared_ptr<Subscriber>& subscriber, Commit commit) {
  {
    const std::lock_guard lock(subscriber->queue_mutex);
    subscriber->changes += commit->size();
    subscriber->queue.push_back(std::move(commit));
    for (; subscriber->changes > limit_ && subscriber->queue.size() > 1; subscriber->queue.pop_front())
      subscriber->changes -= subscriber->queue.front()->size();
    if (std::exchange(subscriber->scheduled, true)) return;
  }
  strand_.post([subscriber] { serve(subscriber); });
}

void Subscribers::serve(const std::shared_ptr<Subscriber>& subscriber) {
  std::deque<Commit> commits;
  {
    const std::lock_guard lock(subscriber->queue_mutex);
    subscriber->scheduled = false;
    subscriber->changes = 0;
    commits.swap(subscriber->queue);
  }
  const std::lock_guard calling(subscriber->calling);
  for (const Commit& commit : commits)
    if (subscriber->each) subscriber->each(*commit);
}

}  // namespace muster::engine
