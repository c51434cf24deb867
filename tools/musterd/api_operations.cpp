// /v1/operations, /v1/actors/{kind}/{key}/messages: what operators do, to one or to thousands
#include <algorithm>
#include <memory>
#include <set>
#include <span>

#include "actors/common.hpp"
#include "engine/core/rehearse.hpp"
#include "storage/base/ids.hpp"
#include "tools/musterd/api_inside.hpp"
#include "tools/musterd/move_room.hpp"
#include "tools/musterd/operation.hpp"

namespace muster::musterd {
namespace {

using engine::OperatorCommand;

/// Who and why, of every write here.
struct Order {
  std::string action;
  std::string by;
  std::string reason;
  std::string digest;
  std::string correlation;
  bool dry_run = false;
  // Of a move:
  std::string to;                   ///< Empty: any other host.
  std::shared_ptr<MoveRoom> rooms;  ///< Shared by the copies that each target keeps.
};

Result<Order> read_order(const Json& body, const Request& request) {
  Order order;
  auto by = read_text(body, "by");
  if (!by) return tl::unexpected<Error>(by.error());
  constexpr std::size_t kLongestName = 256;
  if (by->empty() || by->size() > kLongestName)
    return fail(Errc::invalid, "'by' is required: who gives the order, in 256 bytes");
  by = read_by(body, request);
  if (!by) return tl::unexpected<Error>(by.error());
  auto reason = read_text(body, "reason");
  if (!reason) return tl::unexpected<Error>(reason.error());
  if (reason->empty())
    return fail(Errc::invalid, "'reason' is required: why, for whoever looks later");
  auto dry = read_flag(body, "dry_run");
  if (!dry) return tl::unexpected<Error>(dry.error());
  order.by = std::move(*by);
  order.reason = std::move(*reason);
  order.dry_run = *dry;
  order.digest = sha256_hex(request.method + "\n" + request.path + "\n" + request.body);
  order.correlation = request.header("Idempotency-Key");
  return order;
}

// ---- what an action is to an actor ----

template <class Message>
Message ordered(const Order& order) {
  Message message;
  message.by = order.by;
  if constexpr (requires { message.reason; }) message.reason = order.reason;
  return message;
}

/// The message of its kind; nothing when the action is none of its kind's.
std::optional<engine::Payload> message_for(const Order& order, const std::string& kind) {
  const std::string& action = order.action;
  if (kind == "fleet") {
    if (action == "pause")
      return payload_of<fbs::FleetBodyUnionTraits>(ordered<fbs::PauseFleetT>(order));
    if (action == "resume")
      return payload_of<fbs::FleetBodyUnionTraits>(ordered<fbs::ResumeFleetT>(order));
    if (action == "cancel")
      return payload_of<fbs::FleetBodyUnionTraits>(ordered<fbs::CancelFleetT>(order));
    if (action == "retry")
      return payload_of<fbs::FleetBodyUnionTraits>(ordered<fbs::RetryFleetT>(order));
  }
  if (kind == "swarm") {
    if (action == "pause")
      return payload_of<fbs::SwarmBodyUnionTraits>(ordered<fbs::PauseSwarmT>(order));
    if (action == "resume")
      return payload_of<fbs::SwarmBodyUnionTraits>(ordered<fbs::ResumeSwarmT>(order));
    if (action == "drain")
      return payload_of<fbs::SwarmBodyUnionTraits>(ordered<fbs::DrainSwarmT>(order));
    if (action == "cancel")
      return payload_of<fbs::SwarmBodyUnionTraits>(ordered<fbs::CancelSwarmT>(order));
    if (action == "retry")
      return payload_of<fbs::SwarmBodyUnionTraits>(ordered<fbs::RetrySwarmT>(order));
  }
  if (kind == "run" && action == "cancel")
    return payload_of<fbs::RunBodyUnionTraits>(ordered<fbs::CancelRunT>(order));
  if (kind == "run" && action == "release")
    return payload_of<fbs::RunBodyUnionTraits>(ordered<fbs::ReleaseRunT>(order));
  if (kind == "run" && action == "move") {
    auto message = ordered<fbs::ReleaseRunT>(order);
    message.move = true;
    message.to = order.to;
    return payload_of<fbs::RunBodyUnionTraits>(message);
  }
  if (kind == "host") {
    if (action == "cordon")
      return payload_of<fbs::HostBodyUnionTraits>(ordered<fbs::CordonT>(order));
    if (action == "uncordon")
      return payload_of<fbs::HostBodyUnionTraits>(ordered<fbs::UncordonT>(order));
    if (action == "drain") return payload_of<fbs::HostBodyUnionTraits>(ordered<fbs::DrainT>(order));
  }
  return std::nullopt;
}

/// What the engine does to an actor of any kind. A fleet has a pause of its own, as a swarm has: it
/// goes on hearing of its runs.
std::optional<OperatorCommand::Action> command_for(const std::string& action,
                                                   const std::string& kind) {
  if (action == "passivate") return OperatorCommand::Action::passivate;
  if (kind == "fleet" || kind == "swarm") return std::nullopt;
  if (action == "pause") return OperatorCommand::Action::pause;
  if (action == "resume") return OperatorCommand::Action::resume;
  return std::nullopt;
}

OperatorCommand command_of(const Order& order, OperatorCommand::Action action, std::string key) {
  OperatorCommand command;
  command.action = action;
  command.who = order.by;
  command.why = order.reason;
  command.key = std::move(key);
  command.digest = order.digest;
  return command;
}

/// False when the actor would refuse it, which is noted.
bool rehearsed(OperationPlan& plan, engine::Inside& inside, const engine::ActorLook& actor,
               const engine::Payload& payload, Instant now) {
  const auto kind = inside.kinds().find(actor.id.kind);
  if (kind == inside.kinds().end()) return true;
  const auto decision = engine::rehearse(inside.journals(), kind->second, actor, payload, now);
  if (!decision || (decision->reply && decision->reply->error)) {
    plan.impossible.push_back(
        {actor_name(actor.id),
         decision ? Error{*decision->reply->error, decision->reply->body} : decision.error()});
    return false;
  }
  plan.messages += decision->sends.size();
  plan.effects += decision->effects.size();
  return true;
}

/// False when no host takes the run that is to move, which is noted. What stands on no host says so itself.
bool has_room(OperationPlan& plan, const ApiContext& api, const Order& order,
              const engine::ActorId& run) {
  const auto head = api.view.run_head(run.key);
  const bool moves = head && (actors::is_on_host(head->state) || head->moving);
  const auto taken = moves ? order.rooms->take(run.key, *head, order.to) : Result<void>();
  if (!taken) plan.impossible.push_back({actor_name(run), taken.error()});
  return taken.has_value();
}

void add_actor(OperationPlan& plan, const ApiContext& api, engine::Inside& inside,
               const Order& order, const engine::ActorLook& actor) {
  engine::Engine& engine = api.parts.engine;
  const engine::ActorId& id = actor.id;
  const std::string name = actor_name(id);
  if (auto payload = message_for(order, id.kind)) {
    if (order.rooms != nullptr && !has_room(plan, api, order, id)) return;
    if (order.dry_run && !rehearsed(plan, inside, actor, *payload, api.view.now())) return;
    plan.targets.push_back(
        {name, [&engine, order, id, payload](std::string key, engine::CallDone done) {
           engine.call({id,
                        *payload,
                        engine::Lane::operator_,
                        std::move(key),
                        order.digest,
                        order.correlation,
                        {},
                        {}},
                       std::move(done));
         }});
  } else if (const auto action = command_for(order.action, id.kind)) {
    plan.targets.push_back(
        {name, [&engine, order, id, action](std::string key, engine::CallDone done) {
           OperatorCommand command = command_of(order, *action, std::move(key));
           command.actor = id;
           engine.operate(std::move(command), std::move(done));
         }});
  } else {
    plan.impossible.push_back(
        {name, {Errc::invalid, order.action + " is nothing that a " + id.kind + " knows"}});
  }
}

// ---- which are meant ----

Result<std::vector<std::string>> read_ids(const Json& body) {
  std::vector<std::string> ids;
  const auto found = body.find("ids");
  if (found == body.end()) return ids;
  if (!found->is_array()) return fail(Errc::invalid, "'ids' must be a list");
  if (found->size() > kMaxTargets)
    return fail(Errc::invalid, "at most " + std::to_string(kMaxTargets) + " ids at once");
  for (const Json& id : *found) {
    if (!id.is_string()) return fail(Errc::invalid, "'ids' must be a list of texts");
    ids.push_back(id.get<std::string>());
  }
  return ids;
}

tl::unexpected<Error> too_many() {
  return fail(Errc::invalid,
              "more than " + std::to_string(kMaxTargets) + " are meant: narrow it down");
}

Result<void> plan_named(OperationPlan& plan, const ApiContext& api, engine::Inside& inside,
                        const Order& order, const std::vector<std::string>& ids) {
  for (const std::string& name : ids) {
    const auto actor = actor_named(api, inside, name);
    if (actor)
      add_actor(plan, api, inside, order, *actor);
    else
      plan.impossible.push_back({name, actor.error()});
  }
  return {};
}

constexpr std::string_view kActorFilters[] = {"kind",       "prefix",       "fleet",      "state",
                                             "older_than", "younger_than", "min_pending"};
constexpr std::string_view kLetterFilters[] = {"kind", "actor", "state"};

/// The filters of `select`, as a request's parameters. One that is not known or says nothing is
/// refused: without it the order would be for more than was meant.
Result<Request> selecting(const Json& body, std::span<const std::string_view> known) {
  Request request;
  for (const auto& [key, value] : body.at("select").items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      std::string names;
      for (const std::string_view name : known)
        names += (names.empty() ? "" : ", ") + std::string(name);
      return fail(Errc::invalid, "'select." + key + "' is none of " + names);
    }
    if (!value.is_string() && !value.is_number_unsigned())
      return fail(Errc::invalid, "'select." + key + "' must be a text or a number");
    if (value.is_string() && value.get_ref<const std::string&>().empty())
      return fail(Errc::invalid, "'select." + key + "' is empty, which would mean all: leave it out");
    request.query.emplace(key, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return request;
}

Result<void> plan_selected(OperationPlan& plan, const ApiContext& api, engine::Inside& inside,
                           const Order& order, const Json& body) {
  const auto request = selecting(body, kActorFilters);
  if (!request) return tl::unexpected<Error>(request.error());
  const auto selection = read_selection(*request);
  if (!selection) return tl::unexpected<Error>(selection.error());
  const LiveActors live(inside);
  const Instant now = api.view.now();
  Result<void> parsed{};
  const engine::ActorQuery query{api.parts.org, selection->kind, selection->prefix, ""};
  const auto walked =
      engine::each_actor(inside.journals(), query,
                         [&](const engine::ActorId& id, std::string_view head, const std::string&) {
                           const auto actor = engine::parse_head(id, head);
                           if (!actor)
                             parsed = tl::unexpected<Error>(actor.error());
                           else if (selection->takes(*actor, live.find(id), now))
                             add_actor(plan, api, inside, order, *actor);
                           if (plan.targets.size() + plan.impossible.size() > kMaxTargets)
                             parsed = too_many();
                           return parsed.has_value();
                         });
  return walked ? parsed : walked;
}

Result<void> plan_letters(OperationPlan& plan, const ApiContext& api, engine::Inside& inside,
                          const Order& order, const std::vector<std::string>& ids,
                          const Json& body) {
  const auto action =
      order.action == "replay" ? OperatorCommand::Action::replay : OperatorCommand::Action::discard;
  engine::Engine& engine = api.parts.engine;
  const auto add = [&](engine::LetterId letter) {
    plan.targets.push_back({letter.to_string(), [&engine, order, action, letter](
                                                    std::string key, engine::CallDone done) {
                              OperatorCommand command = command_of(order, action, std::move(key));
                              command.letter = letter;
                              engine.operate(std::move(command), std::move(done));
                            }});
  };
  for (const std::string& id : ids) {
    const auto letter = engine::LetterId::parse(id);
    if (!letter) return tl::unexpected<Error>(letter.error());
    add(*letter);
  }
  if (!body.contains("select")) return {};
  const auto request = selecting(body, kLetterFilters);
  if (!request) return tl::unexpected<Error>(request.error());
  const auto wanted = read_letters(*request);
  if (!wanted) return tl::unexpected<Error>(wanted.error());
  const engine::Journals journals = inside.journals();
  for (std::uint32_t shard = 0; shard < journals.size(); ++shard) {
    const auto walked =
        engine::each_dead_back(*journals[shard], 0, [&](const engine::DeadLook& dead) {
          if (wanted->takes(dead)) add({shard, dead.message.sequence});
          return plan.targets.size() <= kMaxTargets;
        });
    if (!walked) return walked;
  }
  return plan.targets.size() > kMaxTargets ? Result<void>(too_many()) : Result<void>();
}

bool closes_letters(const std::string& action) {
  return action == "replay" || action == "discard";
}

Result<OperationPlan> make_plan(const ApiContext& api, engine::Inside& inside, const Order& order,
                                const Json& body) {
  static const std::set<std::string> kActions{"pause",  "resume",   "cancel", "retry",
                                              "cordon", "uncordon", "drain",  "passivate",
                                              "replay", "discard",  "release", "move"};
  if (!kActions.contains(order.action)) {
    std::string known;
    for (const std::string& action : kActions) known += (known.empty() ? "" : ", ") + action;
    return fail(Errc::invalid, "action '" + order.action + "' is none of " + known);
  }
  OperationPlan plan{order.action, {}, {}};
  const auto ids = read_ids(body);
  if (!ids) return tl::unexpected<Error>(ids.error());
  const auto select = body.find("select");
  const bool selects = select != body.end();
  if (selects && !select->is_object()) return fail(Errc::invalid, "'select' must be an object");
  if (ids->empty() && (!selects || select->empty()))
    return fail(Errc::invalid, "say which: 'ids', or at least one filter in 'select'");
  const bool letters = closes_letters(order.action);
  auto planned = letters ? plan_letters(plan, api, inside, order, *ids, body)
                         : plan_named(plan, api, inside, order, *ids);
  if (planned && selects && !letters) planned = plan_selected(plan, api, inside, order, body);
  if (!planned) return tl::unexpected<Error>(planned.error());
  return plan;
}

/// Where to, and the room that hosts have for it.
Result<void> read_move(Order& order, const ApiContext& api, const Json& body) {
  auto to = read_text(body, "to");
  if (!to) return tl::unexpected<Error>(to.error());
  if (order.action != "move" && !to->empty())
    return fail(Errc::invalid, "'to' belongs to the action 'move'");
  if (order.action != "move") return {};
  auto rooms = MoveRoom::read(api.view);
  if (!rooms) return tl::unexpected<Error>(rooms.error());
  order.to = std::move(*to);
  order.rooms = std::make_shared<MoveRoom>(std::move(*rooms));
  return {};
}

Result<Response> operate(const ApiContext& api, const Request& request) {
  auto inside = inside_of(api);
  if (!inside) return tl::unexpected<Error>(inside.error());
  const auto body = read_object(request, {"action", "ids", "select", "to", "reason", "by", "dry_run"});
  if (!body) return tl::unexpected<Error>(body.error());
  auto order = read_order(*body, request);
  if (!order) return tl::unexpected<Error>(order.error());
  auto action = read_text(*body, "action");
  if (!action) return tl::unexpected<Error>(action.error());
  order->action = std::move(*action);
  if (auto read = read_move(*order, api, *body); !read) return tl::unexpected<Error>(read.error());
  const auto plan = make_plan(api, **inside, *order, *body);
  if (!plan) return tl::unexpected<Error>(plan.error());
  if (order->dry_run) return json_response(operation_json(*plan, nullptr));
  const std::string where = order->to.empty() ? "" : " to host " + order->to;
  if (auto noted = note_order(
          api, request,
          {order->by, "operation." + order->action, targets_text(*plan) + where, order->reason});
      !noted)
    return tl::unexpected<Error>(noted.error());
  const OperationOutcome outcome = carry_out(*plan, order->correlation);
  return json_response(operation_json(*plan, &outcome));
}

// ---- one message ----

/// What the actor would decide of it, as far as its committed state tells.
Json decides_json(engine::Inside& inside, const engine::ActorLook& actor,
                  const engine::Payload& payload, Instant now) {
  const auto kind = inside.kinds().find(actor.id.kind);
  if (kind == inside.kinds().end()) return nullptr;
  const auto decision = engine::rehearse(inside.journals(), kind->second, actor, payload, now);
  Json json = {{"dead_letter", nullptr},
               {"refused", nullptr},
               {"messages", Json::array()},
               {"effects", Json::array()}};
  if (!decision) {
    json["dead_letter"] = decision.error().message;
    return json;
  }
  if (decision->reply && decision->reply->error) json["refused"] = decision->reply->body;
  for (const engine::Outgoing& sent : decision->sends)
    json["messages"].push_back(
        {{"to", actor_name(sent.to)}, {"type", message_name(sent.to.kind, sent.payload.type)}});
  for (const engine::EffectRequest& effect : decision->effects)
    json["effects"].push_back({{"key", effect.key}, {"port", effect.port}});
  return json;
}

Result<Response> send_message(const ApiContext& api, const Request& request) {
  auto inside = inside_of(api);
  if (!inside) return tl::unexpected<Error>(inside.error());
  const auto body = read_object(request, {"type", "message", "reason", "by", "dry_run"});
  if (!body) return tl::unexpected<Error>(body.error());
  const auto order = read_order(*body, request);
  if (!order) return tl::unexpected<Error>(order.error());
  const auto type = read_text(*body, "type");
  if (!type) return tl::unexpected<Error>(type.error());
  const auto actor = actor_of(api, **inside, request);
  if (!actor) return tl::unexpected<Error>(actor.error());
  const Json fields = body->value("message", Json::object());
  if (!fields.is_object()) return fail(Errc::invalid, "'message' must be an object: its fields");
  auto payload = actor_schemas().encode(actor->id.kind, *type, fields);
  if (!payload) return tl::unexpected<Error>(payload.error());
  Json json = {{"to", actor_name(actor->id)},
               {"type", *type},
               {"dry_run", order->dry_run},
               {"message", decoded_or_why(actor_schemas().message(actor->id.kind, *payload),
                                          payload->bytes.size())}};
  if (order->dry_run) {
    json["decides"] = decides_json(**inside, *actor, *payload, api.view.now());
    return json_response(json);
  }
  if (auto noted = note_order(
          api, request,
          {order->by, "message.send", actor_name(actor->id) + " " + *type, order->reason});
      !noted)
    return tl::unexpected<Error>(noted.error());
  const auto reply = call_actor(api, request, actor->id, std::move(*payload));
  if (!reply) return tl::unexpected<Error>(reply.error());
  return json_response(json);
}

}  // namespace

void add_operation_routes(Router& router, ApiContext api) {
  const auto with = [api](auto handler) {
    return [api, handler](const Request& request) { return handler(api, request); };
  };
  router.add({"POST", "/v1/operations", with(operate), kMaxBody});
  router.add({"POST", "/v1/actors/{kind}/{key}/messages", with(send_message), kMaxBody});
}

}  // namespace muster::musterd
