// /v1/engine, /v1/queue, /v1/dead-letters: the machine below the actors
#include <algorithm>
#include <array>
#include <map>
#include <numeric>

#include "actors/indexes.hpp"
#include "storage/journal/journal.hpp"
#include "tools/musterd/api_inside.hpp"
#include "tools/musterd/cursor.hpp"
#include "tools/musterd/letter_stream.hpp"
#include "tools/musterd/list_stream.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kCommitsShown = 20;

/// Steps of each kind since this process began, with the time they took. p99 is a power of two:
/// nothing finer is kept.
Json steps_by_kind(const std::vector<engine::ShardStats>& shards) {
  using Counts = std::array<std::uint64_t, engine::PowerHistogram::kBuckets>;
  std::map<std::string, std::pair<Counts, std::uint64_t>> kinds;
  for (const engine::ShardStats& shard : shards)
    for (const auto& [kind, histogram] : shard.steps_us) {
      auto& [counts, sum] = kinds[kind];
      for (std::size_t n = 0; n < counts.size(); ++n) counts[n] += histogram.counts()[n];
      sum += histogram.sum();
    }
  Json list = Json::array();
  for (const auto& [kind, told] : kinds) {
    const auto& [counts, sum] = told;
    const std::uint64_t steps = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
    if (steps == 0) continue;
    std::uint64_t below = 0;
    std::size_t bucket = 0;
    while (bucket + 1 < counts.size() && (below += counts[bucket]) * 100 < steps * 99) ++bucket;
    list.push_back({{"kind", kind},
                    {"steps", steps},
                    {"mean_us", sum / steps},
                    {"p99_us", std::uint64_t{1} << bucket}});
  }
  return list;
}

constexpr std::size_t kSlowShown = 20;

Json slow_steps(const std::vector<engine::ShardStats>& shards) {
  std::vector<std::pair<std::uint32_t, engine::SlowStep>> slow;
  for (const engine::ShardStats& shard : shards)
    for (const engine::SlowStep& step : shard.slow_steps) slow.emplace_back(shard.shard, step);
  std::stable_sort(slow.begin(), slow.end(),
                   [](const auto& a, const auto& b) { return a.second.us > b.second.us; });
  Json list = Json::array();
  for (const auto& [shard, step] : slow)
    if (list.size() < kSlowShown)
      list.push_back({{"actor", actor_name(step.actor)},
                      {"type", actor_schemas().message_name(step.actor.kind, step.type)},
                      {"shard", shard},
                      {"sequence", step.sequence},
                      {"at", time_json(step.at.unix_ms)},
                      {"took_us", step.us}});
  return list;
}

Result<Response> get_engine(const ApiContext& api, const Request&) {
  auto inside = inside_of(api);
  if (!inside) return tl::unexpected<Error>(inside.error());
  const engine::Journals journals = (*inside)->journals();
  Json shards = Json::array();
  std::size_t dead = 0;
  std::size_t seen = 0;
  for (std::size_t shard = 0; shard < journals.size(); ++shard) {
    const auto marks = engine::read_marks(*journals[shard]);
    if (!marks) return tl::unexpected<Error>(marks.error());
    shards.push_back({{"shard", shard},
                      {"messages", marks->next_sequence > 0 ? marks->next_sequence - 1 : 0},
                      {"low_water", marks->low_water},
                      {"decisions", marks->position}});
    const auto walked =
        engine::each_dead_back(*journals[shard], 0, [&](const engine::DeadLook& look) {
          if (look.state == engine::DeadLetter::State::open) ++dead;
          return ++seen < kMaxDeadScanned;
        });
    if (!walked) return tl::unexpected<Error>(walked.error());
  }
  const auto looks = (*inside)->activations();
  std::size_t busy = 0;
  std::size_t pending = 0;
  Instant now = api.view.now();
  Instant oldest = now;
  for (const engine::ActivationLook& look : *looks) {
    busy += look.idle ? 0 : 1;
    pending += look.pending[0] + look.pending[1];
    if (look.oldest) oldest = std::min(oldest, *look.oldest);
  }
  const std::string trouble = api.parts.engine.trouble();
  const std::vector<engine::ShardStats> stats = api.parts.engine.stats();
  return json_response(
      {{"now", time_json(now.unix_ms)},
       {"generation", api.parts.engine.generation()},
       {"trouble", trouble.empty() ? Json(nullptr) : Json(trouble)},
       {"actors",
        {{"in_memory", looks->size()},
         {"busy", busy},
         {"pending", pending},
         {"oldest_ms", (now - oldest).count()}}},
       {"dead_letters", dead},
       {"steps", steps_by_kind(stats)},
       {"slow_steps", slow_steps(stats)},
       {"shards", std::move(shards)},
       {"commits", commits_json((*inside)->commits(), (*inside)->commit_totals(), kCommitsShown)}});
}

// ---- the scheduler's queue ----

