// /v1/swarms
#include <algorithm>
#include <optional>

#include "actors/run/run.hpp"
#include "actors/swarm/swarm.hpp"
#include "actors/swarm/swarm_spec.hpp"
#include "tools/musterd/api_base.hpp"
#include "tools/musterd/cursor.hpp"
#include "tools/musterd/list_place.hpp"
#include "tools/musterd/list_stream.hpp"
#include "tools/musterd/row_stream.hpp"
#include "tools/musterd/swarm_render.hpp"
#include "tools/musterd/swarm_request.hpp"
#include "tools/musterd/swarm_results.hpp"

namespace muster::musterd {
namespace {

namespace swarm = actors::swarm;

Result<std::vector<fbs::LineRowT>> lines_of(const ApiContext& api, const fbs::SwarmHeadT& head) {
  std::vector<fbs::LineRowT> lines;
  for (std::uint32_t i = 0; i < head.lines; ++i) {
    auto line = api.view.swarm_line(head.name, i);
    if (!line) return tl::unexpected<Error>(line.error());
    lines.push_back(std::move(*line));
  }
  return lines;
}

Result<Json> whole_json(const ApiContext& api, const std::string& name) {
  const auto head = api.view.swarm(name);
  if (!head) return tl::unexpected<Error>(head.error());
  const auto lines = lines_of(api, *head);
  if (!lines) return tl::unexpected<Error>(lines.error());
  return swarm_json(*head, *lines);
}

Result<Response> swarm_response(const ApiContext& api, const std::string& name, int status = 200) {
  const auto json = whole_json(api, name);
  if (!json) return tl::unexpected<Error>(json.error());
  return json_response(*json, status);
}

/// A fleet of another's would be in the way of the swarm's own.
Result<void> check_fleet_name(const ApiContext& api, const std::string& name) {
  const auto fleet = api.view.fleet(name);
  if (!fleet && fleet.error().code == Errc::not_found) return {};
  if (!fleet) return tl::unexpected<Error>(fleet.error());
  if (fleet->swarm == name) return {};
  return fail(Errc::conflict,
              "a fleet is called " + name + " already: choose another name for the swarm");
}

Result<Response> create_swarm(const ApiContext& api, const Request& http) {
  auto body = read_object(http, {"spec", "repositories", "agent_bundle", "author"});
  if (!body) return tl::unexpected<Error>(body.error());
  auto request = read_swarm_request(*body);
  if (!request) return tl::unexpected<Error>(request.error());
  const std::string& name = request->spec.name;
  if (!http.who.scope.covers_fleet(name))
    return fail(Errc::not_found, "the token is for other fleets than " + name);
  if (!http.who.may_name_others) request->create.author = http.who.name;
  if (auto free = check_fleet_name(api, name); !free) return tl::unexpected<Error>(free.error());
  const std::string& bundle = request->create.agent_bundle;
  if (!bundle.empty() && !api.parts.blobs.touch(bundle))
    return fail(Errc::invalid, "the agent bundle is not here: PUT /v1/blobs/" + bundle + " first");
  if (auto put = api.parts.blobs.put(request->create.plan_digest, request->plan); !put)
    return tl::unexpected<Error>(put.error());
  auto reply =
      call_actor(api, http, api.view.actor("swarm", name),
                 payload_of<fbs::SwarmBodyUnionTraits>(request->create), engine::Lane::normal);
  if (!reply) return tl::unexpected<Error>(reply.error());
  return swarm_response(api, name, *reply == "continued" ? 200 : 201);
}

Result<Response> list_swarms(const ApiContext& api, const Request& request) {
  const std::string state = state_parameter(request);
  if (auto known = check_name("state", state, fbs::EnumValuesSwarmState()); !known)
    return tl::unexpected<Error>(known.error());
  const auto common = read_common_filter(request);
  if (!common) return tl::unexpected<Error>(common.error());
  const auto takes = [state, common = *common, scope = request.who.scope](
                         const std::string& name, const fbs::SwarmHeadT& head) {
    const auto changed =
        std::max({head.created_unix_ms, head.progress_unix_ms, head.ended_unix_ms});
    return scope.covers_fleet(name) && (state.empty() || state == name_of(head.state)) &&
           common.takes(changed, {head.name, head.author, head.reason, head.title});
  };
  if (wants_events(request))
    return list_stream(api, request, "swarm", [api, takes](const engine::ActorId& id) {
      const auto head = api.view.swarm(id.key);
      if (!head) return ListItem::left("name", id.key);  // It was removed.
      if (!takes(id.key, *head)) return ListItem::left("name", id.key);
      const auto json = whole_json(api, id.key);
      return json ? ListItem::shown(*json) : ListItem::other();
    });
  const auto page = read_page(request);
  if (!page) return tl::unexpected<Error>(page.error());
  const engine::Sequence position = api.parts.events.last();
  PageFill fill(*page);
  Result<void> read{};
  const auto listed = api.view.each_swarm(page->after, [&](const std::string& name) {
    if (!fill.room()) return false;
    const auto head = api.view.swarm(name);
    if (!head && head.error().code == Errc::not_found) return true;  // It went meanwhile.
    fill.seen(name);
    const auto json = head && takes(name, *head) ? whole_json(api, name) : Result<Json>(Json());
    if (!head) {
      read = tl::unexpected<Error>(head.error());
    } else if (!json && json.error().code != Errc::not_found) {
      read = tl::unexpected<Error>(json.error());
    } else if (json && !json->is_null()) {
      fill.items.push_back(*json);
    }
    return read.has_value();
  });
  if (!listed) return tl::unexpected<Error>(listed.error());
  if (!read) return tl::unexpected<Error>(read.error());
  return list_response(api, *page, "swarms", fill, position);
}

Result<FacetWhole> whole_facet(const ApiContext& api, const fbs::SwarmHeadT& head,
                               const std::vector<fbs::LineRowT>& lines, std::uint32_t number,
                               fbs::FacetRowT row) {
  FacetWhole whole;
  const auto plan = api.view.swarm_plan(head.name, number);
  if (!plan) return tl::unexpected<Error>(plan.error());
  for (const std::uint32_t need : plan->needs) {
    const auto needed = api.view.swarm_plan(head.name, need);
    if (!needed) return tl::unexpected<Error>(needed.error());
    whole.needs.push_back(needed->id);
  }
  if (plan->owner != 0) {
    const auto owner = api.view.swarm_plan(head.name, plan->owner - 1);
    if (!owner) return tl::unexpected<Error>(owner.error());
    whole.owner = owner->id;
  }
  if (row.line < lines.size()) whole.repository = lines[row.line].line->id;
  if (!row.run.empty())
    if (auto run = api.view.row(head.name, row.run)) whole.run = std::move(*run);
  whole.row = std::move(row);
  return whole;
}

/// Its row and its run's, which is the fleet's.
std::size_t content_of_facet(const ApiContext& api, const std::string& swarm,
                             const fbs::FacetRowT& row) {
  const auto run = row.run.empty() ? Result<fbs::RunRowT>(fbs::RunRowT{})
                                   : api.view.row(swarm, row.run);
  return content_of(engine::encode_table(row), run ? engine::encode_table(*run) : "");
}

Result<Response> follow_facets(const ApiContext& api, const Request& request,
                               const std::string& name, const std::string& state) {
  const auto walk = [api, name, state](const RowList::Each& each) -> Result<void> {
    const auto head = api.view.swarm(name);
    if (!head) return tl::unexpected<Error>(head.error());
    const auto lines = lines_of(api, *head);
    if (!lines) return tl::unexpected<Error>(lines.error());
    return api.view.each_facet(name, "", [&](const std::string& digits, const fbs::FacetRowT& row) {
      if (!state.empty() && state != name_of(row.state)) return true;
      return each(row.id, content_of_facet(api, name, row), [&]() -> std::optional<Json> {
        const auto whole =
            whole_facet(api, *head, *lines, static_cast<std::uint32_t>(std::stoul(digits)), row);
        if (!whole) return std::nullopt;
        return facet_json(*whole);
      });
    });
  };
  return row_stream(api, request,
                    {{api.view.actor("swarm", name), api.view.actor("fleet", name)}, "id", walk});
}

Result<Response> list_facets(const ApiContext& api, const Request& request) {
  const std::string& name = request.params.at("name");
  const std::string state = state_parameter(request);
  if (auto known = check_name("state", state, fbs::EnumValuesFacetState()); !known)
    return tl::unexpected<Error>(known.error());
  const auto head = api.view.swarm(name);
  if (!head) return tl::unexpected<Error>(head.error());
  if (wants_events(request)) return follow_facets(api, request, name, state);
  const auto page = read_page(request);
  if (!page) return tl::unexpected<Error>(page.error());
  const engine::Sequence position = api.parts.events.last();
  const auto lines = lines_of(api, *head);
  if (!lines) return tl::unexpected<Error>(lines.error());
  PageFill fill(*page);
  RowContents shown;
  Result<void> read{};
  const auto listed = api.view.each_facet(
      name, page->after, [&](const std::string& digits, const fbs::FacetRowT& row) {
        if (!fill.room()) return false;
        fill.seen(digits);
        if (!state.empty() && state != name_of(row.state)) return true;
        const auto number = static_cast<std::uint32_t>(std::stoul(digits));
        shown.emplace_back(row.id, content_of_facet(api, name, row));
        const auto whole = whole_facet(api, *head, *lines, number, row);
        if (whole)
          fill.items.push_back(facet_json(*whole));
        else
          read = tl::unexpected<Error>(whole.error());
        return read.has_value();
      });
  if (!listed) return tl::unexpected<Error>(listed.error());
  if (!read) return tl::unexpected<Error>(read.error());
  return row_list_response(api, *page, "facets", fill, shown, position);
}

/// What was asked, as the file says, and what a person needs to see of it beside its row.
Result<Json> facet_story(const ApiContext& api, const fbs::SwarmHeadT& head, const FacetWhole& facet,
                         std::uint32_t number) {
  Json json = facet_json(facet);
  const auto create = api.view.swarm_create(head.name);
  if (!create) return tl::unexpected<Error>(create.error());
  const auto file = api.parts.blobs.get(head.plan_digest.empty() ? create->plan_digest : head.plan_digest);
  if (!file) return tl::unexpected<Error>(file.error());
  const auto spec = swarm::parse_kept_swarm(*file);
  if (!spec) return fail(Errc::corrupt, "the stored swarm file is not valid");
  for (const swarm::Facet& asked : spec->facets) {
    if (asked.id != facet.row.id) continue;
    json["task"] = asked.task;
    json["scope"] = asked.scope;
    json["attempts"] = asked.attempts;
    json["timeout_ms"] = asked.timeout.count();
  }
  const auto trouble = api.view.facet_feedback(head.name, number);
  if (!trouble) return tl::unexpected<Error>(trouble.error());
  json["trouble"] = trouble->empty() ? Json(nullptr) : Json::parse(*trouble, nullptr, false);
  return json;
}

Result<Response> show_facet(const ApiContext& api, const Request& request) {
  const std::string& name = request.params.at("name");
  const std::string& id = request.params.at("facet");
  const auto head = api.view.swarm(name);
  if (!head) return tl::unexpected<Error>(head.error());
  std::optional<std::pair<std::uint32_t, fbs::FacetRowT>> found;
  auto scanned = api.view.each_facet(name, "", [&](const std::string& digits, const auto& row) {
    if (row.id == id) found.emplace(static_cast<std::uint32_t>(std::stoul(digits)), row);
    return !found;
  });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  if (!found) return fail(Errc::not_found, "swarm " + name + " has no facet " + id);
  const auto lines = lines_of(api, *head);
  if (!lines) return tl::unexpected<Error>(lines.error());
  const auto whole = whole_facet(api, *head, *lines, found->first, found->second);
  if (!whole) return tl::unexpected<Error>(whole.error());
  const auto json = facet_story(api, *head, *whole, found->first);
  if (!json) return tl::unexpected<Error>(json.error());
  return json_response(*json);
}

/// A swarm's own account, by line, and what of it can't be true without looking at git.
struct Account {
  std::vector<swarm::LineClaim> claims;
  Json commits = Json::array();
  Json findings = Json::array();
  std::size_t open = 0;
};

void add_finding(Account& account, std::string_view kind, const std::string& line,
                 const std::string& commit, const std::string& text) {
  account.findings.push_back(
      {{"kind", kind}, {"repository", line}, {"commit", commit}, {"text", text}});
}

Result<void> enter(swarm::Ledger& ledger, const std::string& facet, const std::string& commit,
                   const fbs::CommitRowT& row) {
  const auto known =
      row.made.empty() ? ledger.received(facet, commit) : ledger.remade(commit, row.made);
  if (!known) return known;
  switch (row.fate) {
    case fbs::CommitFate::open:
      return {};
    case fbs::CommitFate::merged:
      return ledger.merged(commit, row.merge);
    case fbs::CommitFate::superseded:
      return ledger.superseded(commit, row.successor);
    case fbs::CommitFate::rejected:
      return ledger.rejected(commit, row.reason);
  }
  return {};
}

/// The files that this swarm's merges leave to a program because its file says so.
Result<std::vector<std::string>> declared_drivers(const ApiContext& api, const std::string& name) {
  std::vector<std::string> patterns;
  const auto create = api.view.swarm_create(name);
  if (!create && create.error().code == Errc::not_found) return patterns;
  if (!create) return tl::unexpected<Error>(create.error());
  const auto file = api.parts.blobs.get(create->plan_digest);
  if (!file && file.error().code == Errc::not_found) return patterns;
  if (!file) return tl::unexpected<Error>(file.error());
  const Json document = Json::parse(*file, nullptr, false);
  if (!document.is_object() || !document.contains("merge")) return patterns;
  for (const Json& driver : document["merge"].value("drivers", Json::array()))
    patterns.push_back(driver.value("path", ""));
  return patterns;
}

/// Every commit that a run of the fleet delivered for a facet must be in the ledger: the fleet's
/// rows are an account of their own.
Result<void> compare_with_runs(const ApiContext& api, const std::string& name, Account& account) {
  return api.view.each_row(name, "", [&](const fbs::RunRowT& row) {
    if (row.state != fbs::RunState::delivered || row.head_sha.empty()) return true;
    if (row.reason == actors::kNotPushed) return true;  // What a verification left behind, or a judge.
    const Json labels = Json::parse(row.labels_json, nullptr, false);
    if (!labels.is_object() || !(labels.contains("facet") || labels.contains("verify")))
      return true;
    for (const auto& claim : account.claims)
      if (claim.ledger.find(row.head_sha) != nullptr) return true;
    add_finding(account, "unaccounted", row.repository, row.head_sha,
                "run " + row.run + " delivered this commit, and the ledger does not know it");
    return true;
  });
}

Result<Account> account_of(const ApiContext& api, const fbs::SwarmHeadT& head,
                           const std::vector<fbs::LineRowT>& lines) {
  Account account;
  const auto declared = declared_drivers(api, head.name);
  if (!declared) return tl::unexpected<Error>(declared.error());
  for (const auto& line : lines)
    account.claims.push_back({line.line->url,
                              line.begin,
                              line.green,
                              swarm::green_branch(head.name),
                              {},
                              line.state == fbs::LineState::moving,
                              *declared});
  std::vector<fbs::FacetRowT> facets;
  auto scanned = api.view.each_facet(head.name, "", [&](const std::string&, const auto& row) {
    facets.push_back(row);
    return true;
  });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  Result<void> entered{};
  scanned =
      api.view.each_commit(head.name, [&](const std::string& commit, const fbs::CommitRowT& row) {
        const bool made = !row.made.empty();
        if (!made && row.facet >= facets.size()) return true;
        const std::string facet = made ? std::string() : facets[row.facet].id;
        const std::uint32_t line = made ? row.line : facets[row.facet].line;
        account.commits.push_back(commit_json(commit, row, facet));
        if (row.fate == fbs::CommitFate::open) ++account.open;
        // What is still worked on is accounted for by that.
        if (row.fate == fbs::CommitFate::open && !swarm::is_end(head.state)) return true;
        entered = enter(account.claims.at(line).ledger, facet, commit, row);
        return entered.has_value();
      });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  if (!entered) return tl::unexpected<Error>(entered.error());
  if (swarm::is_end(head.state))
    if (auto compared = compare_with_runs(api, head.name, account); !compared)
      return tl::unexpected<Error>(compared.error());
  return account;
}

Result<Response> swarm_ledger(const ApiContext& api, const Request& request) {
  const std::string& name = request.params.at("name");
  const auto head = api.view.swarm(name);
  if (!head) return tl::unexpected<Error>(head.error());
  if (!api.parts.prove_line) return fail(Errc::refused, "this server can't read repositories");
  const auto lines = lines_of(api, *head);
  if (!lines) return tl::unexpected<Error>(lines.error());
  auto account = account_of(api, *head, *lines);
  if (!account) return tl::unexpected<Error>(account.error());
  Json proofs = Json::array();
  for (std::size_t i = 0; i < lines->size(); ++i) {
    const auto& line = (*lines)[i];
    if (line.begin.empty()) continue;  // It never began.
    const auto proof = api.parts.prove_line(account->claims[i]);
    if (!proof) return fail(proof.error(), "repository " + line.line->id);
    for (const auto& finding : proof->findings)
      add_finding(*account, swarm::to_string(finding.kind), line.line->id, finding.commit,
                  finding.text);
    proofs.push_back({{"id", line.line->id},
                      {"repository", line.line->repository},
                      {"begin", line.begin},
                      {"green", line.green},
                      {"deliverable", proof->deliverable},
                      {"merges", proof->merges}});
  }
  return json_response({{"swarm", name},
                        {"state", name_of(head->state)},
                        {"proven", account->findings.empty()},
                        {"open", account->open},
                        {"repositories", proofs},
                        {"commits", account->commits},
                        {"findings", account->findings}});
}

Result<Response> results_of(const ApiContext& api, const Request& request) {
  const auto head = api.view.swarm(request.params.at("name"));
  if (!head) return tl::unexpected<Error>(head.error());
  const auto results = swarm_results(api.view, api.parts.blobs, *head);
  if (!results) return tl::unexpected<Error>(results.error());
  return json_response(*results);
}

Json message_json(const fbs::MessageRowT& row) {
  return {{"number", row.number},
          {"by", row.by},
          {"text", row.text},
          {"facet", row.facet.empty() ? Json(nullptr) : Json(row.facet)},
          {"at", time_json(row.at_unix_ms)}};
}

/// A message never changes: its number says all.
Result<Response> follow_messages(const ApiContext& api, const Request& request,
                                 const std::string& name) {
  const auto walk = [api, name](const RowList::Each& each) {
    return api.view.each_message(name, [&](const fbs::MessageRowT& row) {
      return each(std::to_string(row.number), row.number,
                  [&] { return std::optional<Json>(message_json(row)); });
    });
  };
  return row_stream(api, request, {{api.view.actor("swarm", name)}, "number", walk});
}

Result<Response> list_messages(const ApiContext& api, const Request& request) {
  const std::string& name = request.params.at("name");
  if (auto exists = api.view.swarm(name); !exists) return tl::unexpected<Error>(exists.error());
  if (wants_events(request)) return follow_messages(api, request, name);
  const engine::Sequence position = api.parts.events.last();
  const RowMemory::Named list = api.rows.begin();
  Json all = Json::array();
  auto listed = api.view.each_message(name, [&](const fbs::MessageRowT& row) {
    all.push_back(message_json(row));
    (void)list.given->tell(std::to_string(row.number), row.number, position);
    return true;
  });
  if (!listed) return tl::unexpected<Error>(listed.error());
  Response response = json_response({{"messages", all}});
  response.headers.emplace_back("Muster-Position", place_text(position, list.name));
  return response;
}

Result<Response> steer(const ApiContext& api, const Request& request) {
  const std::string& name = request.params.at("name");
  const auto body = read_object(request, {"text", "facet", "by"});
  if (!body) return tl::unexpected<Error>(body.error());
  fbs::SteerSwarmT message;
  for (const auto& [key, to] :
       {std::pair{"text", &message.text}, std::pair{"facet", &message.facet}}) {
    auto text = read_text(*body, key);
    if (!text) return tl::unexpected<Error>(text.error());
    *to = std::move(*text);
  }
  auto by = read_by(*body, request);
  if (!by) return tl::unexpected<Error>(by.error());
  message.by = std::move(*by);
  if (auto exists = api.view.swarm(name); !exists) return tl::unexpected<Error>(exists.error());
  auto reply = call_actor(api, request, api.view.actor("swarm", name),
                          payload_of<fbs::SwarmBodyUnionTraits>(message));
  if (!reply) return tl::unexpected<Error>(reply.error());
  return swarm_response(api, name);
}

/// A write that bears only who and why.
template <class Message>
RouteHandler swarm_order(const ApiContext& api) {
  return [api](const Request& request) -> Result<Response> {
    const std::string& name = request.params.at("name");
    auto words = read_order(request);
    if (!words) return tl::unexpected<Error>(words.error());
    if (auto exists = api.view.swarm(name); !exists) return tl::unexpected<Error>(exists.error());
    Message message;
    message.reason = std::move(words->reason);
    message.by = std::move(words->by);
    auto reply = call_actor(api, request, api.view.actor("swarm", name),
                            payload_of<fbs::SwarmBodyUnionTraits>(message));
    if (!reply) return tl::unexpected<Error>(reply.error());
    return swarm_response(api, name);
  };
}

}  // namespace

void add_swarm_routes(Router& router, ApiContext api) {
  const auto with = [api](auto handler) {
    return [api, handler](const Request& request) { return handler(api, request); };
  };
  router.add({"POST", "/v1/swarms", with(create_swarm), kMaxFleetBody});
  router.add({"GET", "/v1/swarms", with(list_swarms), 0});
  router.add(
      {"GET", "/v1/swarms/{name}",
       [api](const Request& request) { return swarm_response(api, request.params.at("name")); },
       0});
  router.add({"GET", "/v1/swarms/{name}/facets", with(list_facets), 0});
  router.add({"GET", "/v1/swarms/{name}/facets/{facet}", with(show_facet), 0});
  router.add({"GET", "/v1/swarms/{name}/ledger", with(swarm_ledger), 0});
  router.add({"GET", "/v1/swarms/{name}/results", with(results_of), 0});
  router.add({"GET", "/v1/swarms/{name}/messages", with(list_messages), 0});
  router.add({"POST", "/v1/swarms/{name}/steer", with(steer), kMaxBody});
  router.add({"POST", "/v1/swarms/{name}/cancel", swarm_order<fbs::CancelSwarmT>(api), kMaxBody});
  router.add({"POST", "/v1/swarms/{name}/pause", swarm_order<fbs::PauseSwarmT>(api), kMaxBody});
  router.add({"POST", "/v1/swarms/{name}/resume", swarm_order<fbs::ResumeSwarmT>(api), kMaxBody});
  router.add({"POST", "/v1/swarms/{name}/drain", swarm_order<fbs::DrainSwarmT>(api), kMaxBody});
  router.add({"POST", "/v1/swarms/{name}/retry", swarm_order<fbs::RetrySwarmT>(api), kMaxBody});
}

}  // namespace muster::musterd
