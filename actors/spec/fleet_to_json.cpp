// Writing: the canonical form, and how two of them differ.
#include <nlohmann/json.hpp>

#include "actors/spec/fleet_spec.hpp"
#include "actors/spec/units.hpp"

namespace muster::actors {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxDifferences = 50;
constexpr std::size_t kMaxShown = 80;

json command(const Command& from) {
  return from.shell.empty() ? json(from.argv) : json(from.shell);
}

json source(const RepositorySource& from) {
  using Kind = RepositorySource::Kind;
  const char* key = from.kind == Kind::path ? "path" : from.kind == Kind::file ? "file" : "url";
  json out{{key, from.value}};
  if (!from.base_branch.empty()) out["base_branch"] = from.base_branch;
  if (!from.labels.empty()) out["labels"] = from.labels;
  return out;
}

json cpus(std::uint32_t milli) {
  if (milli % 1000 == 0) return milli / 1000;
  return static_cast<double>(milli) / 1000;
}

std::string mode_text(std::uint32_t mode) {
  std::string text = "0000";
  for (std::size_t i = 4; i-- > 1; mode >>= 3) text[i] = static_cast<char>('0' + (mode & 7));
  return text;
}

json environment(const Environment& from) {
  json setup = json::array();
  for (const Command& c : from.setup) setup.push_back(command(c));
  json env = json::object();
  for (const auto& [name, value] : from.env) env[name] = value;
  json out{{"image", from.image},
           {"setup", setup},
           {"env", env},
           {"secrets", from.secrets},
           {"network", from.host_network ? "host" : "none"},
           {"resources",
            {{"cpus", cpus(from.cpus_milli)},
             {"memory", size_text(from.memory_bytes)},
             {"pids", from.pids},
             {"disk", size_text(from.disk_bytes)}}}};
  json files = json::array();
  for (const PlacedFile& file : from.files)
    files.push_back({{"source", file.source},
                     {"path", file.path},
                     {"mode", mode_text(file.mode)},
                     {"owner", file.root ? "root" : "agent"}});
  // Without any, fleets that are older than the key keep their digest.
  if (!files.empty()) out["files"] = std::move(files);
  return out;
}

json workspace(const std::vector<WorkspaceRepository>& from) {
  json out = json::array();
  for (const WorkspaceRepository& repository : from) {
    json one{{"name", repository.name}, {repository.path ? "path" : "url", repository.location}};
    if (!repository.base_branch.empty()) one["base_branch"] = repository.base_branch;
    out.push_back(std::move(one));
  }
  return out;
}

json verifications(const std::vector<Verification>& from) {
  json out = json::array();
  for (const Verification& v : from) {
    json one{{"name", v.name}, {"run", command(v.run)}, {"timeout", to_string(v.timeout)}};
    if (!v.if_exists.empty()) one["if_exists"] = v.if_exists;
    out.push_back(std::move(one));
  }
  return out;
}

json rollout(const Rollout& from) {
  json waves = json::array();
  for (const Wave& w : from.waves)
    waves.push_back(w.count != 0 ? json(w.count) : json(percent_text(w.permille)));
  json on = json::array();
  for (const fbs::FailureClass c : from.retry.on) on.push_back(fbs::EnumNameFailureClass(c));
  return {{"waves", waves},
          {"concurrency", from.concurrency},
          {"halt",
           {{"failure_rate", percent_text(from.halt_permille)}, {"min_runs", from.halt_min_runs}}},
          {"priority", from.priority},
          {"retry",
           {{"max_attempts", from.retry.max_attempts},
            {"on", on},
            {"backoff", to_string(from.retry.backoff)},
            {"max_backoff", to_string(from.retry.max_backoff)}}},
          {"timeout", to_string(from.timeout)},
          {"escalate", from.escalate}};
}

json delivery(const Delivery& from) {
  return {{"mode", fbs::EnumNameDeliveryMode(from.mode)},
          {"branch", from.branch},
          {"conflict_strategy", fbs::EnumNameConflictStrategy(from.conflict_strategy)},
          {"commit",
           {{"message", from.commit.message},
            {"author", from.commit.author_name + " <" + from.commit.author_email + ">"},
            {"manual", from.commit.manual}}},
          {"pull_request",
           {{"title", from.pull_request.title},
            {"body", from.pull_request.body},
            {"draft", from.pull_request.draft},
            {"labels", from.pull_request.labels},
            {"reviewers", from.pull_request.reviewers},
            {"assignees", from.pull_request.assignees}}}};
}

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown - 3) + "...";
  return text;
}

void compare(const json& before, const json& after, const std::string& pointer,
             std::vector<std::string>& out) {
  if (before == after || out.size() >= kMaxDifferences) return;
  if (!before.is_object() || !after.is_object()) {
    out.push_back(dotted(pointer) + ": " + shown(before) + " -> " + shown(after));
    return;
  }
  json keys = before;
  keys.update(after);
  for (const auto& entry : keys.items())
    compare(before.value(entry.key(), json()), after.value(entry.key(), json()),
            pointer + "/" + entry.key(), out);
}

}  // namespace

std::vector<std::string> Command::to_argv() const {
  if (shell.empty()) return argv;
  return {"bash", "-eo", "pipefail", "-c", shell};
}

std::string to_canonical_json(const FleetSpec& spec) {
  json repositories = json::array();
  for (const RepositorySource& s : spec.repositories) repositories.push_back(source(s));
  json out{{"version", 1},
                 {"name", spec.name},
                 {"prompt", spec.prompt},
                 {"repositories", repositories},
                 {"exclude", spec.exclude},
                 {"environment", environment(spec.environment)},
                 {"agent",
                  {{"run", command(spec.agent.run)},
                   {"files", spec.agent.files},
                   {"timeout", to_string(spec.agent.timeout)},
                   {"idle_timeout", to_string(spec.agent.idle_timeout)}}},
                 {"verify", verifications(spec.verify)},
                 {"rollout", rollout(spec.rollout)},
                 {"delivery", delivery(spec.delivery)}};
  // Without them, fleets that are older than these keys keep their digest.
  if (!spec.workspace.empty()) out["workspace"] = {{"repositories", workspace(spec.workspace)}};
  if (spec.checkpoint.interval > Duration{0})
    out["checkpoint"] = {{"interval", to_string(spec.checkpoint.interval)}, {"resume", spec.checkpoint.resume}};
  return out.dump();
}

std::vector<std::string> differences(std::string_view old_json, std::string_view new_json) {
  std::vector<std::string> out;
  compare(json::parse(old_json, nullptr, false), json::parse(new_json, nullptr, false), "", out);
  return out;
}

}  // namespace muster::actors
