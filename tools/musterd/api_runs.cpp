// /v1/runs, and the runs of a fleet
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "actors/spec/fleet_spec.hpp"
#include "actors/spec/units.hpp"
#include "storage/base/files.hpp"
#include "tools/musterd/api_base.hpp"
#include "tools/musterd/list_stream.hpp"
#include "tools/musterd/log_stream.hpp"

namespace muster::musterd {
namespace {

struct RunFilter {
  std::string fleet;  ///< Empty: all.
  std::string state;
  std::string failure;
  std::string repository;  ///< Glob over OWNER/NAME.
  CommonFilter common;
  Scope scope;

  /// By what never changes of a run.
  [[nodiscard]] bool concerns(const std::string& of, const fbs::RunRowT& row) const {
    return (fleet.empty() || fleet == of) && scope.covers_fleet(of) &&
           (repository.empty() || actors::glob_match(repository, row.repository));
  }
  [[nodiscard]] bool takes(const std::string& of, const fbs::RunRowT& row) const {
    return concerns(of, row) && (state.empty() || state == name_of(row.state)) &&
           (failure.empty() || failure == name_of(row.class_)) &&
           common.takes(row.changed_unix_ms, {row.run, row.repository, row.reason, row.message});
  }
};

Result<RunFilter> read_run_filter(const Request& request, const std::string& fleet) {
  auto common = read_common_filter(request);
  if (!common) return tl::unexpected<Error>(common.error());
  RunFilter filter{fleet,
                   state_parameter(request),
                   request.parameter("class"),
                   request.parameter("repo"),
                   std::move(*common),
                   request.who.scope};
  if (auto known = check_name("state", filter.state, fbs::EnumValuesRunState()); !known)
    return tl::unexpected<Error>(known.error());
  if (auto known = check_name("class", filter.failure, fbs::EnumValuesFailureClass()); !known)
    return tl::unexpected<Error>(known.error());
  return filter;
}

/// A run's row as its own head tells it: the fleet hears of a change a moment later.
ListItem fresh_row(const View& view, const RunFilter& filter, const std::string& id) {
  const auto head = view.run_head(id);
  if (!head) return ListItem::other();
  auto row = view.row(head->fleet, id);
  if (!row || !filter.concerns(head->fleet, *row)) return ListItem::other();
  row->state = head->state;
  row->class_ = head->class_;
  row->reason = head->reason;
  row->message = head->message;
  row->attempt = head->attempt;
  row->host = head->host;
  row->pull = head->pull;
  if (!filter.takes(head->fleet, *row)) return ListItem::left("id", id);
  return ListItem::shown(row_json(head->fleet, *row));
}

Result<Response> runs_of_fleet(const ApiContext& api, const RunFilter& filter, const Page& page) {
  const engine::Sequence position = api.parts.events.last();
  PageFill fill(page);
  const auto scanned = api.view.each_row(filter.fleet, page.after, [&](const fbs::RunRowT& row) {
    if (!fill.room()) return false;
    fill.seen(row.run);
    if (filter.takes(filter.fleet, row)) fill.items.push_back(row_json(filter.fleet, row));
    return true;
  });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  return list_response(api, page, "runs", fill, position);
}

Result<Response> all_runs(const ApiContext& api, const RunFilter& filter, const Page& page) {
  const engine::Sequence position = api.parts.events.last();
  PageFill fill(page);
  const auto listed = api.view.each_run(page.after, [&](const RunName& name) {
    if (!fill.room()) return false;
    fill.seen(name.id);
    const auto row = api.view.row(name.fleet, name.id);
    if (row && filter.takes(name.fleet, *row)) fill.items.push_back(row_json(name.fleet, *row));
    return true;
  });
  if (!listed) return tl::unexpected<Error>(listed.error());
  return list_response(api, page, "runs", fill, position);
}

Result<Response> list_runs(const ApiContext& api, const Request& request,
                           const std::string& fleet) {
  const auto filter = read_run_filter(request, fleet);
  if (!filter) return tl::unexpected<Error>(filter.error());
  if (!fleet.empty() && !request.who.scope.covers_fleet(fleet))
    return fail(Errc::not_found, "there is no fleet " + fleet);
  if (!fleet.empty())
    if (auto exists = api.view.fleet(fleet); !exists) return tl::unexpected<Error>(exists.error());
  if (wants_events(request))
    return list_stream(api, request, "run",
                       [&view = api.view, filter = *filter](const engine::ActorId& id) {
                         return fresh_row(view, filter, id.key);
                       });
  const auto page = read_page(request);
  if (!page) return tl::unexpected<Error>(page.error());
  return fleet.empty() ? all_runs(api, *filter, *page) : runs_of_fleet(api, *filter, *page);
}

Result<Response> run_response(const ApiContext& api, const std::string& id) {
  const auto run = api.view.run(id);
  if (!run) return tl::unexpected<Error>(run.error());
  const auto fleet = api.view.fleet(run->head.fleet);
  if (!fleet) return tl::unexpected<Error>(fleet.error());
  return json_response(run_json(*run, *fleet, api.parts.why_queued(id)));
}

Result<Response> show_run(const ApiContext& api, const Request& request) {
  const auto id = api.view.find_run(request.params.at("id"));
  if (!id) return tl::unexpected<Error>(id.error());
  return run_response(api, *id);
}

Result<Response> cancel_run(const ApiContext& api, const Request& request) {
  const auto id = api.view.find_run(request.params.at("id"));
  if (!id) return tl::unexpected<Error>(id.error());
  auto words = read_order(request);
  if (!words) return tl::unexpected<Error>(words.error());
  fbs::CancelRunT message;
  message.reason = std::move(words->reason);
  message.by = std::move(words->by);
  auto reply = call_actor(api, request, api.view.actor("run", *id),
                          payload_of<fbs::RunBodyUnionTraits>(message));
  if (!reply) return tl::unexpected<Error>(reply.error());
  return run_response(api, *id);
}

Result<Response> steer_run(const ApiContext& api, const Request& request) {
  const auto id = api.view.find_run(request.params.at("id"));
  if (!id) return tl::unexpected<Error>(id.error());
  const auto body = read_object(request, {"text", "by"});
  if (!body) return tl::unexpected<Error>(body.error());
  auto text = read_text(*body, "text");
  if (!text) return tl::unexpected<Error>(text.error());
  auto by = read_by(*body, request);
  if (!by) return tl::unexpected<Error>(by.error());
  fbs::SteerRunT message;
  message.text = std::move(*text);
  message.by = std::move(*by);
  auto reply = call_actor(api, request, api.view.actor("run", *id),
                          payload_of<fbs::RunBodyUnionTraits>(message));
  if (!reply) return tl::unexpected<Error>(reply.error());
  return run_response(api, *id);
}

struct KnownSteps {
  std::vector<std::string> names;  ///< By their index in a sandbox's log, from the fleet's file.
  bool more_setup = false;         ///< The environment may bring setup steps that only the host knows.
};

KnownSteps known_steps(const ApiContext& api, const std::string& run) {
  const auto head = api.view.run_head(run);
  const auto create = head ? api.view.fleet_create(head->fleet)
                           : Result<fbs::CreateFleetT>(tl::unexpected<Error>(head.error()));
  const auto text = create ? api.parts.blobs.get(create->spec_digest)
                           : Result<std::string>(tl::unexpected<Error>(create.error()));
  const auto spec = actors::parse_fleet(text ? *text : "");
  if (!spec) return {};
  KnownSteps known;
  const std::string& image = spec->environment.image;
  known.more_setup = image == "devcontainer" || image.starts_with("env:");
  for (std::size_t i = 1; i <= spec->environment.setup.size(); ++i)
    known.names.push_back("setup:" + std::to_string(i));
  known.names.emplace_back("agent");
  for (const auto& verification : spec->verify)
    known.names.push_back("verify:" + verification.name);
  return known;
}

/// A step's whole name, or what stands before its colon: "verify" means every verification.
bool means(std::string_view wanted, std::string_view name) {
  return wanted == name || wanted == name.substr(0, name.find(':'));
}

/// Errc::not_found, with the steps that there are, for a step that this run can't have.
Result<void> check_step(const std::string& run, const std::string& wanted,
                        const KnownSteps& steps) {
  std::vector<std::string> names = steps.names;
  if (wanted.empty() || names.empty()) return {};
  if (steps.more_setup && means("setup", wanted.substr(0, wanted.find(':')))) return {};
  names.insert(names.begin(), "checkout");  // The host's own two.
  names.emplace_back("commit");
  std::string known;
  for (const std::string& name : names) {
    if (means(wanted, name)) return {};
    known += (known.empty() ? "" : ", ") + name;
  }
  return fail(Errc::not_found, "run " + run + " has no step " + wanted + "; there are " + known);
}

/// Errc::not_found, with the date, when that was removed long after the fleet's end.
Result<void> check_kept(const ApiContext& api, const std::string& run, const char* what) {
  const auto head = api.view.run_head(run);
  if (!head || !is_end(head->state)) return {};
  const auto fleet = api.view.fleet(head->fleet);
  if (!fleet || head->ended_unix_ms > fleet->removed_unix_ms) return {};
  constexpr std::size_t kDate = 10;
  return fail(Errc::not_found, std::string("the ") + what + " of run " + run + " were removed on " +
                                   to_rfc3339(Instant{fleet->removed_unix_ms}).substr(0, kDate) +
                                   ", long after fleet " + head->fleet + " had ended");
}

constexpr std::uint64_t kMaxAttempt = 9999;

Result<Response> run_logs(const ApiContext& api, const Request& request) {
  const auto id = api.view.find_run(request.params.at("id"));
  if (!id) return tl::unexpected<Error>(id.error());
  const auto attempt = read_number(request, "attempt", 0, kMaxAttempt);
  if (!attempt) return tl::unexpected<Error>(attempt.error());
  const auto offset = read_number(request, "offset", 0, std::uint64_t{1} << 40);
  if (!offset) return tl::unexpected<Error>(offset.error());
  const std::string follow = request.parameter("follow");
  if (!follow.empty() && follow != "true" && follow != "false")
    return fail(Errc::invalid, "follow must be true or false");
  auto number = static_cast<std::uint32_t>(*attempt);
  std::uint64_t from = *offset;
  const bool events = wants_events(request);
  const bool follows = follow == "true" || events;
  const std::string last = request.header("Last-Event-ID");
  const bool resumed = events && !last.empty();
  if (resumed) {
    const auto place = parse_log_place(last);
    if (!place) return tl::unexpected<Error>(place.error());
    number = place->attempt;
    from = place->offset;
  }
  if (number > 0 && !follows)
    if (auto exists = api.view.attempt(*id, number); !exists)
      return fail(Errc::not_found, "run " + *id + " has no attempt " + std::to_string(number));
  if (auto kept = check_kept(api, *id, "logs"); !kept) return tl::unexpected<Error>(kept.error());
  KnownSteps steps = known_steps(api, *id);
  const std::string step = request.parameter("step");
  if (auto known = check_step(*id, step, steps); !known)
    return tl::unexpected<Error>(known.error());
  LogRequest log{*id, number, step, from, follows, *attempt == 0, std::move(steps.names)};
  auto stream = make_log_stream(api.view, api.parts.logs, api.parts.events, std::move(log));
  Response response;
  response.content_type = events ? "text/event-stream" : "application/x-ndjson";
  response.stream = events ? make_log_events(std::move(stream)) : std::move(stream);
  return response;
}

/// The newest attempt that made a commit.
const fbs::AttemptRowT* last_commit(const RunWhole& run) {
  for (auto attempt = run.attempts.rbegin(); attempt != run.attempts.rend(); ++attempt)
    if (attempt->report && !attempt->report->head_sha.empty() &&
        attempt->report->outcome == wire::Outcome::changed)
      return &*attempt;
  return nullptr;
}

Result<Response> run_diff(const ApiContext& api, const Request& request) {
  const auto id = api.view.find_run(request.params.at("id"));
  if (!id) return tl::unexpected<Error>(id.error());
  const auto run = api.view.run(*id);
  if (!run) return tl::unexpected<Error>(run.error());
  Response response;
  response.content_type = "text/x-diff";
  const fbs::AttemptRowT* attempt = last_commit(*run);
  if (attempt == nullptr && !is_end(run->head.state))
    return fail(Errc::not_found, "run " + *id + " is " + std::string(name_of(run->head.state)) +
                                     " and has no commit yet");
  if (attempt == nullptr) return response;  // It ended without a change.
  const wire::AttemptReportT& report = *attempt->report;
  actors::PushRequest push;
  push.url = run->create.url;
  push.base_branch = run->create.base_branch;
  push.base_sha = report.base_sha;
  push.head_sha = report.head_sha;
  push.branch = run->head.policy ? run->head.policy->branch : "";
  push.pack = api.parts.packs.path(report.pack_digest);
  // The pack says it even where nothing was pushed, or the branch is gone.
  auto diff = !report.pack_digest.empty() && api.parts.packs.has(report.pack_digest)
                  ? api.parts.diff_pack(push, kMaxDiff)
                  : api.parts.forge.diff(push.url, push.base_sha, push.head_sha, kMaxDiff);
  if (!diff)
    if (auto kept = check_kept(api, *id, "packs"); !kept)
      return tl::unexpected<Error>(kept.error());
  if (!diff) return tl::unexpected<Error>(diff.error());
  response.body = std::move(*diff);
  return response;
}

/// A file of ours, piece by piece. Descriptor and memory are bounded by the connections.
class FileStream final : public BodyStream {
 public:
  explicit FileStream(Fd file) : file_(std::move(file)) {}

