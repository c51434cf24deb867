// From a fleet file and one attempt to what the host is sent.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/spec/derive.hpp"
#include "storage/runlog/runlog.hpp"

namespace muster::actors {
namespace {

using nlohmann::json;

std::unique_ptr<wire::StepT> make_step(std::string name, const Command& command, Duration timeout,
                                       Duration idle, const std::string& if_exists = "") {
  auto step = std::make_unique<wire::StepT>();
  step->name = std::move(name);
  step->argv = command.to_argv();
  step->if_exists = if_exists;
  step->timeout_ms = timeout.count();
  step->idle_timeout_ms = idle.count();
  return step;
}

std::vector<std::unique_ptr<wire::StepT>> make_steps(const FleetSpec& spec) {
  std::vector<std::unique_ptr<wire::StepT>> steps;
  const Agent& agent = spec.agent;
  for (std::size_t i = 0; i < spec.environment.setup.size(); ++i)
    steps.push_back(make_step("setup:" + std::to_string(i + 1), spec.environment.setup[i],
                              agent.timeout, agent.idle_timeout));
  steps.push_back(make_step("agent", agent.run, agent.timeout, agent.idle_timeout));
  for (const Verification& v : spec.verify)
    steps.push_back(make_step("verify:" + v.name, v.run, v.timeout, Duration{0}, v.if_exists));
  return steps;
}

bool is_trailer(std::string_view line) {
  const std::size_t colon = line.find(": ");
  return colon != std::string_view::npos && colon > 0 &&
         std::all_of(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(colon), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-';
         });
}

/// True when the last paragraph, which is not the first, already is a block of trailers.
bool ends_in_trailers(const std::string& message) {
  const std::size_t blank = message.rfind("\n\n");
  if (blank == std::string::npos) return false;
  std::string_view rest = std::string_view(message).substr(blank + 2);
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    if (!is_trailer(rest.substr(0, end))) return false;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return true;
}

std::unique_ptr<wire::CommitT> make_commit(const FleetSpec& spec, const fbs::StartSandboxT& start) {
  auto commit = std::make_unique<wire::CommitT>();
  const std::string message = commit_message(spec);
  commit->message = message + (ends_in_trailers(message) ? "\n" : "\n\n") +
                    "Muster-Fleet: " + start.fleet + "\nMuster-Run: " + start.run + "\n";
  commit->author_name = spec.delivery.commit.author_name;
  commit->author_email = spec.delivery.commit.author_email;
  // The placement's time: the same for every repetition of this attempt's start.
  const std::int64_t placed = start.deadline_unix_ms - attempt_timeout(spec).count();
  commit->date_unix_ms = std::max<std::int64_t>(placed, 0);
  commit->manual = spec.delivery.commit.manual;
  return commit;
}

/// Null for what is no JSON.
json parsed(const std::string& text) {
  json value = json::parse(text, nullptr, false);
  return value.is_discarded() ? json() : value;
}

/// Why this work is done again, and what people said about it since.
std::string make_feedback(const fbs::StartSandboxT& start) {
  if (start.feedback_json.empty() || start.messages_json.empty()) return start.feedback_json;
  json feedback = parsed(start.feedback_json), said = parsed(start.messages_json);
  if (!feedback.is_object() || !said.is_array()) return start.feedback_json;
  feedback["messages"] = std::move(said);
  return feedback.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string make_context(const FleetSpec& spec, const fbs::StartSandboxT& start) {
  json labels = json::parse(start.labels_json.empty() ? "{}" : start.labels_json, nullptr, false);
  if (!labels.is_object()) labels = json::object();
  json context{
      {"fleet", start.fleet},
      {"run", start.run},
      {"attempt", start.epoch ? start.epoch->attempt() : 1},
      {"dry_run", start.dry_run},
      {"repository",
       {{"name", start.repository}, {"base_branch", start.base_branch}, {"branch", start.branch}}},
      {"labels", labels},
      {"limits",
       {{"timeout_s", spec.agent.timeout.count() / 1000},
        {"idle_timeout_s", spec.agent.idle_timeout.count() / 1000},
        {"cpus", static_cast<double>(spec.environment.cpus_milli) / 1000},
        {"memory_bytes", spec.environment.memory_bytes},
        {"pids", spec.environment.pids},
        {"disk_bytes", spec.environment.disk_bytes},
        {"network", spec.environment.host_network ? "host" : "none"}}}};
  if (json input = parsed(start.input_json); !input.is_null()) context["input"] = std::move(input);
  if (json said = parsed(start.messages_json); said.is_array())
    context["messages"] = std::move(said);
  return context.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

/// What was said before it starts, for the file to which the host adds what is said later.
void set_messages(const fbs::StartSandboxT& start, wire::SandboxSpecT& to) {
  const json said = parsed(start.messages_json);
  if (!said.is_array()) return;
  for (const json& one : said) {
    if (!one.is_object() || !one.contains("number")) continue;
    auto message = std::make_unique<wire::SteerMessageT>();
    message->number = one.value("number", 0U);
    message->by = one.value("by", "");
    message->text = one.value("text", "");
    message->at_unix_ms = one.value("at_unix_ms", std::int64_t{0});
    to.messages.push_back(std::move(message));
  }
}

void set_environment(const Environment& from, wire::SandboxSpecT& to) {
  to.image = from.image;
  for (const auto& [name, value] : from.env) {
    auto entry = std::make_unique<wire::KeyValueT>();
    entry->key = name;
    entry->value = value;
    to.env.push_back(std::move(entry));
  }
  to.secrets = from.secrets;
  for (const PlacedFile& file : from.files) {
    auto placed = std::make_unique<wire::ContextFileT>();
    placed->source = file.source;
    placed->path = file.path;
    placed->mode = file.mode;
    placed->owner = file.root ? 0 : 1000;
    to.context_files.push_back(std::move(placed));
  }
  to.network = from.host_network ? wire::Network::host : wire::Network::none;
  to.cpus_milli = from.cpus_milli;
  to.memory_bytes = from.memory_bytes;
  to.pids = from.pids;
  to.disk_bytes = from.disk_bytes;
}

}  // namespace

Result<FleetSpec> stored_fleet(std::string_view spec_json) {
  auto spec = parse_fleet(spec_json);
  if (spec) return std::move(*spec);
  const Problem& first = spec.error().front();
  return fail(Errc::corrupt,
              "the stored fleet file is not valid: " + dotted(first.pointer) + " " + first.message);
}

wire::SandboxSpecT sandbox_spec_of(const FleetSpec& spec, const fbs::StartSandboxT& start) {
  wire::SandboxSpecT to;
  to.run = start.run;
  to.attempt = start.epoch ? start.epoch->attempt() : 1;
  to.fleet = start.fleet;
  to.repository = start.repository;
  to.url = start.url;
  to.base_branch = start.base_branch;
  to.branch = start.branch.empty() ? spec.delivery.branch : start.branch;
  set_environment(spec.environment, to);
  to.prompt = spec.prompt;
  to.context_json = make_context(spec, start);
  to.feedback_json = make_feedback(start);
  set_messages(start, to);
  to.agent_bundle = start.agent_bundle;
  to.dry_run = start.dry_run;
  to.steps = make_steps(spec);
  to.commit = make_commit(spec, start);
  to.verify_required = !spec.verify.empty();
  to.deadline_unix_ms = start.deadline_unix_ms;
  to.max_log_bytes = storage::kMaxAttemptLogBytes;
  to.max_pack_bytes = kMaxPackBytes;
  to.max_artifact_bytes = kMaxArtifactBytes;
  to.checkpoint_interval_ms = spec.checkpoint.interval.count();
  for (const WorkspaceRepository& repository : spec.workspace) {
    auto other = std::make_unique<wire::OtherRepositoryT>();
    other->name = repository.name;
    other->url = repository.location;
    other->base_branch = repository.base_branch;
    to.other_repositories.push_back(std::move(other));
  }
  to.snapshot = start.snapshot;
  if (start.checkpoint) to.resume = std::make_unique<wire::CheckpointT>(*start.checkpoint);
  return to;
}

}  // namespace muster::actors
