#include "tools/muster/render/run_view.hpp"

#include <algorithm>
#include <array>

#include "tools/muster/json_get.hpp"
#include "tools/muster/render/fleet_view.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

using Align = Table::Align;

constexpr std::size_t kTailLines = 20;

std::string ago(const std::optional<Instant>& then, Instant now) {
  return then ? human_duration(now - *then) + " ago" : "";
}

std::string short_sha(const std::string& sha) {
  return sha.substr(0, 12);
}

/// Begun, as its times tell, whatever became of it.
bool step_begun(const Json& step) {
  const auto from = when(step, "started_at"), to = when(step, "ended_at");
  return str(step, "reason") != "skipped" && from && to && *to > *from;
}

/// "exit 1", "signal 9", "timed_out": how a step or an attempt ended.
std::string ending(const Json& step) {
  const std::string reason = str(step, "reason");
  std::string out;
  if (num(step, "signal") != 0)
    out = "signal " + std::to_string(num(step, "signal"));
  else if (at(step, "exit_code").is_number() && num(step, "exit_code") >= 0)
    out = "exit " + std::to_string(num(step, "exit_code"));
  if (!reason.empty()) out = out.empty() ? reason : reason + ", " + out;
  // Its container went away under it: nobody saw its end.
  if (out.empty()) return step_begun(step) ? "cut off" : "did not run";
  return out;
}

bool step_ok(const Json& step) {
  return num(step, "exit_code") == 0 && num(step, "signal") == 0 &&
         at(step, "exit_code").is_number();
}
bool step_ran(const Json& step) {
  return (num(step, "exit_code") >= 0 && str(step, "reason") != "skipped") || step_begun(step);
}

std::string diff_stat(const Json& diff) {
  if (!diff.is_object()) return "";
  return plural(count(diff, "files"), "file") + ", +" + std::to_string(count(diff, "insertions")) +
         " -" + std::to_string(count(diff, "deletions"));
}

/// The attempt's timeline: each point with the time since the one before.
std::string timeline(const Json& attempt, const Look& look) {
  static constexpr std::array<std::pair<const char*, const char*>, 7> kPoints{
      {{"queued_at", "queued"},
       {"placed_at", "placed"},
       {"accepted_at", "accepted"},
       {"running_at", "running"},
       {"verifying_at", "verifying"},
       {"finished_at", "finished"},
       {"delivered_at", "delivered"}}};
  Table table({{""}, {""}, {"", Align::right}});
  std::optional<Instant> before;
  for (const auto& [key, name] : kPoints) {
    const auto then = when(attempt, key);
    if (!then) continue;
    table.add({name, str(attempt, key), before ? "+" + human_duration(*then - *before) : ""});
    before = then;
  }
  return table.text(look, 4);
}

std::string step_lines(const Json& step, const Look& look) {
  const auto from = when(step, "started_at"), to = when(step, "ended_at");
  const Style style = step_ok(step) ? Style::green : step_ran(step) ? Style::red : Style::dim;
  std::string out = "    " + styled(padded(safe_line(str(step, "name")), 16), Style::bold, look) +
                    " " + styled(safe_line(ending(step)), style, look) +
                    (from && to ? "  " + human_duration(*to - *from) : "") + "\n";
  const bool worth_showing = str(step, "name").starts_with("verify:") || !step_ok(step);
  const std::string tail = str(step, "tail");
  if (!worth_showing || tail.empty()) return out;
  std::string lines = safe_text(last_lines(tail, kTailLines));
  out += "      | ";
  for (const char c : lines) out += c == '\n' ? std::string("\n      | ") : std::string(1, c);
  return out + "\n";
}

