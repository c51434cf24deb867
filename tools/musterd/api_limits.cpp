// /v1/limits: how many runs at once, in all and of a fleet, and a fleet's weight in the sharing
#include "tools/musterd/api_base.hpp"
#include "tools/musterd/limits_store.hpp"
#include "tools/musterd/revision.hpp"

namespace muster::musterd {
namespace {

Json limits_json(const LimitsStore::State& state) {
  Json fleets = Json::array();
  for (const auto& [name, fleet] : state.limits.fleets)
    fleets.push_back({{"fleet", name},
                      {"concurrency", fleet.concurrency ? Json(*fleet.concurrency) : Json(nullptr)},
                      {"weight", fleet.weight}});
  return {{"revision", state.revision},
          {"running_total", state.limits.total},
          {"fleets", std::move(fleets)}};
}

Result<Response> get_limits(const ApiContext& api, const Request&) {
  return json_response(limits_json(api.parts.limits->state()));
}

Result<std::optional<std::uint32_t>> read_count(const Json& body, const char* key) {
  const auto found = body.find(key);
  if (found == body.end() || found->is_null()) return std::optional<std::uint32_t>{};
  if (!found->is_number_unsigned() || found->get<std::uint64_t>() > UINT32_MAX)
    return fail(Errc::invalid, std::string("'") + key + "' must be a number from 1");
  return std::optional<std::uint32_t>{found->get<std::uint32_t>()};
}

Result<LimitsChange> read_change(const Json& body) {
  LimitsChange change;
  for (const auto& [key, into] :
       {std::pair{"running_total", &change.total}, std::pair{"concurrency", &change.concurrency},
        std::pair{"weight", &change.weight}}) {
    auto count = read_count(body, key);
    if (!count) return tl::unexpected<Error>(count.error());
    *into = *count;
  }
  auto fleet = read_text(body, "fleet");
  if (!fleet) return tl::unexpected<Error>(fleet.error());
  constexpr std::size_t kLongestFleet = 63;
  if (fleet->size() > kLongestFleet) return fail(Errc::invalid, "'fleet' is no fleet's name");
  change.fleet = std::move(*fleet);
  auto clear = read_flag(body, "clear");
  if (!clear) return tl::unexpected<Error>(clear.error());
  change.clear = *clear;
  return change;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& each : words) text += (text.empty() ? "" : "; ") + each;
  return text;
}

Result<Response> change_limits(const ApiContext& api, const Request& request) {
  const auto body = read_object(request, {"running_total", "fleet", "concurrency", "weight",
                                          "clear", "reason", "by", "dry_run"});
  if (!body) return tl::unexpected<Error>(body.error());
  const auto change = read_change(*body);
  if (!change) return tl::unexpected<Error>(change.error());
  const auto reason = read_text(*body, "reason");
  if (!reason) return tl::unexpected<Error>(reason.error());
  if (reason->empty())
    return fail(Errc::invalid, "'reason' is required: why, for whoever looks later");
  const auto by = read_by(*body, request);
  if (!by) return tl::unexpected<Error>(by.error());
  const auto dry_run = read_flag(*body, "dry_run");
  if (!dry_run) return tl::unexpected<Error>(dry_run.error());
  LimitsStore& store = *api.parts.limits;
  const auto would = store.change(*change, true);
  if (!would) return tl::unexpected<Error>(would.error());
  auto done = would;
  if (!*dry_run) {
    if (auto noted =
            note_order(api, request, {*by, "limits.change", joined(would->words), *reason});
        !noted)
      return tl::unexpected<Error>(noted.error());
    const std::string wanted = request.header("If-Match");
    done = store.change(*change, false, [&](const std::string& revision) {
      return wanted.empty() || names_revision(wanted, revision);
    });
    if (!done && done.error().code == Errc::conflict)
      return precondition_failed(store.state().revision);
    if (!done) return tl::unexpected<Error>(done.error());
  }
  return json_response(
      {{"dry_run", *dry_run}, {"changes", done->words}, {"limits", limits_json(done->state)}});
}

}  // namespace

void add_limits_routes(Router& router, ApiContext api) {
  const auto with = [api](auto handler) {
    return [api, handler](const Request& request) { return handler(api, request); };
  };
  router.add({"GET", "/v1/limits", with(get_limits), 0});
  router.add({"POST", "/v1/limits", with(change_limits), kMaxBody});
}

}  // namespace muster::musterd
