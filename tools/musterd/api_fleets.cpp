// /v1/fleets
#include "tools/musterd/api_base.hpp"
#include "tools/musterd/cursor.hpp"
#include "tools/musterd/fleet_request.hpp"
#include "tools/musterd/list_stream.hpp"
#include "tools/musterd/report.hpp"

namespace muster::musterd {
namespace {

/// The differences, when a fleet of that name and other content exists.
Result<void> check_same(const ApiContext& api, const FleetRequest& request) {
  const std::string& name = request.spec.name;
  const auto old = api.view.fleet_create(name);
  if (!old && old.error().code == Errc::not_found) return {};
  if (!old) return tl::unexpected<Error>(old.error());
  if (old->digest == actors::fleet_digest(request.digests(), request.dry_run)) return {};
  const auto old_spec = api.parts.blobs.get(old->spec_digest);
  const auto old_snapshot = api.parts.blobs.get(old->snapshot_digest);
  if (!old_spec) return tl::unexpected<Error>(old_spec.error());
  if (!old_snapshot) return tl::unexpected<Error>(old_snapshot.error());
  std::string text = "a fleet named " + name + " exists and differs from this one:";
  for (const std::string& line : fleet_differences(request, *old, *old_spec, *old_snapshot))
    text += "\n" + line;
  return fail(Errc::conflict, text);
}

Result<void> store_blobs(const ApiContext& api, const FleetRequest& request) {
  const actors::FleetDigests digests = request.digests();
  if (!digests.agent_bundle.empty() && !api.parts.blobs.touch(digests.agent_bundle))
    return fail(Errc::invalid,
                "the agent bundle is not here: PUT /v1/blobs/" + digests.agent_bundle + " first");
  if (auto put = api.parts.blobs.put(digests.spec, request.spec_json); !put) return put;
  return api.parts.blobs.put(digests.snapshot, request.snapshot);
}

Result<Response> create_fleet(const ApiContext& api, const Request& http) {
  auto body = read_object(http, {"spec", "repositories", "agent_bundle", "dry_run", "author"});
  if (!body) return tl::unexpected<Error>(body.error());
  auto request = read_fleet_request(*body);
  if (!request) return tl::unexpected<Error>(request.error());
  if (!http.who.scope.covers_fleet(request->spec.name))
    return fail(Errc::not_found, "the token is for other fleets than " + request->spec.name);
  if (!http.who.may_name_others) request->author = http.who.name;
  if (auto same = check_same(api, *request); !same) return tl::unexpected<Error>(same.error());
  if (auto stored = store_blobs(api, *request); !stored)
    return tl::unexpected<Error>(stored.error());

  const std::string& name = request->spec.name;
  const auto create =
      actors::make_create_fleet(request->spec, request->digests(), request->repositories,
                                request->author, request->dry_run, api.view.now());
  auto reply = call_actor(api, http, api.view.actor("fleet", name),
                          payload_of<fbs::FleetBodyUnionTraits>(create), engine::Lane::normal);
  if (!reply) return tl::unexpected<Error>(reply.error());
  return fleet_response(api, name, *reply == "continued" ? 200 : 201);
}

struct FleetFilter {
  std::string state;
  CommonFilter common;
  Scope scope;

