// /v1/steps, /v1/hot: what is happening now. Nothing is kept up to date for it: who asks reads the
// newest decisions of the journal, a bounded number of them, and is told how many were left out.
#include <algorithm>
#include <unordered_map>

#include "tools/musterd/api_inside.hpp"
#include "tools/musterd/cursor.hpp"
#include "tools/musterd/list_stream.hpp"

namespace muster::musterd {
namespace {

using engine::StepLook;

/// Decisions of a shard looked at for one answer.
constexpr std::size_t kWatchScanned = 20'000;
constexpr std::size_t kWatchedActors = 4'096;  ///< Remembered while one answer is made.

/// Which steps are wanted: ?actor=&host=&dead= and the filters of a list of actors.
class StepFilter {
 public:
  static Result<StepFilter> read(const ApiContext& api, engine::Inside& inside,
                                 const Request& request);
  Result<bool> takes(const StepLook& step);
  /// Actors are looked at anew.
  void refresh(Instant now) {
    known_.clear();
    now_ = now;
  }

 private:
  StepFilter(engine::Journals journals, Selection selection, Instant now)
      : journals_(std::move(journals)), selection_(std::move(selection)), now_(now) {}
  [[nodiscard]] bool asks_for_state() const;
  [[nodiscard]] bool stands_on_host(const engine::ActorLook& actor) const;
  Result<bool> takes_actor(const engine::ActorId& id);