  Piece next() override {
    Piece piece;
    piece.bytes.resize(256u << 10);
    const ssize_t n = ::read(file_.get(), piece.bytes.data(), piece.bytes.size());
    piece.bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    piece.end = n <= 0;  // What is cut short no longer has the digest that the client was told.
    return piece;
  }
  void on_more(std::function<void()>) override {}

 private:
  Fd file_;
};

Result<Response> run_artifacts(const ApiContext& api, const Request& request) {
  const auto id = api.view.find_run(request.params.at("id"));
  if (!id) return tl::unexpected<Error>(id.error());
  const auto number = read_number(request, "attempt", 0, kMaxAttempt);
  if (!number) return tl::unexpected<Error>(number.error());
  const auto run = api.view.run(*id);
  if (!run) return tl::unexpected<Error>(run.error());
  const auto attempt =
      std::find_if(run->attempts.rbegin(), run->attempts.rend(), [&](const auto& one) {
        return one.report && !one.report->artifacts_digest.empty() &&
               (*number == 0 || one.attempt == *number);
      });
  if (attempt == run->attempts.rend())
    return fail(Errc::not_found,
                (*number == 0 ? "no attempt of run " + *id
                              : "attempt " + std::to_string(*number) + " of run " + *id) +
                    " has left artefacts");
  if (auto kept = check_kept(api, *id, "artefacts"); !kept)
    return tl::unexpected<Error>(kept.error());
  const std::string& digest = attempt->report->artifacts_digest;
  Fd file(::open(api.parts.packs.path(digest).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return fail(Errc::not_found, "the artefacts of run " + *id + " are gone");
  Response response;
  response.content_type = "application/x-tar";
  response.headers.emplace_back("Muster-Attempt", std::to_string(attempt->attempt));
  response.headers.emplace_back("Muster-Sha256", digest);
  response.stream = std::make_shared<FileStream>(std::move(file));
  return response;
}

}  // namespace

void add_run_routes(Router& router, ApiContext api) {
  const auto with = [api](auto handler) {
    return [api, handler](const Request& request) { return handler(api, request); };
  };
  router.add(
      {"GET", "/v1/fleets/{name}/runs",
       [api](const Request& request) { return list_runs(api, request, request.params.at("name")); },
       0});
  router.add({"GET", "/v1/runs",
              [api](const Request& request) {
                return list_runs(api, request, request.parameter("fleet"));
              },
              0});
  router.add({"GET", "/v1/runs/{id}", with(show_run), 0});
  router.add({"POST", "/v1/runs/{id}/cancel", with(cancel_run), kMaxBody});
  router.add({"POST", "/v1/runs/{id}/steer", with(steer_run), kMaxBody});
  router.add({"GET", "/v1/runs/{id}/logs", with(run_logs), 0});
  router.add({"GET", "/v1/runs/{id}/diff", with(run_diff), 0});
  router.add({"GET", "/v1/runs/{id}/artifacts", with(run_artifacts), 0});
}

}  // namespace muster::musterd