  [[nodiscard]] bool takes(const fbs::FleetHeadT& head) const {
    return scope.covers_fleet(head.name) && (state.empty() || state == name_of(head.state)) &&
           common.takes(std::max({head.created_unix_ms, head.started_unix_ms, head.ended_unix_ms}),
                        {head.name, head.author, head.reason});
  }
};

Result<FleetFilter> read_fleet_filter(const Request& request) {
  const std::string state = state_parameter(request);
  if (auto known = check_name("state", state, fbs::EnumValuesFleetState()); !known)
    return tl::unexpected<Error>(known.error());
  auto common = read_common_filter(request);
  if (!common) return tl::unexpected<Error>(common.error());
  return FleetFilter{state, std::move(*common), request.who.scope};
}

Result<Response> list_fleets(const ApiContext& api, const Request& request) {
  const auto filter = read_fleet_filter(request);
  if (!filter) return tl::unexpected<Error>(filter.error());
  if (wants_events(request))
    return list_stream(api, request, "fleet",
                       [&view = api.view, filter = *filter](const engine::ActorId& id) {
                         const auto head = view.fleet(id.key);
                         if (!filter.scope.covers_fleet(id.key)) return ListItem::other();
                         if (!head || !filter.takes(*head)) return ListItem::left("name", id.key);
                         return ListItem::shown(fleet_json(*head, {}, view.now()));
                       });
  const auto page = read_page(request);
  if (!page) return tl::unexpected<Error>(page.error());
  const engine::Sequence position = api.parts.events.last();
  PageFill fill(*page);
  Result<void> read{};
  const auto listed = api.view.each_fleet(page->after, [&](const std::string& name) {
    if (!fill.room()) return false;
    const auto head = api.view.fleet(name);
    if (!head && head.error().code == Errc::not_found) return true;  // It went meanwhile.
    if (!head) {
      read = tl::unexpected<Error>(head.error());
      return false;
    }
    fill.seen(name);
    if (filter->takes(*head)) fill.items.push_back(fleet_json(*head, {}, api.view.now()));
    return true;
  });
  if (!listed) return tl::unexpected<Error>(listed.error());
  if (!read) return tl::unexpected<Error>(read.error());
  return list_response(api, *page, "fleets", fill, position);
}

Result<Response> fleet_spec(const ApiContext& api, const Request& request) {
  const auto create = api.view.fleet_create(request.params.at("name"));
  if (!create) return tl::unexpected<Error>(create.error());
  auto spec = api.parts.blobs.get(create->spec_digest);
  if (!spec) return tl::unexpected<Error>(spec.error());
  Response response;
  response.body = std::move(*spec) + "\n";
  return response;
}

Result<std::vector<std::pair<std::string, fbs::PullHeadT>>> pulls_of(const ApiContext& api,
                                                                     const std::string& fleet) {
  std::vector<std::pair<std::string, fbs::PullHeadT>> pulls;
  Result<void> read{};
  const auto listed = api.view.each_pull(fleet, "", [&](const PullName& name) {
    auto head = api.view.pull(name.id);
    if (head) {
      pulls.emplace_back(name.id, std::move(*head));
    } else {
      read = tl::unexpected<Error>(head.error());
    }
    return read.has_value();
  });
  if (!listed) return tl::unexpected<Error>(listed.error());
  if (!read) return tl::unexpected<Error>(read.error());
  return pulls;
}

Result<Response> fleet_report(const ApiContext& api, const Request& request) {
  const std::string& name = request.params.at("name");
  const auto head = api.view.fleet(name);
  if (!head) return tl::unexpected<Error>(head.error());
  std::vector<fbs::RunRowT> rows;
  const auto scanned = api.view.each_row(name, "", [&](const fbs::RunRowT& row) {
    rows.push_back(row);
    return true;
  });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  std::map<std::string, std::vector<fbs::AttemptRowT>> attempts;
  for (const auto& row : rows) {
    if (row.attempt == 0) continue;
    auto of_run = api.view.attempts(row.run);
    if (!of_run) return tl::unexpected<Error>(of_run.error());
    attempts.emplace(row.run, std::move(*of_run));
  }
  const auto pulls = pulls_of(api, name);
  if (!pulls) return tl::unexpected<Error>(pulls.error());
  const auto why = why_waiting(api, *head);
  if (!why) return tl::unexpected<Error>(why.error());
  return json_response(
      make_report({*head, rows, attempts, *pulls, fleet_json(*head, *why, api.view.now())}));
}

/// A write that bears only who and why: pause, resume, cancel.
template <class Message>
RouteHandler fleet_order(const ApiContext& api) {
  return [api](const Request& request) -> Result<Response> {
    const std::string& name = request.params.at("name");
    auto words = read_order(request);
    if (!words) return tl::unexpected<Error>(words.error());
    if (auto exists = api.view.fleet(name); !exists) return tl::unexpected<Error>(exists.error());
    Message message;
    message.reason = std::move(words->reason);
    message.by = std::move(words->by);
    auto reply = call_actor(api, request, api.view.actor("fleet", name),
                            payload_of<fbs::FleetBodyUnionTraits>(message));
    if (!reply) return tl::unexpected<Error>(reply.error());
    return fleet_response(api, name);
  };
}

Result<std::vector<fbs::FailureClass>> read_classes(const Json& body) {
  std::vector<fbs::FailureClass> classes;
  const auto list = body.find("classes");
  if (list == body.end() || list->is_null()) return classes;
  if (!list->is_array()) return fail(Errc::invalid, "'classes' must be a list");
  for (const auto& entry : *list) {
    const std::string name = entry.is_string() ? entry.get<std::string>() : "";
    bool known = false;
    for (const fbs::FailureClass failure : fbs::EnumValuesFailureClass()) {
      if (failure == fbs::FailureClass::none || name_of(failure) != name) continue;
      classes.push_back(failure);
      known = true;
    }
    if (!known)
      return fail(Errc::invalid, "'" + name +
                                     "' is no class of failures: infrastructure, agent, "
                                     "verification, delivery, policy");
  }
  return classes;
}

Result<Response> retry_fleet(const ApiContext& api, const Request& request) {
  const std::string& name = request.params.at("name");
  const auto body = read_object(request, {"classes", "repository", "reason", "by"});
  if (!body) return tl::unexpected<Error>(body.error());
  auto classes = read_classes(*body);
  if (!classes) return tl::unexpected<Error>(classes.error());
  auto glob = read_text(*body, "repository");
  if (!glob) return tl::unexpected<Error>(glob.error());
  auto reason = read_text(*body, "reason");
  if (!reason) return tl::unexpected<Error>(reason.error());
  auto by = read_by(*body, request);
  if (!by) return tl::unexpected<Error>(by.error());
  if (auto exists = api.view.fleet(name); !exists) return tl::unexpected<Error>(exists.error());
  fbs::RetryFleetT message;
  message.reason = std::move(*reason);
  message.classes = std::move(*classes);
  message.repository_glob = std::move(*glob);
  message.by = std::move(*by);
  auto reply = call_actor(api, request, api.view.actor("fleet", name),
                          payload_of<fbs::FleetBodyUnionTraits>(message));
  if (!reply) return tl::unexpected<Error>(reply.error());
  return fleet_response(api, name);
}

}  // namespace

Result<std::map<std::string, std::uint32_t>> why_waiting(const ApiContext& api,
                                                         const fbs::FleetHeadT& head) {
  std::map<std::string, std::uint32_t> why;
  const auto count = [&](fbs::RunState state) {
    const auto index = static_cast<std::size_t>(state);
    return index < head.counts.size() ? head.counts[index] : 0;
  };
  if (count(fbs::RunState::queued) > 0)
    for (const auto& [reason, runs] : api.parts.queued_by_reason(head.name))
      why[reason] += static_cast<std::uint32_t>(runs);
  std::uint32_t left = count(fbs::RunState::waiting);
  if (left == 0) return why;
  const auto scanned = api.view.each_row(head.name, "", [&](const fbs::RunRowT& row) {
    if (row.state != fbs::RunState::waiting) return true;
    ++why[std::string(waits_for(row, head))];
    return --left > 0;
  });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  return why;
}

Result<Response> fleet_response(const ApiContext& api, const std::string& name, int status) {
  const auto head = api.view.fleet(name);
  if (!head) return tl::unexpected<Error>(head.error());
  const auto why = why_waiting(api, *head);
  if (!why) return tl::unexpected<Error>(why.error());
  return json_response(fleet_json(*head, *why, api.view.now()), status);
}

void add_fleet_routes(Router& router, ApiContext api) {
  const auto with = [api](auto handler) {
    return [api, handler](const Request& request) { return handler(api, request); };
  };
  router.add({"POST", "/v1/fleets", with(create_fleet), kMaxFleetBody});
  router.add({"GET", "/v1/fleets", with(list_fleets), 0});
  router.add(
      {"GET", "/v1/fleets/{name}",
       [api](const Request& request) { return fleet_response(api, request.params.at("name")); },
       0});
  router.add({"GET", "/v1/fleets/{name}/spec", with(fleet_spec), 0});
  router.add({"GET", "/v1/fleets/{name}/report", with(fleet_report), 0});
  router.add({"POST", "/v1/fleets/{name}/pause", fleet_order<fbs::PauseFleetT>(api), kMaxBody});
  router.add({"POST", "/v1/fleets/{name}/resume", fleet_order<fbs::ResumeFleetT>(api), kMaxBody});
  router.add({"POST", "/v1/fleets/{name}/cancel", fleet_order<fbs::CancelFleetT>(api), kMaxBody});
  router.add({"POST", "/v1/fleets/{name}/retry", with(retry_fleet), kMaxBody});
}

}  // namespace muster::musterd
