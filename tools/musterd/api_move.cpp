// POST /v1/runs/{id}/move: a run leaves its host and begins again on another
#include "engine/core/rehearse.hpp"
#include "tools/musterd/api_inside.hpp"
#include "tools/musterd/move_room.hpp"

namespace muster::musterd {
namespace {

/// What the run would say to it, as far as it can be known beforehand.
Result<void> rehearse_move(const ApiContext& api, const engine::ActorId& run,
                           const engine::Payload& payload) {
  const auto inside = inside_of(api);
  if (!inside) return {};  // This engine can't be looked into.
  const auto kind = (*inside)->kinds().find(run.kind);
  const auto actor = engine::look_at((*inside)->journals(), run);
  if (!actor) return tl::unexpected<Error>(actor.error());
  if (kind == (*inside)->kinds().end() || !*actor) return {};
  const auto decision =
      engine::rehearse((*inside)->journals(), kind->second, **actor, payload, api.view.now());
  if (!decision) return tl::unexpected<Error>(decision.error());
  if (decision->reply && decision->reply->error)
    return fail(*decision->reply->error, decision->reply->body);
  return {};
}

Result<Response> move_run(const ApiContext& api, const Request& request) {
  const auto id = api.view.find_run(request.params.at("id"));
  if (!id) return tl::unexpected<Error>(id.error());
  const auto body = read_object(request, {"to", "reason", "by", "dry_run"});
  if (!body) return tl::unexpected<Error>(body.error());
  const auto to = read_text(*body, "to");
  if (!to) return tl::unexpected<Error>(to.error());
  auto reason = read_text(*body, "reason");
  if (!reason) return tl::unexpected<Error>(reason.error());
  auto by = read_by(*body, request);
  if (!by) return tl::unexpected<Error>(by.error());
  const auto dry = read_flag(*body, "dry_run");
  if (!dry) return tl::unexpected<Error>(dry.error());

  const auto head = api.view.run_head(*id);
  if (!head) return tl::unexpected<Error>(head.error());
  auto room = MoveRoom::read(api.view);
  if (!room) return tl::unexpected<Error>(room.error());
  Json json = {{"run", *id},
               {"from", head->host},
               {"to", to->empty() ? Json(nullptr) : Json(*to)},
               {"hosts_with_room", room->others_with_room(*head)},
               {"dry_run", *dry}};
  const engine::ActorId run = api.view.actor("run", *id);
  fbs::ReleaseRunT message;
  message.move = true;
  message.to = *to;
  message.reason = std::move(*reason);
  message.by = std::move(*by);
  auto payload = payload_of<fbs::RunBodyUnionTraits>(message);
  // The run's own word comes first: that it is nowhere says more than that the host is full.
  const auto agrees = rehearse_move(api, run, payload);
  if (*dry && !agrees) return tl::unexpected<Error>(agrees.error());
  if (agrees)
    if (auto taken = room->take(*id, *head, *to); !taken)
      return tl::unexpected<Error>(taken.error());
  if (*dry) return json_response(json);
  if (const auto reply = call_actor(api, request, run, std::move(payload)); !reply)
    return tl::unexpected<Error>(reply.error());
  return json_response(json);
}

}  // namespace

void add_move_routes(Router& router, ApiContext api) {
  router.add({"POST", "/v1/runs/{id}/move",
              [api](const Request& request) { return move_run(api, request); }, kMaxBody});
}

}  // namespace muster::musterd
