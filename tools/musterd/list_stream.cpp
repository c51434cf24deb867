#include "tools/musterd/list_stream.hpp"

#include <map>

#include "tools/musterd/list_place.hpp"

namespace muster::musterd {
namespace {

/// What an item is called in its list: that is what `left` tells, too.
std::string item_name(const Json& item) {
  for (const char* key : {"id", "name", "run"})
    if (const auto found = item.find(key); found != item.end() && found->is_string())
      return found->get<std::string>();
  return "";
}

class ListSource final : public SseSource {
 public:
  ListSource(EventHub& events, engine::Sequence position, ListMemory::Named given, ListOf list)
      : events_(events), position_(position), given_(std::move(given)), list_(std::move(list)) {}

  bool more(std::string& to) override {
    constexpr std::size_t kPage = 256;
    const EventHub::Page page = events_.after(position_, kPage);
    if (page.events.empty() && !page.gap) return false;
    if (page.gap) {
      // The client reads the list again, and this stream hears nothing of that.
      given_.given->forget();
      to += sse_event("", "gap", Json::object());
    }
    // What changed ten times is shown once, as it is now.
    std::map<std::string, const Event*> changed;
    for (const Event& event : page.events)
      if (list_.concerns(event)) changed[list_.name(event)] = &event;
    std::vector<std::pair<const char*, Json>> told;
    for (const auto& [name, event] : changed)
      if (ListItem item = list_.render(*event); is_news(item))
        told.emplace_back(item.is == ListItem::Is::shown ? "changed" : "left",
                          std::move(item.json));
    position_ = page.last;
    for (std::size_t i = 0; i < told.size(); ++i)
      to += sse_event(i + 1 == told.size() ? place_text(position_, given_.name) : "", told[i].first,
                      told[i].second);
    return page.events.size() == kPage;
  }

 private:
  bool is_news(const ListItem& item) {
    if (item.is == ListItem::Is::other) return false;
    if (item.is == ListItem::Is::left) return given_.given->take(item_name(item.json));
    given_.given->add(item_name(item.json));
    return true;
  }

  EventHub& events_;
  engine::Sequence position_;
  const ListMemory::Named given_;
  const ListOf list_;
};

}  // namespace

std::string place_text(engine::Sequence position, const std::string& list) {
  return std::to_string(position) + "." + list;
}

Result<ListPlace> list_place(const Request& request, engine::Sequence absent) {
  constexpr std::size_t kLongestPosition = 19;
  constexpr std::size_t kLongestList = 32;
  const std::string text = request.header("Last-Event-ID");
  if (text.empty()) return ListPlace{absent, ""};
  const std::size_t dot = std::min(text.find('.'), text.size());
  const std::string digits = text.substr(0, dot);
  const std::string list = text.substr(std::min(dot + 1, text.size()));
  if (digits.empty() || digits.size() > kLongestPosition || list.size() > kLongestList ||
      digits.find_first_not_of("0123456789") != std::string::npos ||
      list.find_first_not_of("0123456789abcdef") != std::string::npos)
    return fail(Errc::invalid, "Last-Event-ID must be the id of an event");
  return ListPlace{std::stoull(digits), list};
}

Result<Response> list_stream_of(const ApiContext& api, const Request& request, ListOf list) {
  EventHub& events = api.parts.events;
  const auto place = list_place(request, events.last());
  if (!place) return tl::unexpected<Error>(place.error());
  const bool resumed = !request.header("Last-Event-ID").empty();
  ListMemory::Named given = resumed ? api.lists.copy(place->list) : api.lists.begin();
  return sse_response(
      std::make_shared<ListSource>(events, place->position, std::move(given), std::move(list)),
      [&events](Wakes::Wake wake) { return events.on_commit(std::move(wake)); });
}

Result<Response> list_stream(const ApiContext& api, const Request& request, std::string kind,
                             RenderItem render) {
  return list_stream_of(
      api, request,
      {[kind = std::move(kind)](const Event& event) {
         return kind.empty() || event.actor.kind == kind;
       },
       [](const Event& event) { return event.actor.to_string(); },
       [render = std::move(render)](const Event& event) { return render(event.actor); }});
}

Response at_position(const Json& json, engine::Sequence position) {
  Response response = json_response(json);
  response.headers.emplace_back("Muster-Position", std::to_string(position));
  return response;
}

Response list_response(const ApiContext& api, const Page& page, const char* name,
                       const PageFill& fill, engine::Sequence position) {
  const ListMemory::Named list = page.list.empty() ? api.lists.begin() : api.lists.find(page.list);
  for (const Json& item : fill.items) list.given->add(item_name(item));
  Response response = json_response({{name, fill.items}, {"next", fill.next(list.name)}});
  response.headers.emplace_back("Muster-Position", place_text(position, list.name));
  return response;
}

}  // namespace muster::musterd