std::string attempt_text(const Json& attempt, const Look& look) {
  const std::string cls = str(attempt, "class");
  std::string how = str(attempt, "outcome");
  if (!cls.empty() && cls != "none")
    how = cls + (str(attempt, "reason").empty() ? "" : " " + str(attempt, "reason"));
  std::string out =
      "\n" + styled("Attempt " + std::to_string(num(attempt, "attempt")), Style::bold, look) +
      (str(attempt, "host").empty() ? "" : " on " + safe_line(str(attempt, "host"))) +
      (how.empty() ? "" : ": " + safe_line(how)) + "\n";
  if (!str(attempt, "message").empty()) out += "    " + safe_line(str(attempt, "message")) + "\n";
  out += timeline(attempt, look);
  for (const Json& step : list(attempt, "steps")) out += step_lines(step, look);
  std::vector<std::string> facts;
  if (count(attempt, "peak_memory_bytes") != 0)
    facts.push_back("peak memory " + human_bytes(count(attempt, "peak_memory_bytes")));
  if (num(attempt, "cpu_ms") != 0)
    facts.push_back("cpu " + human_duration(Duration{num(attempt, "cpu_ms")}));
  if (count(attempt, "log_bytes") != 0)
    facts.push_back("log " + human_bytes(count(attempt, "log_bytes")));
  if (!str(attempt, "base_sha").empty())
    facts.push_back("base " + short_sha(safe_line(str(attempt, "base_sha"))));
  if (!str(attempt, "head_sha").empty())
    facts.push_back("head " + short_sha(safe_line(str(attempt, "head_sha"))));
  if (!str(attempt, "resumed").empty())
    facts.push_back("began with checkpoint " + short_sha(safe_line(str(attempt, "resumed"))));
  if (const Json& kept = at(attempt, "checkpoint"); kept.is_object())
    facts.push_back("checkpoint " + short_sha(safe_line(str(kept, "commit"))));
  if (const std::string stat = diff_stat(at(attempt, "diff"));
      !stat.empty() && !str(attempt, "head_sha").empty())
    facts.push_back(stat);
  if (!list(attempt, "artifacts").empty())
    facts.push_back(plural(list(attempt, "artifacts").size(), "artifact"));
  if (at(attempt, "mirror_hit").is_boolean() && num(attempt, "fetch_ms") != 0)
    facts.push_back(std::string(flag(attempt, "mirror_hit") ? "warm" : "cold") + " fetch " +
                    human_duration(Duration{num(attempt, "fetch_ms")}));
  if (num(attempt, "create_ms") != 0)
    facts.push_back("create " + human_duration(Duration{num(attempt, "create_ms")}));
  for (const auto& [key, what] : {std::pair{"prebuild", "prebuild "}, std::pair{"warm_sandbox", "warm pool "}})
    if (const std::string found = str(attempt, key); found == "hit" || found == "miss")
      facts.push_back(what + found);
  std::string line;
  for (const std::string& fact : facts) line += (line.empty() ? "" : ", ") + fact;
  if (!line.empty()) out += "    " + line + "\n";
  for (const Json& warning : list(attempt, "warnings"))
    if (warning.is_string())
      out += "    " + styled("warning: ", Style::yellow, look) +
             safe_line(warning.get<std::string>()) + "\n";
  return out;
}

std::string next_of_run(const Json& run) {
  const std::string id = short_id(str(run, "id")), state = str(run, "state");
  std::vector<std::string> commands{"muster run logs " + id +
                                    (state == "failed"                            ? " --failed"
                                     : state == "running" || state == "verifying" ? " -f"
                                                                                  : "")};
  if (!str(run, "head_sha").empty()) commands.push_back("muster run diff " + id);
  for (const Json& attempt : list(run, "attempts"))
    if (!list(attempt, "artifacts").empty()) {
      commands.push_back("muster run artifacts " + id);
      break;
    }
  if (state == "failed")
    commands.push_back("muster fleet retry " + shell_quoted(str(run, "fleet")) +
                       " --failed --repo " + shell_quoted(str(run, "repository")));
  if (num(run, "pull") != 0)
    commands.push_back("muster pr show " + shell_quoted(str(run, "repository") + "#" +
                                                        std::to_string(num(run, "pull"))));
  std::string out;
  for (const std::string& command : commands) out += "  " + safe_line(command) + "\n";
  return out;
}

std::string field(const std::string& name, const std::string& value, const Look& look) {
  return value.empty() ? "" : "  " + styled(padded(name, 9), Style::dim, look) + " " + value + "\n";
}

}  // namespace

