#include "tools/musterd/list_stream.hpp"

#include <set>

namespace muster::musterd {
namespace {

class ListSource final : public SseSource {
 public:
  ListSource(EventHub& events, engine::Sequence position, std::string kind, RenderItem render)
      : events_(events), position_(position), kind_(std::move(kind)), render_(std::move(render)) {}

  bool more(std::string& to) override {
    constexpr std::size_t kPage = 256;
    const EventHub::Page page = events_.after(position_, kPage);
    if (page.events.empty() && !page.gap) return false;
    if (page.gap) to += sse_event("", "gap", Json::object());
    // An actor that changed ten times is shown once, as it is now.
    std::set<engine::ActorId> changed;
    for (const Event& event : page.events)
      if (kind_.empty() || event.actor.kind == kind_) changed.insert(event.actor);
    std::vector<std::pair<const char*, Json>> told;
    for (const engine::ActorId& actor : changed)
      if (ListItem item = render_(actor); is_news(actor, item.is))
        told.emplace_back(item.is == ListItem::Is::shown ? "changed" : "left",
                          std::move(item.json));
    position_ = page.last;
    for (std::size_t i = 0; i < told.size(); ++i)
      to += sse_event(i + 1 == told.size() ? std::to_string(position_) : "", told[i].first,
                      told[i].second);
    return page.events.size() == kPage;
  }

 private:
  /// What left and changes on outside of the list is told of once.
  bool is_news(const engine::ActorId& actor, ListItem::Is is) {
    if (is == ListItem::Is::other) return false;
    if (is == ListItem::Is::shown) {
      left_.erase(actor);
      return true;
    }
    if (left_.size() >= kRememberedLeft) left_.clear();
    return left_.insert(actor).second;
  }

  EventHub& events_;
  engine::Sequence position_;
  const std::string kind_;
  RenderItem render_;
  std::set<engine::ActorId> left_;
};

}  // namespace

Result<Response> list_stream(EventHub& events, const Request& request, std::string kind,
                             RenderItem render) {
  const auto position = last_event_id(request, events.last());
  if (!position) return tl::unexpected<Error>(position.error());
  return sse_response(
      std::make_shared<ListSource>(events, *position, std::move(kind), std::move(render)),
      [&events](Wakes::Wake wake) { return events.on_commit(std::move(wake)); });
}

}  // namespace muster::musterd
