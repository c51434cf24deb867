#include "tools/musterd/events.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/fleet/fleet_generated.h"
#include "actors/host/host_generated.h"
#include "actors/pull/pull_generated.h"
#include "actors/repo/repo_generated.h"
#include "actors/run/run_generated.h"
#include "tools/musterd/sse.hpp"

namespace muster::musterd {
namespace {

namespace fbs = actors::fbs;

class EventSource final : public SseSource {
 public:
  EventSource(EventHub& hub, engine::Sequence position, EventFilter filter)
      : hub_(hub), position_(position), filter_(std::move(filter)) {}

  bool more(std::string& to) override {
    constexpr std::size_t kPage = 256;
    const EventHub::Page page = hub_.after(position_, kPage);
    if (page.gap) to += sse_event("", "gap", Json::object());
    for (const Event& event : page.events)
      if (event.type != 0 && filter_.takes(event.actor)) to += event_text(event);
    position_ = page.last;
    return page.events.size() == kPage;
  }

 private:
  EventHub& hub_;
  engine::Sequence position_;
  EventFilter filter_;
};

}  // namespace

std::string message_name(std::string_view kind, std::uint16_t type) {
  const char* name = "";
  const auto number = static_cast<std::uint8_t>(type);
  if (type <= 0xff) {
    if (kind == "run") name = fbs::EnumNameRunBody(static_cast<fbs::RunBody>(number));
    if (kind == "fleet") name = fbs::EnumNameFleetBody(static_cast<fbs::FleetBody>(number));
    if (kind == "repo") name = fbs::EnumNameRepoBody(static_cast<fbs::RepoBody>(number));
    if (kind == "pull") name = fbs::EnumNamePullBody(static_cast<fbs::PullBody>(number));
    if (kind == "swarm") name = fbs::EnumNameSwarmBody(static_cast<fbs::SwarmBody>(number));
    if (kind == "host") name = fbs::EnumNameHostBody(static_cast<fbs::HostBody>(number));
  }
  return *name != '\0' ? name : std::to_string(type);
}

std::string event_text(const Event& event) {
  return sse_event(
      std::to_string(event.position), "",
      {{"actor", event.actor.to_string()}, {"type", message_name(event.actor.kind, event.type)}});
}

EventHub::~EventHub() {
  std::shared_ptr<void> leaving;
  const std::lock_guard following(following_);
  leaving.swap(subscription_);
}

void EventHub::follow(engine::Engine& engine) {
  engine_ = &engine;
  asked();
}

/// Somebody reads: from here on changes are kept, if they were not.
void EventHub::asked() {
  asked_at_ = Clock::now().time_since_epoch().count();
  if (engine_ == nullptr) return;
  const std::lock_guard following(following_);
  if (subscription_) return;
  {
    const std::lock_guard lock(mutex_);
    kept_.clear();
  }
  subscription_ =
      engine_->subscribe([this](const std::vector<engine::Change>& changes) { add(changes); });
  engine::Sequence before = 0;
  for (const auto& shard : engine_->stats()) before = std::max(before, shard.position);
  const std::lock_guard lock(mutex_);
  dropped_ = kept_.empty() ? before : kept_.front().position - 1;  // Nobody kept those.
}

/// Called by the engine's notifier alone; a callback may let go of its own subscription.
void EventHub::leave_if_unread() {
  std::shared_ptr<void> leaving;
  const std::lock_guard following(following_);  // Whoever asks from here on finds it gone.
  const Clock::time_point asked{Clock::duration(asked_at_.load())};
  if (Clock::now() - asked < linger_ || wakes_.any()) return;
  leaving.swap(subscription_);
}

void EventHub::add(const std::vector<engine::Change>& changes) {
  {
    const std::lock_guard lock(mutex_);
    for (const engine::Change& change : changes)
      kept_.push_back({change.position, change.actor, change.message_type, change.letter});
    for (; kept_.size() > kKept; kept_.pop_front()) dropped_ = kept_.front().position;
  }
  wakes_.wake("");
  if (wakes_.any_named())
    for (const engine::Change& change : changes) wakes_.wake(change.actor.to_string());
  leave_if_unread();
}

EventHub::Page EventHub::after(engine::Sequence position, std::size_t limit) {
  asked();
  const std::lock_guard lock(mutex_);
  Page page;
  const engine::Sequence newest = kept_.empty() ? dropped_ : kept_.back().position;
  page.last = std::clamp(position, dropped_, newest);
  page.gap = page.last != position;
  auto from =
      std::upper_bound(kept_.begin(), kept_.end(), page.last,
                       [](engine::Sequence at, const Event& event) { return at < event.position; });
  for (; from != kept_.end() && page.events.size() < limit; ++from) page.events.push_back(*from);
  if (!page.events.empty()) page.last = page.events.back().position;
  return page;
}

engine::Sequence EventHub::last() {
  asked();
  const std::lock_guard lock(mutex_);
  return kept_.empty() ? dropped_ : kept_.back().position;
}

Response event_response(EventHub& hub, engine::Sequence position, EventFilter filter) {
  return sse_response(std::make_shared<EventSource>(hub, position, std::move(filter)),
                      [&hub](Wakes::Wake wake) { return hub.on_commit(std::move(wake)); });
}

}  // namespace muster::musterd
