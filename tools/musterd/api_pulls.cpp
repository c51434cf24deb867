// /v1/pulls
#include "actors/spec/units.hpp"
#include "tools/musterd/api_base.hpp"
#include "tools/musterd/list_stream.hpp"

namespace muster::musterd {
namespace {

Result<Response> pull_response(const ApiContext& api, const std::string& id, int status = 200) {
  const auto head = api.view.pull(id);
  if (!head) return tl::unexpected<Error>(head.error());
  const auto body = api.view.pull_body(id);
  if (!body) return tl::unexpected<Error>(body.error());
  return json_response(pull_json(id, *head, &*body), status);
}

struct PullFilter {
  std::string fleet;
  std::string state;
  std::string repository;  ///< Glob over OWNER/NAME.
  CommonFilter common;
  Scope scope;

  /// By what never changes of a pull request.
  [[nodiscard]] bool concerns(const std::string& id, const fbs::PullHeadT& head) const {
    return scope.covers_fleet(head.fleet) && (fleet.empty() || fleet == head.fleet) &&
           (repository.empty() || actors::glob_match(repository, id.substr(0, id.rfind('#'))));
  }
  [[nodiscard]] bool takes(const std::string& id, const fbs::PullHeadT& head) const {
    return concerns(id, head) && (state.empty() || state == name_of(head.state)) &&
           common.takes(head.changed_unix_ms, {id, head.title, head.branch, head.author});
  }
};

Result<PullFilter> read_pull_filter(const Request& request) {
  auto common = read_common_filter(request);
  if (!common) return tl::unexpected<Error>(common.error());
  PullFilter filter{request.parameter("fleet"), state_parameter(request), request.parameter("repo"),
                    std::move(*common), request.who.scope};
  if (auto known = check_name("state", filter.state, fbs::EnumValuesPullState()); !known)
    return tl::unexpected<Error>(known.error());
  return filter;
}

Result<Response> list_pulls(const ApiContext& api, const Request& request) {
  const auto filter = read_pull_filter(request);
  if (!filter) return tl::unexpected<Error>(filter.error());
  if (!filter->fleet.empty()) {
    if (!filter->scope.covers_fleet(filter->fleet))
      return fail(Errc::not_found, "there is no fleet " + filter->fleet);
    if (auto exists = api.view.fleet(filter->fleet); !exists)
      return tl::unexpected<Error>(exists.error());
  }
  if (wants_events(request))
    return list_stream(api, request, "pull",
                       [&view = api.view, filter = *filter](const engine::ActorId& id) {
                         const auto head = view.pull(id.key);
                         if (!head || !filter.concerns(id.key, *head)) return ListItem::other();
                         if (!filter.takes(id.key, *head)) return ListItem::left("id", id.key);
                         return ListItem::shown(pull_json(id.key, *head, nullptr));
                       });
  const auto page = read_page(request);
  if (!page) return tl::unexpected<Error>(page.error());
  const engine::Sequence position = api.parts.events.last();
  PageFill fill(*page);
  Result<void> read{};
  const auto listed = api.view.each_pull(filter->fleet, page->after, [&](const PullName& name) {
    if (!fill.room()) return false;
    fill.seen(name.id);
    // What the index tells saves reading the head.
    if (!filter->state.empty() && name.state != filter->state) return true;
    const auto head = api.view.pull(name.id);
    if (!head) {
      read = tl::unexpected<Error>(head.error());
    } else if (filter->takes(name.id, *head)) {
      fill.items.push_back(pull_json(name.id, *head, nullptr));
    }
    return read.has_value();
  });
  if (!listed) return tl::unexpected<Error>(listed.error());
  if (!read) return tl::unexpected<Error>(read.error());
  return list_response(api, *page, "pulls", fill, position);
}

/// Merge or close. The forge is asked afterwards: `busy` says so until its answer is in.
template <class Message>
Result<Response> order(const ApiContext& api, const Request& request, Message message,
                       const Json& body) {
  const std::string& id = request.params.at("id");
  auto reason = read_text(body, "reason");
  if (!reason) return tl::unexpected<Error>(reason.error());
  auto by = read_by(body, request);
  if (!by) return tl::unexpected<Error>(by.error());
  if (auto exists = api.view.pull(id); !exists) return tl::unexpected<Error>(exists.error());
  message.reason = std::move(*reason);
  message.by = std::move(*by);
  auto reply = call_actor(api, request, api.view.actor("pull", id),
                          payload_of<fbs::PullBodyUnionTraits>(message));
  if (!reply) return tl::unexpected<Error>(reply.error());
  return pull_response(api, id, *reply == "accepted" ? 202 : 200);
}

Result<Response> merge_pull(const ApiContext& api, const Request& request) {
  const auto body = read_object(request, {"reason", "by"});
  if (!body) return tl::unexpected<Error>(body.error());
  return order(api, request, fbs::MergePullT{}, *body);
}

Result<Response> close_pull(const ApiContext& api, const Request& request) {
  const auto body = read_object(request, {"reason", "by", "delete_branch"});
  if (!body) return tl::unexpected<Error>(body.error());
  fbs::ClosePullT message;
  if (const auto flag = body->find("delete_branch"); flag != body->end()) {
    if (!flag->is_boolean()) return fail(Errc::invalid, "'delete_branch' must be true or false");
    message.delete_branch = flag->get<bool>();
  }
  return order(api, request, std::move(message), *body);
}

Result<Response> pull_diff(const ApiContext& api, const Request& request) {
  const auto head = api.view.pull(request.params.at("id"));
  if (!head) return tl::unexpected<Error>(head.error());
  auto diff = api.parts.forge.diff(head->repository_url, head->base_sha, head->head_sha, kMaxDiff);
  if (!diff) return tl::unexpected<Error>(diff.error());
  Response response;
  response.content_type = "text/x-diff";
  response.body = std::move(*diff);
  return response;
}

}  // namespace

void add_pull_routes(Router& router, ApiContext api) {
  const auto with = [api](auto handler) {
    return [api, handler](const Request& request) { return handler(api, request); };
  };
  router.add({"GET", "/v1/pulls", with(list_pulls), 0});
  router.add({"GET", "/v1/pulls/{id}",
              [api](const Request& request) { return pull_response(api, request.params.at("id")); },
              0});
  router.add({"POST", "/v1/pulls/{id}/merge", with(merge_pull), kMaxBody});
  router.add({"POST", "/v1/pulls/{id}/close", with(close_pull), kMaxBody});
  router.add({"GET", "/v1/pulls/{id}/diff", with(pull_diff), 0});
}

}  // namespace muster::musterd
