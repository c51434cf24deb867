#include "tools/musterd/render.hpp"

#include <cmath>

namespace muster::musterd {
namespace {

std::uint32_t at(const std::vector<std::uint32_t>& counts, std::size_t index) {
  return index < counts.size() ? counts[index] : 0;
}

std::uint32_t count_of(const fbs::FleetHeadT& head, fbs::RunState state) {
  return at(head.counts, static_cast<std::size_t>(state));
}

Json counts_json(const fbs::FleetHeadT& head) {
  Json counts = Json::object();
  for (const fbs::RunState state : fbs::EnumValuesRunState())
    counts[std::string(name_of(state))] = count_of(head, state);
  return counts;
}

Json failures_json(const fbs::FleetHeadT& head) {
  Json failed = Json::object();
  for (const fbs::FailureClass failure : fbs::EnumValuesFailureClass())
    if (failure != fbs::FailureClass::none)
      failed[std::string(name_of(failure))] =
          at(head.failed_by_class, static_cast<std::size_t>(failure));
  return failed;
}

Json labels_json(const std::vector<std::unique_ptr<wire::KeyValueT>>& labels) {
  Json out = Json::object();
  for (const auto& label : labels) out[label->key] = label->value;
  return out;
}

Json diff_json(std::uint32_t files, std::uint32_t insertions, std::uint32_t deletions) {
  return {{"files", files}, {"insertions", insertions}, {"deletions", deletions}};
}

Json step_json(const wire::StepReportT& step) {
  return {{"name", step.name},
          {"exit_code", step.exit_code},
          {"signal", step.signal},
          {"reason", step.reason},
          {"started_at", time_json(step.started_unix_ms)},
          {"ended_at", time_json(step.ended_unix_ms)},
          {"tail", step.tail}};
}

std::string_view outcome_name(const fbs::AttemptRowT& attempt) {
  if (!attempt.report) return attempt.finished_unix_ms == 0 ? "" : "lost";
  return known_name(wire::EnumNameOutcome(attempt.report->outcome));
}

/// The facts that the host reported; zeros until then, so that every key is always there.
void add_report(Json& json, const wire::AttemptReportT& report) {
  json["peak_memory_bytes"] = report.peak_memory_bytes;
  json["cpu_ms"] = report.cpu_ms;
  json["log_bytes"] = report.log_bytes;
  json["mirror_hit"] = report.mirror_hit;
  if (!report.resumed.empty()) json["resumed"] = report.resumed;
  for (const auto& base : report.other_bases) json["other_bases"][base->key] = base->value;
  json["fetch_ms"] = report.fetch_ms;
  json["create_ms"] = report.create_ms;
  json["teardown_ms"] = report.teardown_ms;
  json["prebuild"] = known_name(wire::EnumNameReuse(report.prebuild));
  json["warm_sandbox"] = known_name(wire::EnumNameReuse(report.warm_sandbox));
  json["base_sha"] = report.base_sha;
  json["head_sha"] = report.head_sha;
  json["diff"] =
      report.diff ? diff_json(report.diff->files, report.diff->insertions, report.diff->deletions)
                  : diff_json(0, 0, 0);
  json["steps"] = Json::array();
  for (const auto& step : report.steps) json["steps"].push_back(step_json(*step));
  json["warnings"] = report.warnings;
  json["summary"] = report.summary;
  json["artifacts_bytes"] = report.artifacts_bytes;
  json["artifacts_sha256"] = report.artifacts_digest;
  json["artifacts"] = Json::array();
  for (const auto& file : report.artifacts)
    json["artifacts"].push_back({{"path", file->path},
                                 {"bytes", file->bytes},
                                 {"mode", file->mode},
                                 {"sha256", file->sha256}});
}

}  // namespace

std::string to_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json time_json(std::int64_t unix_ms) {
  return unix_ms == 0 ? Json(nullptr) : Json(to_rfc3339(Instant{unix_ms}));
}

std::string_view known_name(const char* name) {
  return name == nullptr || *name == '\0' ? "unknown" : name;
}

std::string_view name_of(fbs::RunState state) {
  return known_name(fbs::EnumNameRunState(state));
}
std::string_view name_of(fbs::FailureClass failure) {
  return known_name(fbs::EnumNameFailureClass(failure));
}
std::string_view name_of(fbs::FleetState state) {
  return known_name(fbs::EnumNameFleetState(state));
}
std::string_view name_of(fbs::PullState state) {
  return known_name(fbs::EnumNamePullState(state));
}
std::string_view name_of(fbs::HostState state) {
  return known_name(fbs::EnumNameHostState(state));
}

bool is_end(fbs::RunState state) {
  return state >= fbs::RunState::delivered;
}

std::uint32_t ended_runs(const fbs::FleetHeadT& head) {
  std::uint32_t ended = 0;
  for (const fbs::RunState state : fbs::EnumValuesRunState())
    if (is_end(state) && state != fbs::RunState::superseded) ended += count_of(head, state);
  return ended;
}

Json eta_json(const fbs::FleetHeadT& head, Instant now) {
  const std::uint32_t ended = ended_runs(head);
  if (head.state != fbs::FleetState::running || ended == 0 || ended >= head.total ||
      head.started_unix_ms == 0 || now.unix_ms <= head.started_unix_ms)
    return nullptr;
  const auto elapsed_ms = static_cast<double>(now.unix_ms - head.started_unix_ms);
  return static_cast<std::int64_t>(std::ceil(elapsed_ms / 1000.0 * (head.total - ended) / ended));
}

namespace {

bool is_held(const fbs::FleetHeadT& head) {
  return head.state == fbs::FleetState::paused || head.state == fbs::FleetState::halted;
}

/// A run is not told of a pause while it waits: its fleet knows better.
std::string waiting_for(const fbs::RunHeadT& run, const fbs::FleetHeadT& fleet) {
  return run.state == fbs::RunState::waiting && is_held(fleet) ? "pause" : run.waiting_for;
}

}  // namespace

std::string_view waits_for(const fbs::RunRowT& row, const fbs::FleetHeadT& head) {
  if (is_held(head)) return "pause";
  if (row.wave >= head.wave) return "wave";
  if (row.attempt > 0) return "backoff";
  return "repo";
}

std::string why_text(const fbs::RunHeadT& run, const fbs::FleetHeadT& fleet,
                     std::string_view queued_why) {
  if (run.state == fbs::RunState::queued)
    return queued_why.empty() ? "the scheduler's next round takes it up" : std::string(queued_why);
  if (run.state != fbs::RunState::waiting) return "";
  const std::string what = waiting_for(run, fleet);
  if (what == "wave")
    return "its wave (" + std::to_string(run.wave + 1) + " of " + std::to_string(fleet.waves) +
           ") is not open yet";
  if (what == "pause")
    return "the fleet is " + std::string(name_of(fleet.state)) +
           (fleet.reason.empty() ? "" : ": " + fleet.reason);
  if (what == "backoff") return "it pauses before attempt " + std::to_string(run.attempt + 1);
  if (what == "repo") return "other runs have their turn in this repository";
  return what;
}

Json used_json(std::uint64_t tokens, std::uint64_t cost_micros) {
  return {{"tokens", tokens}, {"cost_usd", static_cast<double>(cost_micros) / 1e6}};
}

Json fleet_json(const fbs::FleetHeadT& head,
                const std::map<std::string, std::uint32_t>& why_waiting, Instant now) {
  Json why = Json::object();
  for (const auto& [reason, count] : why_waiting) why[reason] = count;
  return {{"name", head.name},
          {"state", name_of(head.state)},
          {"reason", head.reason},
          {"author", head.author},
          {"dry_run", head.dry_run},
          {"total", head.total},
          {"created", head.created},
          {"wave", head.wave},
          {"waves", head.waves},
          {"counts", counts_json(head)},
          {"failed_by_class", failures_json(head)},
          {"attempts", head.attempts},
          {"escalated", head.escalated},
          {"pulls", head.pulls},
          {"used", used_json(head.tokens, head.cost_micros)},
          {"created_at", time_json(head.created_unix_ms)},
          {"started_at", time_json(head.started_unix_ms)},
          {"ended_at", time_json(head.ended_unix_ms)},
          {"concurrency", head.policy ? head.policy->concurrency : 0},
          {"branch", head.policy ? head.policy->branch : ""},
          {"why_waiting", why},
          {"eta_s", eta_json(head, now)}};
}

Json row_json(const std::string& fleet, const fbs::RunRowT& row) {
  return {{"id", row.run},
          {"fleet", fleet},
          {"repository", row.repository},
          {"url", row.url},
          {"state", name_of(row.state)},
          {"class", name_of(row.class_)},
          {"reason", row.reason},
          {"message", row.message},
          {"attempt", row.attempt},
          {"host", row.host},
          {"pull", row.pull},
          {"wave", row.wave},
          {"generation", row.generation},
          {"escalated", row.escalated},
          {"head_sha", row.head_sha},
          {"used", used_json(row.tokens, row.cost_micros)},
          {"created_at", time_json(row.created_unix_ms)},
          {"started_at", time_json(row.started_unix_ms)},
          {"ended_at", time_json(row.ended_unix_ms)}};
}

Json attempt_json(const fbs::AttemptRowT& attempt) {
  Json json = {{"attempt", attempt.attempt},
               {"host", attempt.host},
               {"class", name_of(attempt.class_)},
               {"reason", attempt.reason},
               {"message", attempt.message},
               {"queued_at", time_json(attempt.queued_unix_ms)},
               {"placed_at", time_json(attempt.placed_unix_ms)},
               {"accepted_at", time_json(attempt.accepted_unix_ms)},
               {"running_at", time_json(attempt.running_unix_ms)},
               {"verifying_at", time_json(attempt.verifying_unix_ms)},
               {"finished_at", time_json(attempt.finished_unix_ms)},
               {"delivered_at", time_json(attempt.delivered_unix_ms)},
               {"outcome", outcome_name(attempt)}};
  add_report(json, attempt.report ? *attempt.report : wire::AttemptReportT{});
  const wire::CheckpointT* kept = attempt.checkpoint.get();
  if (attempt.report && attempt.report->checkpoint) kept = attempt.report->checkpoint.get();
  if (kept != nullptr)
    json["checkpoint"] = {{"commit", kept->commit},
                          {"base_sha", kept->base},
                          {"bytes", kept->bytes},
                          {"at", time_json(kept->at_unix_ms)}};
  return json;
}

Json run_json(const RunWhole& run, const fbs::FleetHeadT& fleet, std::string_view queued_why) {
  Json json = row_json(run.head.fleet, run.row);
  // The run knows itself before its fleet does.
  json["state"] = name_of(run.head.state);
  json["class"] = name_of(run.head.class_);
  json["reason"] = run.head.reason;
  json["message"] = run.head.message;
  json["attempt"] = run.head.attempt;
  json["host"] = run.head.host;
  json["pull"] = run.head.pull;
  json["escalated"] = run.head.escalated;
  json["head_sha"] = run.head.head_sha;
  json["used"] = used_json(run.head.tokens, run.head.cost_micros);
  json["started_at"] = time_json(run.head.started_unix_ms);
  json["ended_at"] = time_json(run.head.ended_unix_ms);
  json["waiting_for"] = waiting_for(run.head, fleet);
  json["why"] = why_text(run.head, fleet, queued_why);
  json["base_sha"] = run.head.base_sha;
  json["queued_at"] = time_json(run.head.queued_unix_ms);
  json["title"] = run.create.title;
  json["fork"] = nullptr;
  if (run.create.fork)
    json["fork"] = {{"run", run.create.fork->run},
                    {"snapshot", run.create.fork->snapshot},
                    {"host", run.create.fork->host}};
  json["attempts"] = Json::array();
  for (const auto& attempt : run.attempts) json["attempts"].push_back(attempt_json(attempt));
  return json;
}

Json pull_json(const std::string& id, const fbs::PullHeadT& head, const std::string* body) {
  Json json = {{"id", id},        {"number", head.number},        {"repository", head.repository},
               {"url", head.url}, {"state", name_of(head.state)}, {"fleet", head.fleet},
               {"run", head.run}, {"title", head.title}};
  if (body != nullptr) json["body"] = *body;
  json.update({{"branch", head.branch},
               {"base_branch", head.base_branch},
               {"base_sha", head.base_sha},
               {"head_sha", head.head_sha},
               {"merge_sha", head.merge_sha},
               {"draft", head.draft},
               {"labels", head.labels},
               {"reviewers", head.reviewers},
               {"assignees", head.assignees},
               {"author", head.author},
               {"diff", diff_json(head.diff_files, head.diff_insertions, head.diff_deletions)},
               {"busy", head.busy},
               {"problem", head.problem},
               {"created_at", time_json(head.created_unix_ms)},
               {"changed_at", time_json(head.changed_unix_ms)}});
  return json;
}

Json host_json(const fbs::HostHeadT& head) {
  Json running = Json::array();
  for (const auto& slot : head.used)
    running.push_back({{"run", slot->run}, {"attempt", slot->attempt}, {"fleet", slot->fleet}});
  return {{"name", head.name},
          {"state", name_of(head.state)},
          {"wanted", name_of(head.wanted)},
          {"session", head.session},
          {"version", head.version},
          {"protocol", head.protocol},
          {"refused", head.refused},
          {"slots", head.slots},
          {"used", head.used.size()},
          {"cpus_milli", head.cpus_milli},
          {"memory_bytes", head.memory_bytes},
          {"labels", labels_json(head.labels)},
          {"running", running},
          {"warm", std::max<std::size_t>(head.warm.size(), head.warm_count)},
          {"connected_at", time_json(head.connected_unix_ms)}};
}

}  // namespace muster::musterd
