#include "engine/runtime/subscribers.hpp"

namespace muster::engine {

std::shared_ptr<void> Subscribers::add(Callback each) {
  auto subscriber = std::make_shared<Subscriber>();
  subscriber->each = std::move(each);
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
  for (const auto& subscriber : alive) {
    const std::lock_guard lock(subscriber->queue_mutex);
    subscriber->queue.insert(subscriber->queue.end(), changes.begin(), changes.end());
    while (subscriber->queue.size() > limit_) subscriber->queue.pop_front();
    if (std::exchange(subscriber->scheduled, true)) continue;
    strand_.post([subscriber] { serve(subscriber); });
  }
}

void Subscribers::serve(const std::shared_ptr<Subscriber>& subscriber) {
  std::vector<Change> changes;
  {
    const std::lock_guard lock(subscriber->queue_mutex);
    subscriber->scheduled = false;
    changes.assign(std::make_move_iterator(subscriber->queue.begin()),
                   std::make_move_iterator(subscriber->queue.end()));
    subscriber->queue.clear();
  }
  const std::lock_guard calling(subscriber->calling);
  if (subscriber->each && !changes.empty()) subscriber->each(changes);
}

}  // namespace muster::engine
