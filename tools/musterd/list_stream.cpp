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
    std::set<std::string> changed;
    for (const Event& event : page.events)
      if (event.actor.kind == kind_) changed.insert(event.actor.key);
    std::vector<Json> items;
    for (const std::string& key : changed)
      if (auto item = render_(key)) items.push_back(std::move(*item));
    position_ = page.last;
    for (std::size_t i = 0; i < items.size(); ++i)
      to += sse_event(i + 1 == items.size() ? std::to_string(position_) : "", "changed", items[i]);
    return page.events.size() == kPage;
  }

 private:
  EventHub& events_;
  engine::Sequence position_;
  const std::string kind_;
  RenderItem render_;
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