std::string run_table(const std::vector<Json>& runs, const Look& look, Instant now) {
  Table table({{"RUN"},
               {"REPOSITORY", Align::left, true},
               {"FLEET", Align::left, true},
               {"STATE", Align::left, true},
               {"ATTEMPT", Align::right},
               {"HOST", Align::left, true},
               {"PULL", Align::right},
               {"TIME", Align::right},
               {"MESSAGE", Align::left, true}});
  for (const Json& run : runs) {
    const auto from = when(run, "started_at"), to = when(run, "ended_at");
    table.add({short_id(str(run, "id")),
               str(run, "repository"),
               str(run, "fleet"),
               {state_text(run), style_of(str(run, "state"))},
               std::to_string(num(run, "attempt")),
               str(run, "host"),
               num(run, "pull") == 0 ? "" : "#" + std::to_string(num(run, "pull")),
               from ? human_duration((to ? *to : now) - *from) : "",
               str(run, "message")});
  }
  return table.text(look);
}

std::string run_text(const Json& run, const Look& look, Instant now) {
  const std::string state = str(run, "state");
  std::string out = styled(safe_line(str(run, "id")), Style::bold, look) + "  " +
                    safe_line(str(run, "repository")) + "  " +
                    styled(safe_line(state_text(run)), style_of(state), look) +
                    (flag(run, "escalated") ? " (escalated)" : "") + "\n";
  if (!str(run, "message").empty()) out += "  " + safe_line(str(run, "message")) + "\n";
  out +=
      field("fleet",
            safe_line(str(run, "fleet")) + ", wave " + std::to_string(num(run, "wave") + 1), look);
  out += field("from", safe_line(str(run, "url")), look);
  if (state == "waiting" || state == "queued") {
    const std::string why = safe_line(str(run, "why")), what = safe_line(str(run, "waiting_for"));
    out += field("waits",
                 !why.empty()   ? "because " + why
                 : what.empty() ? ""
                                : "for " + what,
                 look);
  }
  if (const Json& fork = at(run, "fork"); fork.is_object())
    out += field("fork of", safe_line(str(fork, "run") + ", with " + str(fork, "snapshot")), look);
  out += field("host", safe_line(str(run, "host")), look);
  out += field("base", safe_line(str(run, "base_sha")), look);
  out += field("head", safe_line(str(run, "head_sha")), look);
  if (num(run, "pull") != 0)
    out += field("pull", safe_line(str(run, "repository")) + "#" + std::to_string(num(run, "pull")),
                 look);
  if (const std::string used = used_text(run); !used.empty()) out += field("used", used, look);
  const auto from = when(run, "started_at"), to = when(run, "ended_at");
  if (from)
    out += field(
        "time",
        human_duration((to ? *to : now) - *from) + (to ? ", ended " + ago(to, now) : " so far"),
        look);
  for (const Json& attempt : list(run, "attempts")) out += attempt_text(attempt, look);
  return out + "\n" + styled("Next", Style::bold, look) + "\n" + next_of_run(run);
}

std::string pull_table(const std::vector<Json>& pulls, const Look& look, Instant now) {
  Table table({{"PULL REQUEST", Align::left, true},
               {"STATE"},
               {"TITLE", Align::left, true},
               {"BRANCH", Align::left, true},
               {"CHANGES", Align::right},
               {"AGE", Align::right}});
  for (const Json& pull : pulls) {
    const Json& diff = at(pull, "diff");
    const auto made = when(pull, "created_at");
    table.add({str(pull, "id"),
               {str(pull, "state") + (flag(pull, "draft") ? " (draft)" : ""),
                style_of(str(pull, "state"))},
               str(pull, "title"),
               str(pull, "branch"),
               "+" + std::to_string(count(diff, "insertions")) + " -" +
                   std::to_string(count(diff, "deletions")),
               made ? human_duration(now - *made) : ""});
  }
  return table.text(look);
}

