#include "tools/musterd/row_stream.hpp"

#include <algorithm>
#include <chrono>
#include <set>

#include "tools/musterd/list_place.hpp"
#include "tools/musterd/sse.hpp"

namespace muster::musterd {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRowsRest = 20;                  ///< So many times as long as a look took.
constexpr std::size_t kRowsTold = 1u << 20;    ///< Bytes of one look; the rest comes with the next.
constexpr std::size_t kRowEvents = 256;        ///< Commits looked through at once.

class RowSource final : public SseSource {
 public:
  RowSource(EventHub& events, engine::Sequence position, RowMemory::Named told, RowList list)
      : events_(events), position_(position), told_(std::move(told)), list_(std::move(list)) {}

  /// From the client's own place, or, where that is not known, from what there is now.
  void begin(std::string& to, bool resumed) {
    if (resumed && told_.given->known()) {
      told_.given->rewind(position_);
      changed_ = true;
      return;
    }
    if (resumed) {
      begin_anew(to);
    } else {
      (void)look(nullptr);
    }
  }

  bool more(std::string& to) override {
    to += std::exchange(greeting_, "");
    const EventHub::Page page = events_.after(position_, kRowEvents);
    position_ = page.last;
    changed_ = changed_ || page.gap ||
               std::any_of(page.events.begin(), page.events.end(),
                           [&](const Event& event) { return concerns(event.actor); });
    if (page.events.size() == kRowEvents) return true;
    if (!changed_ || Clock::now() < next_look_) return false;
    if (told_.given->known()) return look(&to);
    begin_anew(to);  // More was told than is remembered.
    return false;
  }

  [[nodiscard]] std::optional<Duration> rest() const override {
    if (!changed_) return std::nullopt;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(next_look_ - Clock::now()).count();
    return Duration{std::max<std::int64_t>(left, 1)};
  }

  std::string greeting_;  ///< Told first.

 private:
  void begin_anew(std::string& to) {
    to += sse_event("", "gap", Json::object());
    told_.given->restart();
    (void)look(nullptr);
  }

  [[nodiscard]] bool concerns(const engine::ActorId& actor) const {
    return std::find(list_.actors.begin(), list_.actors.end(), actor) != list_.actors.end();
  }

  /// Compares everything with what was told; `to` null: only remembers it. True when there is more to tell at once.
  bool look(std::string* to) {
    const Clock::time_point begin = Clock::now();
    std::set<std::string> there;
    std::vector<std::pair<const char*, Json>> told;
    std::size_t bytes = 0;
    bool all = true;
    // A list that is gone has no items: each of them left.
    (void)list_.walk([&](const std::string& name, std::size_t content, const auto& render) {
      if (there.size() == kMaxScanned || bytes >= kRowsTold) {
        all = false;
        return false;
      }
      there.insert(name);
      if (!told_.given->tell(name, content, position_) || to == nullptr) return true;
      if (auto item = render()) {
        bytes += item->dump(-1, ' ', false, Json::error_handler_t::replace).size();
        told.emplace_back("changed", std::move(*item));
      }
      return true;
    });
    const bool cut = bytes >= kRowsTold;
    if (all && to != nullptr)
      for (const std::string& name : told_.given->tell_left(there, position_))
        told.emplace_back("left", Json::object({{list_.key, name}}));
    for (std::size_t i = 0; i < told.size(); ++i)
      *to += sse_event(!cut && i + 1 == told.size() ? place_text(position_, told_.name) : "",
                       told[i].first, told[i].second);
    changed_ = cut;
    if (!cut) next_look_ = Clock::now() + kRowsRest * (Clock::now() - begin);
    return cut;
  }

  EventHub& events_;
  engine::Sequence position_;
  const RowMemory::Named told_;
  const RowList list_;
  bool changed_ = false;  ///< Since the last look.
  Clock::time_point next_look_{};
};

}  // namespace

Result<Response> row_stream(const ApiContext& api, const Request& request, RowList list) {
  EventHub& events = api.parts.events;
  const auto place = list_place(request, events.last());
  if (!place) return tl::unexpected<Error>(place.error());
  const bool resumed = !request.header("Last-Event-ID").empty();
  RowMemory::Named told = resumed ? api.rows.copy(place->list) : api.rows.begin();
  const auto actors = list.actors;
  auto source = std::make_shared<RowSource>(events, place->position, std::move(told), std::move(list));
  source->begin(source->greeting_, resumed);
  return sse_response(std::move(source), [&events, actors](Wakes::Wake wake) {
    auto handles = std::make_shared<std::vector<std::shared_ptr<void>>>();
    for (const engine::ActorId& actor : actors) handles->push_back(events.on_change(actor, wake));
    return handles;
  });
}

Response row_list_response(const ApiContext& api, const Page& page, const char* name,
                           const PageFill& fill, const RowContents& shown,
                           engine::Sequence position) {
  const RowMemory::Named list = page.list.empty() ? api.rows.begin() : api.rows.find(page.list);
  for (const auto& [item, content] : shown) (void)list.given->tell(item, content, position);
  Response response = json_response({{name, fill.items}, {"next", fill.next(list.name)}});
  response.headers.emplace_back("Muster-Position", place_text(position, list.name));
  return response;
}

std::size_t content_of(std::string_view bytes, std::string_view more) {
  constexpr std::size_t kMix = 0x9e3779b97f4a7c15;
  return std::hash<std::string_view>()(bytes) * kMix + std::hash<std::string_view>()(more);
}

}  // namespace muster::musterd