Json queued_json(const ApiContext& api, const fbs::QueuedRunT& queued) {
  return {{"run", queued.run},
          {"fleet", queued.fleet},
          {"repository", queued.repository},
          {"priority", queued.priority},
          {"attempt", queued.attempt},
          {"queued_at", time_json(queued.queued_unix_ms)},
          {"waited_ms", (api.view.now() - Instant{queued.queued_unix_ms}).count()},
          {"why", api.parts.why_queued(queued.run)}};
}

/// What enters and leaves the queue. Why a run waits is the scheduler's word of the moment, and no
/// event.
Result<Response> follow_queue(const ApiContext& api, const Request& request,
                              const std::string& fleet) {
  return list_stream(api, request, "run", [api, fleet](const engine::ActorId& id) {
    if (!fleet.empty()) {
      const auto head = api.view.run_head(id.key);
      if (!head || head->fleet != fleet) return ListItem::other();
    }
    ListItem item = ListItem::left("run", id.key);
    const auto listed = api.parts.engine.list(
        actors::index::kQueued, id.key, id.key + '\0',
        [&](std::string_view, const engine::ActorId&, std::string_view value) {
          if (const auto queued = engine::decode_table<fbs::QueuedRunT>(value))
            item = ListItem::shown(queued_json(api, *queued));
          return false;
        });
    return listed ? item : ListItem::other();
  });
}

Result<Response> list_queue(const ApiContext& api, const Request& request) {
  const auto page = read_page(request);
  if (!page) return tl::unexpected<Error>(page.error());
  const std::string fleet = request.parameter("fleet");
  if (wants_events(request)) return follow_queue(api, request, fleet);
  const engine::Sequence position = api.parts.events.last();
  PageFill fill(*page);
  const auto listed = api.parts.engine.list(
      actors::index::kQueued, page->after.empty() ? "" : page->after + '\0', "\xff",
      [&](std::string_view key, const engine::ActorId&, std::string_view value) {
        if (!fill.room()) return false;
        fill.seen(std::string(key));
        const auto queued = engine::decode_table<fbs::QueuedRunT>(value);
        if (queued && (fleet.empty() || queued->fleet == fleet))
          fill.items.push_back(queued_json(api, *queued));
        return true;
      });
  if (!listed) return tl::unexpected<Error>(listed.error());
  return list_response(api, *page, "queue", fill, position);
}

// ---- dead letters ----

/// A page is below (shard, sequence): shards one after the other, the newest of each first.
Result<std::pair<std::size_t, engine::Sequence>> read_dead_cursor(const Page& page,
                                                                  std::size_t shards) {
  if (page.after.empty()) return std::pair<std::size_t, engine::Sequence>{0, 0};
  const std::size_t dash = page.after.find('-');
  const auto digits = [](std::string_view text) {
    return !text.empty() && text.size() < 19 &&
           text.find_first_not_of("0123456789") == std::string_view::npos;
  };
  if (dash == std::string::npos || !digits(page.after.substr(0, dash)) ||
      !digits(page.after.substr(dash + 1)))
    return fail(Errc::invalid, "not a cursor of this list");
  const std::size_t shard = std::stoull(page.after.substr(0, dash));
  if (shard >= shards) return fail(Errc::invalid, "not a cursor of this list");
  return std::pair<std::size_t, engine::Sequence>{shard, std::stoull(page.after.substr(dash + 1))};
}

Result<Response> list_dead(const ApiContext& api, const Request& request) {
  auto inside = inside_of(api);
  if (!inside) return tl::unexpected<Error>(inside.error());
  const auto page = read_page(request);
  if (!page) return tl::unexpected<Error>(page.error());
  const engine::Journals journals = (*inside)->journals();
  const auto from = read_dead_cursor(*page, journals.size());
  if (!from) return tl::unexpected<Error>(from.error());
  const auto selection = read_letters(request);
  if (!selection) return tl::unexpected<Error>(selection.error());
  if (wants_events(request)) return letter_stream(api, **inside, request, *selection);
  const engine::Sequence position = api.parts.events.last();
  PageFill fill(*page);
  bool room = true;
  for (std::size_t shard = from->first; shard < journals.size() && room; ++shard) {
    const engine::Sequence below = shard == from->first ? from->second : 0;
    const auto walked =
        engine::each_dead_back(*journals[shard], below, [&](const engine::DeadLook& dead) {
          room = fill.room();
          if (!room) return false;
          fill.seen(std::to_string(shard) + "-" + std::to_string(dead.message.sequence));
          if (selection->takes(dead))
            fill.items.push_back(dead_json(static_cast<std::uint32_t>(shard), dead));
          return true;
        });
    if (!walked) return tl::unexpected<Error>(walked.error());
  }
  return list_response(api, *page, "dead_letters", fill, position);
}

}  // namespace

void add_engine_routes(Router& router, ApiContext api) {
  const auto with = [api](auto handler) {
    return [api, handler](const Request& request) { return handler(api, request); };
  };
  router.add({"GET", "/v1/engine", with(get_engine), 0});
  router.add({"GET", "/v1/queue", with(list_queue), 0});
  router.add({"GET", "/v1/dead-letters", with(list_dead), 0});
}

}  // namespace muster::musterd
