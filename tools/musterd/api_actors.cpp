// /v1/actors, /v1/messages, /v1/kinds: what every actor does and why
#include <algorithm>

#include "engine/core/replay.hpp"
#include "tools/musterd/actor_waits.hpp"
#include "tools/musterd/api_inside.hpp"
#include "tools/musterd/causal_tree.hpp"
#include "tools/musterd/cursor.hpp"
#include "tools/musterd/list_stream.hpp"
#include "tools/musterd/row_stream.hpp"

namespace muster::musterd {

// ---- shared ----

Result<engine::Inside*> inside_of(const ApiContext& api) {
  auto* inside = dynamic_cast<engine::Inside*>(&api.parts.engine);
  if (inside == nullptr) return fail(Errc::unreachable, "this engine can't be looked into");
  return inside;
}

Result<engine::ActorLook> actor_of(const ApiContext& api, engine::Inside& inside,
                                   const Request& request) {
  engine::ActorId id = api.view.actor(request.params.at("kind"), request.params.at("key"));
  for (const std::string* part : {&id.kind, &id.key})
    if (part->find('\0') != std::string::npos || part->size() > 1'024)
      return fail(Errc::invalid, "not the name of an actor");
  auto look = engine::look_at(inside.journals(), id);
  if (look && !*look && id.kind == "run") {
    auto run = api.view.find_run(id.key);
    if (!run) return tl::unexpected<Error>(run.error());
    id.key = *run;
    look = engine::look_at(inside.journals(), id);
  }
  if (!look) return tl::unexpected<Error>(look.error());
  if (!*look) return fail(Errc::not_found, "there is no actor " + actor_name(id));
  return std::move(**look);
}

Result<engine::ActorLook> actor_named(const ApiContext& api, engine::Inside& inside,
                                      const std::string& name) {
  const std::size_t slash = name.find('/');
  Request named;
  named.params["kind"] = name.substr(0, slash);
  named.params["key"] = slash == std::string::npos ? "" : name.substr(slash + 1);
  return actor_of(api, inside, named);
}

LiveActors::LiveActors(engine::Inside& inside) : looks_(inside.activations()) {
  for (const engine::ActivationLook& look : *looks_) by_id_.emplace(look.id, &look);
}

const engine::ActivationLook* LiveActors::find(const engine::ActorId& id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

namespace {

Result<Duration> read_age(const Request& request, std::string_view name) {
  const std::string text = request.parameter(name);
  if (text.empty()) return Duration{0};
  auto age = parse_duration(text);
  if (!age) return fail(age.error(), std::string(name) + "=" + text);
  return *age;
}

std::size_t pending_of(const engine::ActivationLook* live) {
  return live == nullptr ? 0 : live->pending[0] + live->pending[1];
}

}  // namespace

Result<Selection> read_selection(const Request& request) {
  Selection selection{request.parameter("kind"),
                      request.parameter("prefix"),
                      request.parameter("fleet"),
                      request.parameter("state"),
                      {},
                      {},
                      0};
  auto older = read_age(request, "older_than");
  if (!older) return tl::unexpected<Error>(older.error());
  auto younger = read_age(request, "younger_than");
  if (!younger) return tl::unexpected<Error>(younger.error());
  auto pending = read_number(request, "min_pending", 0, 1'000'000'000);
  if (!pending) return tl::unexpected<Error>(pending.error());
  selection.older_than = *older;
  selection.younger_than = *younger;
  selection.min_pending = static_cast<std::size_t>(*pending);
  const auto kinds = actor_schemas().kinds();
  if (!selection.kind.empty() &&
      std::find(kinds.begin(), kinds.end(), selection.kind) == kinds.end()) {
    std::string known;
    for (const std::string& kind : kinds) known += (known.empty() ? "" : ", ") + kind;
    return fail(Errc::invalid, "kind=" + selection.kind + " is none of " + known);
  }
  if (!selection.prefix.empty() && selection.kind.empty())
    return fail(Errc::invalid, "a prefix is of the keys of one kind: say kind= too");
  return selection;
}

bool Selection::takes(const engine::ActorLook& actor, const engine::ActivationLook* live,
                      Instant now) const {
  if (!kind.empty() && actor.id.kind != kind) return false;
  if (!actor.id.key.starts_with(prefix)) return false;
  if (pending_of(live) < min_pending) return false;
  const auto field = [&](const char* name) {
    return actor_schemas().state_field(actor.id.kind, actor.state, name);
  };
  if (!fleet.empty() && (actor.id.kind == "fleet" ? actor.id.key : field("fleet")) != fleet)
    return false;
  if (!state.empty() && field("state") != state) return false;
  if (older_than.count() == 0 && younger_than.count() == 0) return true;
  const std::int64_t created = created_unix_ms(actor);
  if (created == 0) return false;
  const Duration age = now - Instant{created};
  return age >= older_than && (younger_than.count() == 0 || age < younger_than);
}

namespace {

// ---- the list ----

/// Mailboxes that are not empty are all in memory: no need to walk over everybody.
Result<Response> list_waiting(const ApiContext& api, engine::Inside& inside,
                              const Selection& selection, const Page& page) {
  LiveActors live(inside);
  Json items = Json::array();
  std::vector<const engine::ActivationLook*> deepest;
  for (const engine::ActivationLook& look : live.all())
    if (pending_of(&look) >= selection.min_pending) deepest.push_back(&look);
  std::stable_sort(deepest.begin(), deepest.end(),
                   [](const auto* a, const auto* b) { return pending_of(a) > pending_of(b); });
  for (const engine::ActivationLook* look : deepest) {
    if (items.size() == page.limit) break;
    auto actor = engine::look_at(inside.journals(), look->id);
    if (!actor) return tl::unexpected<Error>(actor.error());
    if (*actor && selection.takes(**actor, look, api.view.now()))
      items.push_back(actor_line_json(**actor, look, api.view.now()));
  }
  return json_response({{"actors", std::move(items)}, {"next", nullptr}});
}

/// What changes of the actors that are meant. Who is in memory is asked of the shards at most four
/// times a second, however much changes.
Result<Response> follow_actors(const ApiContext& api, engine::Inside& inside,
                               const Request& request, const Selection& selection) {
  if (selection.min_pending > 0)
    return fail(Errc::invalid, "min_pending is of mailboxes, which change all the time: list it");
  struct Looked {
    Instant at;
    std::optional<LiveActors> live;
  };
  static constexpr Duration kFresh{250};
  return list_stream(api, request, selection.kind,
                     [&inside, &view = api.view, org = api.parts.org, selection,
                      looked = std::make_shared<Looked>()](const engine::ActorId& id) {
                       if (id.org != org || !id.key.starts_with(selection.prefix))
                         return ListItem::other();
                       const auto actor = engine::look_at(inside.journals(), id);
                       if (!actor || !*actor) return ListItem::other();
                       const Instant now = view.now();
                       if (!looked->live || now - looked->at >= kFresh) {
                         looked->live.emplace(inside);
                         looked->at = now;
                       }
                       const auto* look = looked->live->find(id);
                       if (!selection.takes(**actor, look, now))
                         return ListItem::left("id", actor_name(id));
                       return ListItem::shown(actor_line_json(**actor, look, now));
                     });
}

Result<Response> list_actors(const ApiContext& api, const Request& request) {
  auto inside = inside_of(api);
  if (!inside) return tl::unexpected<Error>(inside.error());
  const auto page = read_page(request);
  if (!page) return tl::unexpected<Error>(page.error());
  const auto selection = read_selection(request);
  if (!selection) return tl::unexpected<Error>(selection.error());
  if (wants_events(request)) return follow_actors(api, **inside, request, *selection);
  const engine::Sequence position = api.parts.events.last();
  if (selection->min_pending > 0) return list_waiting(api, **inside, *selection, *page);
  const LiveActors live(**inside);
  PageFill fill(*page);
  const Instant now = api.view.now();
  Result<void> parsed{};
  const engine::ActorQuery query{api.parts.org, selection->kind, selection->prefix, page->after};
  const auto listed = engine::each_actor(
      (*inside)->journals(), query,
      [&](const engine::ActorId& id, std::string_view head, const std::string& key) {
        if (!fill.room()) return false;
        fill.seen(key);
        const auto actor = engine::parse_head(id, head);
        if (!actor) {
          parsed = tl::unexpected<Error>(actor.error());
          return false;
        }
        const auto* look = live.find(id);
        if (selection->takes(*actor, look, now))
          fill.items.push_back(actor_line_json(*actor, look, now));
        return true;
      });
  if (!listed) return tl::unexpected<Error>(listed.error());
  if (!parsed) return tl::unexpected<Error>(parsed.error());
  return list_response(api, *page, "actors", fill, position);
}

// ---- one ----

Result<Json> effects_json(const engine::Inside& inside, const engine::ActorId& id) {
  const auto effects = engine::pending_effects(inside.journals(), id, kMaxEffectsShown);
  if (!effects) return tl::unexpected<Error>(effects.error());
  Json list = Json::array();
  for (const engine::PendingEffect& effect : *effects)
    list.push_back(
        {{"port", effect.port},
         {"key", effect.key},
         {"sequence", effect.sequence},
         {"deadline", time_json(effect.deadline.unix_ms)},
         {"request", decoded_or_why(actor_schemas().effect(effect.bytes), effect.bytes.size())}});
  return list;
}

/// The newest dead letter to an actor, or null.
Result<Json> last_error_json(const engine::Journals& journals, const engine::ActorId& id) {
  Json last;
  std::size_t scanned = 0;
  const std::uint32_t shard = engine::shard_of(journals, id);
  const auto walked =
      engine::each_dead_back(*journals[shard], 0, [&](const engine::DeadLook& dead) {
        if (dead.message.to == id) last = dead_json(shard, dead);
        return last.is_null() && ++scanned < kMaxDeadScanned;
      });
  if (!walked) return tl::unexpected<Error>(walked.error());
  return last;
}

Json timers_json(const engine::ActorLook& actor, Instant now) {
  Json timers = Json::array();
  for (const engine::TimerLook& timer : actor.timers)
    timers.push_back({{"name", timer.name},
                      {"due", time_json(timer.due.unix_ms)},
                      {"in_ms", (timer.due - now).count()},
                      {"generation", timer.generation}});
  return timers;
}

/// What an actor waits for besides its messages, timers and effects; "" when nothing is known.
std::string waits_for(const ApiContext& api, const engine::ActorLook& actor) {
  if (actor.paused) return "an operator: it is paused";
  if (actor.id.kind != "run") return what_it_waits_for(actor.id.kind, actor.state);
  const auto field = [&](const char* name) {
    return actor_schemas().state_field("run", actor.state, name);
  };
  if (field("state") == "queued") return api.parts.why_queued(actor.id.key);
  return field("waiting_for");
}

/// The host of a run, and the epoch by which that host's words count; null before its first.
Json placement_json(const engine::ActorLook& actor) {
  const auto field = [&](const char* name) {
    return actor_schemas().state_field(actor.id.kind, actor.state, name);
  };
  const auto number = [&](const char* name) {
    const std::string text = field(name);
    return text.empty() ? 0 : std::stoll(text);
  };
  const std::string host = actor.id.kind == "run" ? field("host") : "";
  if (host.empty()) return nullptr;
  return {{"host", host},
          {"epoch",
           {{"generation", number("epoch_generation")},
            {"session", number("session")},
            {"attempt", number("attempt")}}}};
}

Result<Response> get_actor(const ApiContext& api, const Request& request) {
  auto inside = inside_of(api);
  if (!inside) return tl::unexpected<Error>(inside.error());
  const auto actor = actor_of(api, **inside, request);
  if (!actor) return tl::unexpected<Error>(actor.error());
  const engine::Journals journals = (*inside)->journals();
  const auto pending = engine::pending_messages(journals, *actor, kMaxPendingShown);
  if (!pending) return tl::unexpected<Error>(pending.error());
  auto effects = effects_json(**inside, actor->id);
  if (!effects) return tl::unexpected<Error>(effects.error());
  auto last_error = last_error_json(journals, actor->id);
  if (!last_error) return tl::unexpected<Error>(last_error.error());
  const auto live = (*inside)->activation(actor->id);
  const auto kind = (*inside)->kinds().find(actor->id.kind);
  const Instant now = api.view.now();
  Json json = {{"id", actor_name(actor->id)},
               {"kind", actor->id.kind},
               {"key", actor->id.key},
               {"shard", engine::shard_of(journals, actor->id)},
               {"version", actor->version},
               {"version_now", kind == (*inside)->kinds().end() ? 0 : kind->second.version},
               {"incarnation", actor->incarnation},
               {"decisions", actor->decision},
               {"consumed", {{"normal", actor->consumed[0]}, {"operator", actor->consumed[1]}}},
               {"finished", actor->finished},
               {"paused", actor->paused},
               {"waits_for", waits_for(api, *actor)},
               {"placement", placement_json(*actor)},
               {"created_at", time_json(created_unix_ms(*actor))},
               {"activation", activation_json(live, !pending->messages.empty(), now)},
               {"pending", Json::array()},
               {"more_pending", pending->more},
               {"timers", timers_json(*actor, now)},
               {"effects", std::move(*effects)},
               {"last_error", std::move(*last_error)}};
  for (const engine::Envelope& message : pending->messages)
    json["pending"].push_back(envelope_json(engine::shard_of(journals, actor->id), message));
  json["state"] =
      decoded_or_why(actor_schemas().state(actor->id.kind, actor->state), actor->state.size());
  return json_response(json);
}

Json stored_row_json(const std::string& kind, std::string_view key, std::string_view value) {
  return {{"row", std::string(key)},
          {"value", decoded_or_why(actor_schemas().row(kind, key, value), value.size())}};
}

Result<Response> follow_rows(const ApiContext& api, const Request& request,
                             const engine::ActorId& actor, const std::string& prefix) {
  const auto walk = [&engine = api.parts.engine, actor, prefix](const RowList::Each& each) {
    return engine.rows(actor, prefix, storage::prefix_end(prefix),
                       [&](std::string_view key, std::string_view value) {
                         return each(std::string(key), content_of(value), [&] {
                           return std::optional<Json>(stored_row_json(actor.kind, key, value));
                         });
                       });
  };
  return row_stream(api, request, {{actor}, "row", walk});
}

Result<Response> list_rows(const ApiContext& api, const Request& request) {
  auto inside = inside_of(api);
  if (!inside) return tl::unexpected<Error>(inside.error());
  const auto actor = actor_of(api, **inside, request);
  if (!actor) return tl::unexpected<Error>(actor.error());
  const std::string prefix = request.parameter("prefix");
  if (wants_events(request)) return follow_rows(api, request, actor->id, prefix);
  const auto page = read_page(request);
  if (!page) return tl::unexpected<Error>(page.error());
  const engine::Sequence position = api.parts.events.last();
  PageFill fill(*page);
  RowContents shown;
  const auto listed = api.parts.engine.rows(
      actor->id, page->after.empty() ? prefix : std::max(prefix, page->after + '\0'),
      storage::prefix_end(prefix), [&](std::string_view key, std::string_view value) {
        if (!fill.room()) return false;
        fill.seen(std::string(key));
        fill.items.push_back(stored_row_json(actor->id.kind, key, value));
        shown.emplace_back(key, content_of(value));
        return true;
      });
  if (!listed) return tl::unexpected<Error>(listed.error());
  return row_list_response(api, *page, "rows", fill, shown, position);
}

// ---- the journal ----

Result<std::uint64_t> read_position(const Page& page) {
  if (page.after.empty()) return 0;
  if (page.after.size() > 19 || page.after.find_first_not_of("0123456789") != std::string::npos)
    return fail(Errc::invalid, "not a cursor of this list");
  return std::stoull(page.after);
}

}  // namespace

Result<Json> steps_json(const storage::Journal& journal, std::uint32_t shard,
                        const std::vector<engine::StepLook>& steps) {
  std::vector<engine::Sequence> wanted;
  for (const engine::StepLook& step : steps) wanted.push_back(step.sequence);
  const auto messages = engine::read_messages(journal, std::move(wanted));
  if (!messages) return tl::unexpected<Error>(messages.error());
  Json list = Json::array();
  for (const engine::StepLook& step : steps) {
    const auto found = std::lower_bound(
        messages->begin(), messages->end(), step.sequence,
        [](const engine::Envelope& message, engine::Sequence at) { return message.sequence < at; });
    const bool kept = found != messages->end() && found->sequence == step.sequence;
    list.push_back(step_json(shard, step, kept ? &*found : nullptr));
  }
  return list;
}

namespace {

Result<Response> actor_journal(const ApiContext& api, const Request& request) {
  auto inside = inside_of(api);
  if (!inside) return tl::unexpected<Error>(inside.error());
  const auto actor = actor_of(api, **inside, request);
  if (!actor) return tl::unexpected<Error>(actor.error());
  if (wants_events(request))
    return step_stream(api, **inside, request,
                       [id = actor->id](const engine::StepLook& step) { return step.actor == id; });
  const engine::Sequence position = api.parts.events.last();
  const auto page = read_page(request);
  if (!page) return tl::unexpected<Error>(page.error());
  const auto below = read_position(*page);
  if (!below) return tl::unexpected<Error>(below.error());
  const engine::Journals journals = (*inside)->journals();
  const std::uint32_t shard = engine::shard_of(journals, actor->id);
  std::vector<engine::StepLook> steps;
  const auto end = engine::each_step_back(
      *journals[shard], &actor->id, *below, kMaxStepsScanned, [&](const engine::StepLook& step) {
        steps.push_back(step);
        return steps.size() < page->limit && step.sequence != actor->incarnation;
      });
  if (!end) return tl::unexpected<Error>(end.error());
  auto consumed = steps_json(*journals[shard], shard, steps);
  if (!consumed) return tl::unexpected<Error>(consumed.error());
  const bool whole =
      end->next == 0 || (!steps.empty() && steps.back().sequence == actor->incarnation);
  const auto pending = engine::pending_messages(journals, *actor, kMaxPendingShown);
  if (!pending) return tl::unexpected<Error>(pending.error());
  Json waiting = Json::array();
  if (*below == 0)
    for (const engine::Envelope& message : pending->messages)
      waiting.push_back(envelope_json(shard, message));
  return at_position(
      {{"actor", actor_name(actor->id)},
       {"pending", std::move(waiting)},
       {"more_pending", pending->more},
       {"consumed", std::move(*consumed)},
       {"from_the_beginning", !steps.empty() && steps.back().sequence == actor->incarnation},
       {"next", whole ? Json(nullptr) : Json(encode_cursor(std::to_string(end->next)))}},
      position);
}

Result<std::uint64_t> path_number(const Request& request, const std::string& name) {
  Request numbered;
  numbered.query.emplace(name, request.params.at(name));
  return read_number(numbered, name, 0, ~std::uint64_t{0} / 2);
}

Result<Response> get_message(const ApiContext& api, const Request& request) {
  auto inside = inside_of(api);
  if (!inside) return tl::unexpected<Error>(inside.error());
  const auto sequence = path_number(request, "sequence");
  if (!sequence) return tl::unexpected<Error>(sequence.error());
  const engine::Journals journals = (*inside)->journals();
  const auto shard = read_number(request, "shard", 0, journals.size() - 1);
  if (!shard) return tl::unexpected<Error>(shard.error());
  const storage::Journal& journal = *journals[*shard];
  const auto message = engine::read_message(journal, *sequence);
  if (!message) return tl::unexpected<Error>(message.error());
  if (!*message)
    return fail(Errc::not_found, "message " + std::to_string(*sequence) +
                                     " is not in the journal: it never was, "
                                     "or is older than what is kept");
  Json json = envelope_json(static_cast<std::uint32_t>(*shard), **message);
  json["step"] = nullptr;
  const auto walked = engine::each_step_back(
      journal, &(*message)->to, 0, kMaxStepsScanned, [&](const engine::StepLook& step) {
        if (step.sequence != *sequence) return step.at >= (*message)->enqueued_at;
        json["step"] = step_json(static_cast<std::uint32_t>(*shard), step, nullptr);
        json["step"].erase("message");
        return false;
      });
  if (!walked) return tl::unexpected<Error>(walked.error());
  return json_response(json);
}

Result<Response> get_tree(const ApiContext& api, const Request& request) {
  auto inside = inside_of(api);
  if (!inside) return tl::unexpected<Error>(inside.error());
  const engine::Journals journals = (*inside)->journals();
  const auto sequence = path_number(request, "sequence");
  if (!sequence) return tl::unexpected<Error>(sequence.error());
  const auto shard = read_number(request, "shard", 0, journals.size() - 1);
  if (!shard) return tl::unexpected<Error>(shard.error());
  const auto limit = read_number(request, "limit", kMaxTreeMessages, kMaxTreeMessages);
  if (!limit) return tl::unexpected<Error>(limit.error());
  const auto tree = causal_tree(journals, static_cast<std::uint32_t>(*shard), *sequence,
                                static_cast<std::size_t>(*limit));
  if (!tree) return tl::unexpected<Error>(tree.error());
  return json_response(tree_json(*tree));
}

/// The state as it was: made again from the journal.
Result<Response> get_state(const ApiContext& api, const Request& request) {
  auto inside = inside_of(api);
  if (!inside) return tl::unexpected<Error>(inside.error());
  const auto actor = actor_of(api, **inside, request);
  if (!actor) return tl::unexpected<Error>(actor.error());
  const auto sequence = path_number(request, "sequence");
  if (!sequence) return tl::unexpected<Error>(sequence.error());
  const auto kind = (*inside)->kinds().find(actor->id.kind);
  if (kind == (*inside)->kinds().end())
    return fail(Errc::not_found, "this program knows no kind " + actor->id.kind);
  const auto then = engine::replay((*inside)->journals(), kind->second, *actor, *sequence);
  if (!then) return tl::unexpected<Error>(then.error());
  Json rows = Json::array();
  for (const auto& [key, value] : then->rows) {
    if (rows.size() == kMaxPage) break;
    rows.push_back(
        {{"row", key},
         {"value", decoded_or_why(actor_schemas().row(actor->id.kind, key, value), value.size())}});
  }
  return json_response({{"id", actor_name(actor->id)},
                        {"sequence", then->last_sequence},
                        {"at", time_json(then->at.unix_ms)},
                        {"steps", then->steps},
                        {"snapshot", then->snapshot == 0 ? Json(nullptr) : Json(then->snapshot)},
                        {"newest", then->newest},
                        {"same_as_kept", then->newest ? Json(then->same_as_kept) : Json(nullptr)},
                        {"version_then", then->oldest_version},
                        {"version_now", then->version},
                        {"state", decoded_or_why(actor_schemas().state(actor->id.kind, then->state),
                                                 then->state.size())},
                        {"row_count", then->rows.size()},
                        {"rows", std::move(rows)}});
}

Result<Response> list_kinds(const ApiContext& api, const Request&) {
  Json kinds = Json::array();
  for (const std::string& name : actor_schemas().kinds()) {
    auto messages = actor_schemas().describe(name);
    if (!messages) return tl::unexpected<Error>(messages.error());
    int version = 0;
    if (const auto inside = inside_of(api))
      if (const auto kind = (*inside)->kinds().find(name); kind != (*inside)->kinds().end())
        version = kind->second.version;
    kinds.push_back({{"name", name}, {"version", version}, {"messages", std::move(*messages)}});
  }
  return json_response({{"kinds", std::move(kinds)}});
}

}  // namespace

void add_actor_routes(Router& router, ApiContext api) {
  const auto with = [api](auto handler) {
    return [api, handler](const Request& request) { return handler(api, request); };
  };
  router.add({"GET", "/v1/actors", with(list_actors), 0});
  router.add({"GET", "/v1/actors/{kind}/{key}", with(get_actor), 0});
  router.add({"GET", "/v1/actors/{kind}/{key}/rows", with(list_rows), 0});
  router.add({"GET", "/v1/actors/{kind}/{key}/journal", with(actor_journal), 0});
  router.add({"GET", "/v1/messages/{sequence}", with(get_message), 0});
  router.add({"GET", "/v1/messages/{sequence}/tree", with(get_tree), 0});
  router.add({"GET", "/v1/actors/{kind}/{key}/states/{sequence}", with(get_state), 0});
  router.add({"GET", "/v1/kinds", with(list_kinds), 0});
}

}  // namespace muster::musterd
