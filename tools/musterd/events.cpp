#include "tools/musterd/events.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/fleet/fleet_generated.h"
#include "actors/host/host_generated.h"
#include "actors/pull/pull_generated.h"
#include "actors/repo/repo_generated.h"
#include "actors/run/run_generated.h"

namespace muster::musterd {
namespace {

namespace fbs = actors::fbs;

class EventStream final : public BodyStream {
 public:
  EventStream(EventHub& hub, engine::Sequence position) : hub_(hub), position_(position) {}

  Piece next() override {
    constexpr std::size_t kPage = 256;
    const EventHub::Page page = hub_.after(position_, kPage);
    Piece piece;
    if (page.gap) piece.bytes += "event: gap\ndata: {}\n\n";
    for (const Event& event : page.events) piece.bytes += event_text(event);
    if (!page.events.empty()) position_ = page.events.back().position;
    if (!greeted_) piece.bytes.insert(0, ": muster events\n\n");
    greeted_ = true;
    return piece;
  }
  void on_more(std::function<void()> wake) override { handle_ = hub_.on_commit(std::move(wake)); }
  [[nodiscard]] std::string heartbeat() const override { return ": still here\n\n"; }

 private:
  EventHub& hub_;
  engine::Sequence position_;
  bool greeted_ = false;  // The first bytes go at once, so that a client knows it is connected.
  std::shared_ptr<void> handle_;
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
    if (kind == "host") name = fbs::EnumNameHostBody(static_cast<fbs::HostBody>(number));
  }
  return *name != '\0' ? name : std::to_string(type);
}

std::string event_text(const Event& event) {
  const nlohmann::ordered_json data = {{"actor", event.actor.to_string()},
                                       {"type", message_name(event.actor.kind, event.type)}};
  return "id: " + std::to_string(event.position) +
         "\ndata: " + data.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n\n";
}

void EventHub::follow(engine::Engine& engine) {
  subscription_ =
      engine.subscribe([this](const std::vector<engine::Change>& changes) { add(changes); });
}

void EventHub::add(const std::vector<engine::Change>& changes) {
  {
    const std::lock_guard lock(mutex_);
    for (const engine::Change& change : changes)
      kept_.push_back({change.position, change.actor, change.message_type});
    for (; kept_.size() > kKept; kept_.pop_front()) dropped_ = kept_.front().position;
  }
  wakes_.wake("");
  for (const engine::Change& change : changes) wakes_.wake(change.actor.to_string());
}

EventHub::Page EventHub::after(engine::Sequence position, std::size_t limit) const {
  const std::lock_guard lock(mutex_);
  Page page;
  page.gap = position < dropped_;
  auto from =
      std::upper_bound(kept_.begin(), kept_.end(), position,
                       [](engine::Sequence at, const Event& event) { return at < event.position; });
  for (; from != kept_.end() && page.events.size() < limit; ++from) page.events.push_back(*from);
  return page;
}

engine::Sequence EventHub::last() const {
  const std::lock_guard lock(mutex_);
  return kept_.empty() ? dropped_ : kept_.back().position;
}

std::shared_ptr<BodyStream> make_event_stream(EventHub& hub, engine::Sequence position) {
  return std::make_shared<EventStream>(hub, position);
}

}  // namespace muster::musterd