std::string pull_text(const Json& pull, const Look& look, Instant now) {
  const std::string state = str(pull, "state");
  std::string out = styled(safe_line(str(pull, "id")), Style::bold, look) + "  " +
                    styled(safe_line(state), style_of(state), look) +
                    (flag(pull, "draft") ? " (draft)" : "") + "\n" +
                    styled(safe_line(str(pull, "title")), Style::bold, look) + "\n";
  const std::string base = str(pull, "base_branch");
  out += field("merges",
               safe_line(str(pull, "branch")) + " into " +
                   (base.empty() ? "the default branch" : safe_line(base)),
               look);
  out += field("url", safe_line(str(pull, "url")), look);
  const bool of_swarm = str(pull, "run") == str(pull, "fleet");
  if (of_swarm)
    out += field("swarm", safe_line(str(pull, "fleet")), look);
  else
    out += field("run",
                 safe_line(short_id(str(pull, "run"))) + " of fleet " + safe_line(str(pull, "fleet")),
                 look);
  out += field("author", safe_line(str(pull, "author")), look);
  if (!of_swarm) out += field("changes", diff_stat(at(pull, "diff")), look);
  out += field("head", safe_line(str(pull, "head_sha")), look);
  out += field("merged as", safe_line(str(pull, "merge_sha")), look);
  out += field("labels", safe_line(joined(pull, "labels")), look);
  out += field("reviewers", safe_line(joined(pull, "reviewers")), look);
  out += field("assignees", safe_line(joined(pull, "assignees")), look);
  out += field("opened", ago(when(pull, "created_at"), now), look);
  if (!str(pull, "busy").empty()) out += field("busy", safe_line(str(pull, "busy")), look);
  if (!str(pull, "problem").empty())
    out += field("problem", styled(safe_line(str(pull, "problem")), Style::red, look), look);
  if (const std::string body = str(pull, "body"); !body.empty())
    out += "\n" + safe_text(body) + (body.ends_with("\n") ? "" : "\n");
  return out;
}

std::string host_table(const std::vector<Json>& hosts, const Look& look, Instant now) {
  const bool pools = std::any_of(hosts.begin(), hosts.end(),
                                 [](const Json& host) { return at(host, "warm_pool").is_object(); });
  std::vector<Table::Column> columns{{"HOST", Table::Align::left, true},
                                     {"STATE"},
                                     {"SLOTS", Table::Align::right},
                                     {"CPUS", Table::Align::right},
                                     {"MEMORY", Table::Align::right},
                                     {"WARM", Table::Align::right}};
  if (pools) columns.insert(columns.end(), {{"POOL", Table::Align::right}, {"HITS", Table::Align::right}});
  columns.insert(columns.end(), {{"VERSION"},
                                 {"CONNECTED", Table::Align::right},
                                 {"LABELS", Table::Align::left, true}});
  Table table(std::move(columns));
  for (const Json& host : hosts) {
    const auto since = when(host, "connected_at");
    std::string labels;
    if (at(host, "labels").is_object())
      for (const auto& [key, value] : at(host, "labels").items())
        labels += (labels.empty() ? "" : ",") + key + "=" +
                  (value.is_string() ? value.get<std::string>() : dumped(value));
    const auto milli = count(host, "cpus_milli");
    std::vector<Cell> row{
        str(host, "name"),
        {str(host, "state"), style_of(str(host, "state"))},
        std::to_string(count(host, "used")) + "/" + std::to_string(count(host, "slots")),
        std::to_string(milli / 1000) +
            (milli % 1000 == 0 ? "" : "." + std::to_string(milli % 1000 / 100)),
        human_bytes(count(host, "memory_bytes")),
        std::to_string(count(host, "warm"))};
    const Json& pool = at(host, "warm_pool");
    if (pools && pool.is_object()) {
      row.emplace_back(std::to_string(count(pool, "waiting")) + "/" + std::to_string(count(pool, "max")));
      row.emplace_back(std::to_string(count(pool, "hits")) + "/" +
                       std::to_string(count(pool, "hits") + count(pool, "misses")));
    } else if (pools) {
      row.insert(row.end(), 2, Cell("-"));
    }
    row.insert(row.end(), {str(host, "version"), ago(since, now), labels});
    table.add(std::move(row));
  }
  return table.text(look);
}

std::string diff_text(std::string_view patch, const Look& look) {
  std::string out;
  while (!patch.empty()) {
    const std::size_t end = std::min(patch.find('\n'), patch.size());
    const std::string_view line = patch.substr(0, end);
    Style style = Style::plain;
    if (line.starts_with("diff ") || line.starts_with("+++") || line.starts_with("---") ||
        line.starts_with("index "))
      style = Style::bold;
    else if (line.starts_with("@@"))
      style = Style::blue;
    else if (line.starts_with("+"))
      style = Style::green;
    else if (line.starts_with("-"))
      style = Style::red;
    // A patch into a pipe is for git apply: there it stays as it is.
    out +=
        look.colour || look.width != 0 ? styled(safe_text(line), style, look) : std::string(line);
    if (end < patch.size()) out += "\n";
    patch.remove_prefix(std::min(end + 1, patch.size()));
  }
  return out;
}

}  // namespace muster::cli
