#include "tools/musterd/actor_json.hpp"

#include <algorithm>

namespace muster::musterd {

std::string actor_name(const engine::ActorId& id) {
  return id.kind + "/" + id.key;
}

Json decoded_or_why(const Result<Json>& decoded, std::size_t bytes) {
  if (decoded) return *decoded;
  return {{"undecoded", decoded.error().message}, {"bytes", bytes}};
}

std::string sender_text(const engine::Envelope& message) {
  if (!message.from.kind.empty()) return actor_name(message.from);
  if (!message.timer.empty()) return "timer " + message.timer;
  if (message.causation != 0) return "effect";
  if (!message.dedup_key.empty()) return "api";
  if (message.correlation.find('#') != std::string::npos) return "channel " + message.correlation;
  return "engine";
}

namespace {

std::string_view lane_name(engine::Lane lane) {
  return lane == engine::Lane::operator_ ? "operator" : "normal";
}

Json message_json(const engine::ActorId& to, const engine::Payload& payload) {
  return decoded_or_why(actor_schemas().message(to.kind, payload), payload.bytes.size());
}

}  // namespace

Json envelope_json(std::uint32_t shard, const engine::Envelope& message) {
  Json json = {{"shard", shard},
               {"sequence", message.sequence},
               {"from", sender_text(message)},
               {"to", actor_name(message.to)},
               {"lane", lane_name(message.lane)},
               {"type", actor_schemas().message_name(message.to.kind, message.payload.type)},
               {"enqueued_at", time_json(message.enqueued_at.unix_ms)},
               {"correlation", message.correlation},
               {"causation", message.causation}};
  json["message"] = message_json(message.to, message.payload);
  return json;
}

Json step_json(std::uint32_t shard, const engine::StepLook& step, const engine::Envelope* message) {
  Json json = {{"shard", shard},
               {"position", step.position},
               {"sequence", step.sequence},
               {"actor", actor_name(step.actor)},
               {"lane", lane_name(step.lane)},
               {"type", actor_schemas().message_name(step.actor.kind, step.type)},
               {"at", time_json(step.at.unix_ms)},
               {"version", step.version},
               {"decision", step.decision},
               {"dead", step.dead}};
  Json sent = Json::array();
  for (const engine::SentLook& each : step.sent)
    sent.push_back({{"to", actor_name(each.to)},
                    {"type", actor_schemas().message_name(each.to.kind, each.type)},
                    {"sequence", each.sequence}});
  json["sent"] = std::move(sent);
  json["effects"] = step.effects;
  if (message == nullptr) {
    json["message"] = nullptr;
    return json;
  }
  json["from"] = sender_text(*message);
  json["enqueued_at"] = time_json(message->enqueued_at.unix_ms);
  json["waited_ms"] = std::max<std::int64_t>(0, (step.at - message->enqueued_at).count());
  json["correlation"] = message->correlation;
  json["causation"] = message->causation;
  json["message"] = message_json(message->to, message->payload);
  return json;
}

std::string_view letter_state(engine::DeadLetter::State state) {
  switch (state) {
    case engine::DeadLetter::State::open:
      return "open";
    case engine::DeadLetter::State::replayed:
      return "replayed";
    case engine::DeadLetter::State::discarded:
      return "discarded";
  }
  return "unknown";
}

Json dead_json(std::uint32_t shard, const engine::DeadLook& dead) {
  Json json = envelope_json(shard, dead.message);
  json["reason"] = dead.reason;
  json["died_at"] = time_json(dead.at.unix_ms);
  json["version"] = dead.version;
  json["id"] = engine::LetterId{shard, dead.message.sequence}.to_string();
  json["state"] = letter_state(dead.state);
  json["closed_by"] = dead.closed_by;
  json["closed_why"] = dead.closed_why;
  json["replayed_as"] = dead.replayed_as;
  return json;
}

Json activation_json(const std::optional<engine::ActivationLook>& look, bool backlog, Instant now) {
  Json json = {{"state", "passive"},      {"pending", {{"normal", 0}, {"operator", 0}}},
               {"oldest_at", nullptr},    {"oldest_ms", 0},
               {"since", nullptr},        {"steps", 0},
               {"steps_per_second", 0.0}, {"mean_us", 0},
               {"longest_us", 0}};
  if (!look) {
    if (backlog) json["state"] = "backlog";
    return json;
  }
  json["state"] = look->idle ? "idle" : look->queued ? "queued" : "busy";
  json["pending"] = {{"normal", look->pending[0]}, {"operator", look->pending[1]}};
  if (look->since.unix_ms > 0) {
    const auto in_memory =
        static_cast<double>(std::max<std::int64_t>(1, (now - look->since).count()));
    json["since"] = time_json(look->since.unix_ms);
    json["steps"] = look->steps;
    json["steps_per_second"] = static_cast<double>(look->steps) * 1'000.0 / in_memory;
    json["mean_us"] = look->steps > 0 ? look->steps_us / look->steps : 0;
    json["longest_us"] = look->longest_us;
  }
  if (look->oldest) {
    json["oldest_at"] = time_json(look->oldest->unix_ms);
    json["oldest_ms"] = std::max<std::int64_t>(0, (now - *look->oldest).count());
  }
  return json;
}

std::int64_t created_unix_ms(const engine::ActorLook& actor) {
  const char* field = actor.id.kind == "host" ? "connected_unix_ms" : "created_unix_ms";
  const std::string text = actor_schemas().state_field(actor.id.kind, actor.state, field);
  return text.empty() ? 0 : std::stoll(text);
}

Json actor_line_json(const engine::ActorLook& actor, const engine::ActivationLook* live,
                     Instant now) {
  const auto field = [&](const char* name) {
    return actor_schemas().state_field(actor.id.kind, actor.state, name);
  };
  std::size_t pending = 0;
  if (live != nullptr)
    for (const std::size_t lane : live->pending) pending += lane;
  const bool waits = live != nullptr && live->oldest.has_value();
  return {{"id", actor_name(actor.id)},
          {"kind", actor.id.kind},
          {"key", actor.id.key},
          {"fleet", actor.id.kind == "fleet" ? actor.id.key : field("fleet")},
          {"state", field("state")},
          {"created_at", time_json(created_unix_ms(actor))},
          {"decisions", actor.decision},
          {"in_memory", live != nullptr},
          {"pending", pending},
          {"oldest_ms", waits ? std::max<std::int64_t>(0, (now - *live->oldest).count()) : 0},
          {"timers", actor.timers.size()},
          {"finished", actor.finished},
          {"paused", actor.paused}};
}

Json commits_json(const std::vector<engine::CommitLook>& commits,
                  const engine::CommitTotals& totals, std::size_t shown) {
  std::vector<std::int64_t> took;
  std::vector<std::size_t> decisions;
  for (const engine::CommitLook& commit : commits) {
    took.push_back(commit.took.count());
    decisions.push_back(commit.decisions);
  }
  std::sort(took.begin(), took.end());
  std::sort(decisions.begin(), decisions.end());
  const auto percentile = [](const auto& sorted, std::size_t percent) {
    return sorted.empty() ? 0 : sorted[std::min(sorted.size() - 1, sorted.size() * percent / 100)];
  };
  Json last = Json::array();
  const std::size_t from = commits.size() > shown ? commits.size() - shown : 0;
  for (std::size_t n = commits.size(); n-- > from;)
    last.push_back({{"shard", commits[n].shard},
                    {"at", time_json(commits[n].at.unix_ms)},
                    {"decisions", commits[n].decisions},
                    {"rows", commits[n].rows},
                    {"bytes", commits[n].bytes},
                    {"took_us", commits[n].took.count()}});
  return {{"commits", totals.commits},
          {"decisions", totals.decisions},
          {"bytes", totals.bytes},
          {"seen", commits.size()},
          {"took_us",
           {{"p50", percentile(took, 50)},
            {"p99", percentile(took, 99)},
            {"max", took.empty() ? 0 : took.back()}}},
          {"batch",
           {{"p50", percentile(decisions, 50)},
            {"p99", percentile(decisions, 99)},
            {"max", decisions.empty() ? 0 : decisions.back()}}},
          {"last", std::move(last)}};
}

}  // namespace muster::musterd