  engine::Journals journals_;
  Selection selection_;
  Instant now_;
  std::optional<engine::ActorId> actor_;
  std::string host_;
  bool dead_ = false;
  std::unordered_map<engine::ActorId, bool> known_;
};

Result<StepFilter> StepFilter::read(const ApiContext& api, engine::Inside& inside,
                                    const Request& request) {
  auto selection = read_selection(request);
  if (!selection) return tl::unexpected<Error>(selection.error());
  if (selection->min_pending > 0)
    return fail(Errc::invalid, "min_pending is of mailboxes: list the actors with it");
  StepFilter filter(inside.journals(), std::move(*selection), api.view.now());
  filter.host_ = request.parameter("host");
  const std::string dead = request.parameter("dead");
  if (!dead.empty() && dead != "true" && dead != "false")
    return fail(Errc::invalid, "dead=" + dead + " is neither true nor false");
  filter.dead_ = dead == "true";
  if (const std::string name = request.parameter("actor"); !name.empty()) {
    const auto actor = actor_named(api, inside, name);
    if (!actor) return tl::unexpected<Error>(actor.error());
    filter.actor_ = actor->id;
  }
  return filter;
}

bool StepFilter::asks_for_state() const {
  return !selection_.fleet.empty() || !selection_.state.empty() || !host_.empty() ||
         selection_.older_than.count() > 0 || selection_.younger_than.count() > 0;
}

bool StepFilter::stands_on_host(const engine::ActorLook& actor) const {
  if (host_.empty()) return true;
  if (actor.id.kind == "host") return actor.id.key == host_;
  return actor_schemas().state_field(actor.id.kind, actor.state, "host") == host_;
}

Result<bool> StepFilter::takes_actor(const engine::ActorId& id) {
  if (const auto known = known_.find(id); known != known_.end()) return known->second;
  const auto actor = engine::look_at(journals_, id);
  if (!actor) return tl::unexpected<Error>(actor.error());
  const bool taken = *actor && selection_.takes(**actor, nullptr, now_) && stands_on_host(**actor);
  if (known_.size() < kWatchedActors) known_.emplace(id, taken);
  return taken;
}

Result<bool> StepFilter::takes(const StepLook& step) {
  if (dead_ && !step.dead) return false;
  if (actor_ && step.actor != *actor_) return false;
  if (!selection_.kind.empty() && step.actor.kind != selection_.kind) return false;
  if (!step.actor.key.starts_with(selection_.prefix)) return false;
  return asks_for_state() ? takes_actor(step.actor) : true;
}

// ---- steps as they come ----

/// How far a follower has seen each shard: "12.0.7", as a cursor.
using Positions = std::vector<std::uint64_t>;

Result<Positions> newest_positions(const engine::Journals& journals) {
  Positions positions(journals.size(), 0);
  for (std::size_t shard = 0; shard < journals.size(); ++shard) {
    const auto walked =
        engine::each_step_back(*journals[shard], nullptr, 0, 1, [&](const StepLook& step) {
          positions[shard] = step.position;
          return false;
        });
    if (!walked) return tl::unexpected<Error>(walked.error());
  }
  return positions;
}

std::string cursor_of(const Positions& positions) {
  std::string text;
  for (const std::uint64_t position : positions)
    text += (text.empty() ? "" : ".") + std::to_string(position);
  return encode_cursor(text);
}

Result<Positions> read_positions(const std::string& cursor, std::size_t shards) {
  const auto text = decode_cursor(cursor);
  if (!text) return tl::unexpected<Error>(text.error());
  Positions positions;
  for (std::size_t begin = 0; begin <= text->size();) {
    const std::size_t end = std::min(text->find('.', begin), text->size());
    const std::string part = text->substr(begin, end - begin);
    if (part.empty() || part.size() > 18 ||
        part.find_first_not_of("0123456789") != std::string::npos)
      return fail(Errc::invalid, "not a cursor of this list");
    positions.push_back(std::stoull(part));
    begin = end + 1;
  }
  if (positions.size() != shards) return fail(Errc::invalid, "not a cursor of this list");
  return positions;
}

/// The newest wanted steps of one shard beyond `position`, which moves on.
Result<void> take_newer(const storage::Journal& journal, StepFilter& filter, std::size_t limit,
                        std::uint64_t& position, std::vector<StepLook>& steps,
                        std::uint64_t& left_out) {
  const std::uint64_t after = position;
  std::uint64_t looked = 0;
  Result<void> filtered{};
  const auto walked =
      engine::each_step_back(journal, nullptr, 0, kWatchScanned, [&](const StepLook& step) {
        if (step.position <= after) return false;
        position = std::max(position, step.position);
        ++looked;
        const auto wanted = filter.takes(step);
        if (!wanted) {
          filtered = tl::unexpected<Error>(wanted.error());
          return false;
        }
        if (*wanted && steps.size() < limit)
          steps.push_back(step);
        else if (*wanted)
          ++left_out;
        return true;
      });
  if (!walked) return tl::unexpected<Error>(walked.error());
  left_out += position - after - looked;
  return filtered;
}

/// They as a stream: each step as it is committed.
Result<Response> follow_steps(const ApiContext& api, engine::Inside& inside, const Request& request,
                              StepFilter read) {
  auto filter = std::make_shared<StepFilter>(std::move(read));
  return step_stream(api, inside, request, [filter, &view = api.view](const StepLook& step) {
    filter->refresh(view.now());
    return filter->takes(step).value_or(false);
  });
}

Result<Response> list_steps(const ApiContext& api, const Request& request) {
  auto inside = inside_of(api);
  if (!inside) return tl::unexpected<Error>(inside.error());
  const auto limit = read_number(request, "limit", kDefaultPage, kMaxPage);
  if (!limit) return tl::unexpected<Error>(limit.error());
  auto filter = StepFilter::read(api, **inside, request);
  if (!filter) return tl::unexpected<Error>(filter.error());
  if (wants_events(request)) return follow_steps(api, **inside, request, std::move(*filter));
  const engine::Sequence position = api.parts.events.last();
  const engine::Journals journals = (*inside)->journals();
  const std::string cursor = request.parameter("cursor");
  auto positions =
      cursor.empty() ? newest_positions(journals) : read_positions(cursor, journals.size());
  if (!positions) return tl::unexpected<Error>(positions.error());
  std::vector<std::pair<std::int64_t, Json>> found;  // By time, over all shards.
  std::uint64_t left_out = 0;
  for (std::uint32_t shard = 0; shard < journals.size(); ++shard) {
    std::vector<StepLook> steps;
    if (auto taken = take_newer(*journals[shard], *filter, static_cast<std::size_t>(*limit),
                                (*positions)[shard], steps, left_out);
        !taken)
      return tl::unexpected<Error>(taken.error());
    std::reverse(steps.begin(), steps.end());
    auto told = steps_json(*journals[shard], shard, steps);
    if (!told) return tl::unexpected<Error>(told.error());
    for (std::size_t n = 0; n < steps.size(); ++n)
      found.emplace_back(steps[n].at.unix_ms, std::move((*told)[n]));
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  Json list = Json::array();
  for (auto& [at, step] : found) list.push_back(std::move(step));
  return at_position(
      {{"steps", std::move(list)}, {"left_out", left_out}, {"next", cursor_of(*positions)}},
      position);
}

// ---- who is busiest ----

struct Heat {
  std::uint64_t steps = 0;
  std::uint64_t dead = 0;
  std::uint64_t sent = 0;
  std::uint64_t effects = 0;
};

Json heat_json(const std::string& name, const Heat& heat, double seconds) {
  return {{"id", name},
          {"steps", heat.steps},
          {"per_second", seconds > 0 ? static_cast<double>(heat.steps) / seconds : 0.0},
          {"sent", heat.sent},
          {"effects", heat.effects},
          {"dead", heat.dead}};
}

Result<Response> list_hot(const ApiContext& api, const Request& request) {
  auto inside = inside_of(api);
  if (!inside) return tl::unexpected<Error>(inside.error());
  const auto limit = read_number(request, "limit", kDefaultPage, kMaxPage);
  if (!limit) return tl::unexpected<Error>(limit.error());
  auto filter = StepFilter::read(api, **inside, request);
  if (!filter) return tl::unexpected<Error>(filter.error());
  std::unordered_map<engine::ActorId, Heat> heats;
  const Instant now = api.view.now();
  Instant oldest = now;
  Result<void> filtered{};
  for (const storage::Journal* journal : (*inside)->journals()) {
    const auto walked =
        engine::each_step_back(*journal, nullptr, 0, kWatchScanned, [&](const StepLook& step) {
          oldest = std::min(oldest, step.at);
          const auto wanted = filter->takes(step);
          if (!wanted) filtered = tl::unexpected<Error>(wanted.error());
          if (!wanted || !*wanted) return wanted.has_value();
          Heat& heat = heats[step.actor];
          ++heat.steps;
          heat.dead += step.dead ? 1 : 0;
          heat.sent += step.sent.size();
          heat.effects += step.effects.size();
          return true;
        });
    if (!walked) return tl::unexpected<Error>(walked.error());
    if (!filtered) return tl::unexpected<Error>(filtered.error());
  }
  std::vector<std::pair<std::string, Heat>> sorted;
  for (const auto& [id, heat] : heats) sorted.emplace_back(actor_name(id), heat);
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.second.steps != b.second.steps ? a.second.steps > b.second.steps : a.first < b.first;
  });
  const auto window = (now - oldest).count();
  Json list = Json::array();
  for (const auto& [name, heat] : sorted)
    if (list.size() < *limit)
      list.push_back(heat_json(name, heat, static_cast<double>(window) / 1'000.0));
  return json_response(
      {{"window_ms", window}, {"actors", sorted.size()}, {"hot", std::move(list)}});
}

}  // namespace

Result<Response> step_stream(const ApiContext& api, engine::Inside& inside, const Request& request,
                             std::function<bool(const StepLook&)> takes) {
  const auto render = [&inside, takes = std::move(takes)](const Event& event) {
    const engine::Journals journals = inside.journals();
    const std::uint32_t shard = engine::shard_of(journals, event.actor);
    std::vector<StepLook> found;
    const auto walked = engine::each_step_back(*journals[shard], &event.actor, event.position + 1,
                                               kWatchScanned, [&](const StepLook& step) {
                                                 if (step.position == event.position && takes(step))
                                                   found.push_back(step);
                                                 return false;
                                               });
    if (!walked || found.empty()) return ListItem::other();
    auto told = steps_json(*journals[shard], shard, found);
    if (!told || told->empty()) return ListItem::other();
    return ListItem::shown(std::move(told->front()));
  };
  return list_stream_of(api, request,
                        {[](const Event& event) { return event.type != 0; },
                         [](const Event& event) {  // Each for itself, in their order.
                           const std::string position = std::to_string(event.position);
                           constexpr std::size_t kDigits = 20;
                           return std::string(kDigits - position.size(), '0') + position +
                                  event.actor.to_string();
                         },
                         render});
}

void add_watch_routes(Router& router, ApiContext api) {
  const auto with = [api](auto handler) {
    return [api, handler](const Request& request) { return handler(api, request); };
  };
  router.add({"GET", "/v1/steps", with(list_steps), 0});
  router.add({"GET", "/v1/hot", with(list_hot), 0});
}

}  // namespace muster::musterd
