#include "tools/muster/console/render.hpp"

#include <algorithm>
#include <cstdio>

#include "tools/muster/text.hpp"

namespace muster::cli::console {
namespace {

constexpr std::size_t kWidestName = 24;

std::string ago(Instant then, Instant now) {
  return then <= now ? human_duration(now - then) + " ago" : "in " + human_duration(then - now);
}

std::string ms(std::int64_t milliseconds) {
  return human_duration(Duration{milliseconds});
}

bool is_empty(const Doc& value) {
  if (value.is_null() || value == Doc(0) || value == Doc(false)) return true;
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  if (value.is_array()) return value.empty();
  if (value.is_object())
    return std::all_of(value.begin(), value.end(), [](const Doc& each) { return is_empty(each); });
  return false;
}

/// One value; its name tells whether it is a time, a duration or a size.
std::string scalar(const std::string& name, const Doc& value, Instant now) {
  if (value.is_string()) return safe_line(value.get<std::string>());
  if (!value.is_number_integer()) return dumped(value);
  const auto number = value.get<std::int64_t>();
  if (name.ends_with("_unix_ms"))
    return number == 0
               ? "-"
               : to_rfc3339({number}) + (now.unix_ms > 0 ? " (" + ago({number}, now) + ")" : "");
  if (name.ends_with("_ms")) return ms(number);
  if (name.ends_with("_bytes") && number >= 0)
    return human_bytes(static_cast<std::uint64_t>(number));
  return std::to_string(number);
}

std::string bare(std::string name) {
  for (const std::string_view end : {"_unix_ms", "_ms", "_bytes"})
    if (name.ends_with(end)) return name.substr(0, name.size() - end.size());
  return name;
}

bool all_scalar(const Doc& list) {
  return std::none_of(list.begin(), list.end(),
                      [](const Doc& each) { return each.is_structured(); });
}

std::string joined(const std::string& name, const Doc& list, Instant now) {
  std::string out;
  for (const Doc& each : list) out += (out.empty() ? "" : ", ") + scalar(name, each, now);
  return out.empty() ? "-" : out;
}

void add_field(std::string& out, const std::string& name, const Doc& value, const Screen& screen,
               std::size_t indent, std::size_t width, bool all) {
  const std::string shown = bare(safe_line(name));
  const std::string begin = std::string(indent, ' ') + styled(shown, Style::dim, screen.look) +
                            std::string(width > shown.size() ? width - shown.size() : 0, ' ') +
                            "  ";
  if (value.is_object()) {
    out += std::string(indent, ' ') + styled(shown, Style::dim, screen.look) + "\n" +
           fields_text(value, screen, indent + 2, all);
  } else if (value.is_array() && !all_scalar(value)) {
    std::size_t n = 0;
    for (const Doc& each : value) {
      out += std::string(indent, ' ') +
             styled(shown + "[" + std::to_string(n++) + "]", Style::dim, screen.look) + "\n";
      out += fields_text(each, screen, indent + 2, all);
    }
  } else {
    const std::string text =
        value.is_array() ? joined(name, value, screen.now) : scalar(name, value, screen.now);
    out += begin + (name == "state" ? styled(text, style_of(text), screen.look) : text) + "\n";
  }
}

std::string times(const Doc& document, const char* key, Instant now) {
  const auto then = parse_rfc3339(str(document, key));
  return then ? ago(*then, now) : "-";
}

std::string id_of(const Doc& document, const char* key) {
  return safe_line(str(document, key));
}

std::string more_text(const Doc& document) {
  return at(document, "next").is_null() ? "" : "… there are more: limit=N shows N\n";
}

}  // namespace

std::string fields_text(const Doc& document, const Screen& screen, std::size_t indent, bool all) {
  std::string out;
  if (!document.is_object())
    return std::string(indent, ' ') + scalar("", document, screen.now) + "\n";
  std::size_t width = 0;
  for (const auto& [name, value] : document.items())
    if (all || !is_empty(value)) width = std::max(width, std::min(kWidestName, bare(name).size()));
  std::size_t hidden = 0;
  for (const auto& [name, value] : document.items()) {
    if (all || !is_empty(value))
      add_field(out, name, value, screen, indent, width, all);
    else
      ++hidden;
  }
  if (hidden == document.size())
    out += std::string(indent, ' ') + (document.empty() ? "{}\n" : "(all empty)\n");
  return out;
}

std::string fields_line(const Doc& document) {
  if (!document.is_object()) return scalar("", document, {});
  std::string out;
  for (const auto& [name, value] : document.items()) {
    if (is_empty(value)) continue;
    out += (out.empty() ? "" : " ") + bare(safe_line(name)) + "=";
    if (value.is_object())
      out += "{" + fields_line(value) + "}";
    else if (value.is_array() && !all_scalar(value))
      out += "[" + std::to_string(value.size()) + "]";
    else
      out += value.is_array() ? joined(name, value, {}) : scalar(name, value, {});
  }
  return out;
}

std::string actors_text(const Doc& document, const Screen& screen) {
  std::vector<const Doc*> actors;
  for (const Doc& actor : list(document, "actors")) actors.push_back(&actor);
  std::stable_sort(actors.begin(), actors.end(), [](const Doc* a, const Doc* b) {
    if (num(*a, "pending") != num(*b, "pending")) return num(*a, "pending") > num(*b, "pending");
    return str(*a, "id") < str(*b, "id");
  });
  Table table({{"ACTOR"},
               {"STATE"},
               {"FLEET", Table::Align::left, true},
               {"AGE", Table::Align::right},
               {"STEPS", Table::Align::right},
               {"PENDING", Table::Align::right},
               {"OLDEST", Table::Align::right},
               {"TIMERS", Table::Align::right},
               {"MEMORY"}});
  for (const Doc* actor : actors) {
    const auto created = parse_rfc3339(str(*actor, "created_at"));
    const std::string state = str(*actor, "state");
    table.add(
        {Cell(str(*actor, "id")), Cell(state.empty() ? "-" : state, style_of(state)),
         Cell(str(*actor, "fleet")), Cell(created ? human_duration(screen.now - *created) : "-"),
         Cell(human_count(count(*actor, "decisions"))), Cell(human_count(count(*actor, "pending"))),
         Cell(num(*actor, "oldest_ms") > 0 ? ms(num(*actor, "oldest_ms")) : "-"),
         Cell(std::to_string(num(*actor, "timers"))),
         Cell(flag(*actor, "in_memory") ? "yes" : "no")});
  }
  if (table.empty()) return "no actors\n" + more_text(document);
  return table.text(screen.look) + more_text(document);
}

namespace {

std::string mailbox_text(const Doc& document) {
  const Doc& activation = at(document, "activation");
  const Doc& pending = at(activation, "pending");
  std::string text = str(activation, "state") + ", " + human_count(count(pending, "normal")) +
                     " waiting, " + human_count(count(pending, "operator")) +
                     " in the operator lane";
  if (num(activation, "oldest_ms") > 0)
    text += ", the oldest for " + ms(num(activation, "oldest_ms"));
  return text;
}

std::string envelope_line(const Doc& message, const Screen& screen) {
  return "#" + std::to_string(num(message, "sequence")) + "  " +
         styled(id_of(message, "type"), Style::bold, screen.look) + "  from " +
         id_of(message, "from") + "  " + times(message, "enqueued_at", screen.now) +
         (str(message, "lane") == "operator" ? "  operator lane" : "");
}

/// "for its wave to open", "because every host is full", which is of queued runs.
std::string waiting_words(const std::string& why, bool queued) {
  static constexpr std::pair<std::string_view, std::string_view> kFor[] = {
      {"wave", "its wave to open"},       {"repo", "its turn on its repository"},
      {"backoff", "its next attempt"},    {"pause", "its fleet to go on"},
      {"push", "the push of its branch"}, {"pull", "its pull request"}};
  for (const auto& [word, meaning] : kFor)
    if (why == word) return "for " + std::string(meaning);
  return (queued && !why.starts_with("an operator") ? "because " : "for ") + safe_line(why);
}

/// "1.4.2": of the installation's generation, the host's session and the attempt.
std::string epoch_text(const Doc& epoch) {
  return std::to_string(num(epoch, "generation")) + "." + std::to_string(num(epoch, "session")) +
         "." + std::to_string(num(epoch, "attempt"));
}

std::string effects_text(const Doc& document, const Screen& screen) {
  std::string out;
  for (const Doc& effect : list(document, "effects"))
    out += "  " + id_of(effect, "key") + "  by port " + id_of(effect, "port") + ", unknown " +
           times(effect, "deadline", screen.now) + ", asked by #" +
           std::to_string(num(effect, "sequence")) + "\n" +
           fields_text(at(at(effect, "request"), "body"), screen, 4, false);
  return out;
}

std::string timers_text(const Doc& document) {
  std::string out;
  for (const Doc& timer : list(document, "timers"))
    out += "  " + id_of(timer, "name") + "  " +
           (num(timer, "in_ms") >= 0 ? "in " + ms(num(timer, "in_ms")) : "due") + "  (" +
           str(timer, "due") + ")\n";
  return out;
}

std::string section(const std::string& title, const std::string& body, const Screen& screen) {
  return body.empty() ? "" : "\n" + styled(title, Style::bold, screen.look) + "\n" + body;
}

}  // namespace

std::string actor_text(const Doc& document, const Screen& screen, bool all) {
  std::string out = styled(id_of(document, "id"), Style::bold, screen.look);
  if (const std::string state = str(at(document, "state"), "state"); !state.empty())
    out += "  " + styled(safe_line(state), style_of(state), screen.look);
  if (flag(document, "finished")) out += "  finished";
  if (flag(document, "paused")) out += "  " + styled("PAUSED", Style::yellow, screen.look);
  out += "\n  mailbox    " + mailbox_text(document) + "\n";
  if (const std::string why = str(document, "waits_for"); !why.empty())
    out += "  waits      " + waiting_words(why, str(at(document, "state"), "state") == "queued") + "\n";
  const Doc& consumed = at(document, "consumed");
  out += "  journal    " + human_count(count(document, "decisions")) +
         " steps committed, the last consumed #" +
         std::to_string(std::max(num(consumed, "normal"), num(consumed, "operator"))) +
         ", made by #" + std::to_string(num(document, "incarnation")) + "\n";
  if (const Doc& live = at(document, "activation"); num(live, "steps") > 0) {
    const Doc& rate = at(live, "steps_per_second");
    char per_second[32];
    std::snprintf(per_second, sizeof per_second, "%.2f",
                  rate.is_number() ? rate.get<double>() : 0.0);
    out += "  in memory  since " + times(live, "since", screen.now) + ": " +
           plural(count(live, "steps"), "step") + ", " + per_second + " a second, " +
           std::to_string(num(live, "mean_us")) + "us each, " +
           std::to_string(num(live, "longest_us")) + "us the longest\n";
  }
  if (const Doc& placement = at(document, "placement"); placement.is_object())
    out += "  host       " + id_of(placement, "host") + ", epoch " +
           epoch_text(at(placement, "epoch")) + "\n";
  out += "  kind       version " + std::to_string(num(document, "version"));
  if (num(document, "version") != num(document, "version_now"))
    out += " (this program's is " + std::to_string(num(document, "version_now")) + ")";
  out += ", shard " + std::to_string(num(document, "shard")) + "\n";
  std::string waiting;
  for (const Doc& message : list(document, "pending"))
    waiting += "  " + envelope_line(message, screen) + "\n";
  if (flag(document, "more_pending")) waiting += "  … and more\n";
  out += section("Waits to be stepped", waiting, screen);
  out += section("Timers", timers_text(document), screen);
  out += section("Outstanding effects", effects_text(document, screen), screen);
  if (const Doc& error = at(document, "last_error"); error.is_object())
    out += section("Last error",
                   "  " + envelope_line(error, screen) + "\n  " + id_of(error, "reason") + "\n",
                   screen);
  return out + section("State", fields_text(at(document, "state"), screen, 2, all), screen);
}

std::string rows_text(const Doc& document, const Screen& screen) {
  std::string out;
  for (const Doc& row : list(document, "rows"))
    out += styled(id_of(row, "row"), Style::bold, screen.look) + "\n" +
           fields_text(at(row, "value"), screen, 2, false);
  return (out.empty() ? "no rows\n" : out) + more_text(document);
}

namespace {

std::string step_text(const Doc& step, const Screen& screen, bool full) {
  std::string out =
      "#" + std::to_string(num(step, "sequence")) + "  " + str(step, "at") + "  " +
      styled(id_of(step, "type"), flag(step, "dead") ? Style::red : Style::bold, screen.look);
  if (at(step, "message").is_null())
    out += "  (the message is no longer kept)";
  else
    out += "  from " + id_of(step, "from") + ", waited " + ms(num(step, "waited_ms"));
  if (str(step, "lane") == "operator") out += ", operator lane";
  if (flag(step, "dead")) out += "  DEAD LETTER";
  out += "\n";
  if (full)
    out += fields_text(at(step, "message"), screen, 4, false);
  else if (const std::string line = fields_line(at(step, "message"));
           at(step, "message").is_object() && !line.empty())
    out += "    " + cut(line, screen.look.width > 8 ? screen.look.width - 4 : 160) + "\n";
  for (const Doc& sent : list(step, "sent"))
    out += "    → " + id_of(sent, "type") + " to " + id_of(sent, "to") +
           (num(sent, "sequence") > 0 ? " #" + std::to_string(num(sent, "sequence")) : "") + "\n";
  for (const Doc& effect : list(step, "effects"))
    if (effect.is_string()) out += "    ⇒ effect " + safe_line(effect.get<std::string>()) + "\n";
  return out;
}

}  // namespace

std::string journal_text(const Doc& document, const Screen& screen, bool full) {
  std::string out;
  for (const Doc& message : list(document, "pending")) {
    out += envelope_line(message, screen) + "  PENDING\n";
    if (full) out += fields_text(at(message, "message"), screen, 4, false);
  }
  for (const Doc& step : list(document, "consumed")) out += step_text(step, screen, full);
  if (flag(document, "from_the_beginning")) out += "this is where the actor was made\n";
  return (out.empty() ? "nothing is kept of its journal\n" : out) + more_text(document);
}

std::string steps_text(const Doc& document, const Screen& screen) {
  std::string out;
  for (const Doc& step : list(document, "steps"))
    out += styled(id_of(step, "actor"), Style::bold, screen.look) + "  " +
           step_text(step, screen, false);
  if (const auto left_out = count(document, "left_out"); left_out > 0)
    out += styled("… " + plural(left_out, "step") + " left out: too many to show", Style::yellow,
                  screen.look) +
           "\n";
  return out;
}

std::string message_text(const Doc& document, const Screen& screen) {
  std::string out = envelope_line(document, screen) + "\n  to           " + id_of(document, "to") +
                    "\n  correlation  " + id_of(document, "correlation") + "\n";
  if (num(document, "causation") > 0)
    out += "  caused by    #" + std::to_string(num(document, "causation")) + "\n";
  out += section("Message", fields_text(at(document, "message"), screen, 2, true), screen);
  const Doc& step = at(document, "step");
  if (!step.is_object()) return out + "\nnot stepped, or its step is no longer kept\n";
  std::string came = "  at " + str(step, "at") + ", decision " +
                     std::to_string(num(step, "decision")) +
                     (flag(step, "dead") ? ", a dead letter" : "") + "\n";
  for (const Doc& sent : list(step, "sent"))
    came += "  → " + id_of(sent, "type") + " to " + id_of(sent, "to") +
            (num(sent, "sequence") > 0 ? " #" + std::to_string(num(sent, "sequence")) : "") + "\n";
  for (const Doc& effect : list(step, "effects"))
    if (effect.is_string()) came += "  ⇒ effect " + safe_line(effect.get<std::string>()) + "\n";
  return out + section("What came of it", came, screen);
}

namespace {

/// The lines of one message and of what it led to.
void add_branch(std::string& out, const Doc& messages,
                const std::vector<std::vector<std::size_t>>& children, std::size_t at_place,
                const std::string& indent, const std::string& begin, const Screen& screen) {
  const Doc& message = messages[at_place];
  const std::string link = str(message, "link");
  out += begin + (link.empty() || link == "sent" ? "" : safe_line(link) + ": ") +
         styled(id_of(message, "type"), Style::bold, screen.look) + " to " + id_of(message, "to") +
         "  #" + std::to_string(num(message, "sequence")) + "\n";
  const auto& mine = children[at_place];
  constexpr std::size_t kDeepest = 200;
  if (indent.size() > kDeepest) return;
  for (std::size_t n = 0; n < mine.size(); ++n) {
    const bool last = n + 1 == mine.size();
    add_branch(out, messages, children, mine[n], indent + (last ? "   " : "│  "),
               indent + (last ? "└─ " : "├─ "), screen);
  }
}

}  // namespace

std::string tree_text(const Doc& document, const Screen& screen) {
  std::string out;
  for (const Doc& message : list(document, "ancestors"))
    out += styled("by " + id_of(message, "type") + " to " + id_of(message, "to") + "  #" +
                      std::to_string(num(message, "sequence")) + ", from " + id_of(message, "from"),
                  Style::dim, screen.look) +
           "\n";
  const Doc& messages = list(document, "messages");
  std::vector<std::vector<std::size_t>> children(messages.size());
  for (std::size_t n = 1; n < messages.size(); ++n) {
    const Doc& parent = at(messages[n], "parent");
    if (parent.is_number_unsigned() && parent.get<std::size_t>() < n)
      children[parent.get<std::size_t>()].push_back(n);
  }
  if (!messages.empty()) add_branch(out, messages, children, 0, "", "", screen);
  if (flag(document, "more")) out += "… and more\n";
  return out.empty() ? "nothing\n" : out;
}

std::string state_text(const Doc& document, const Screen& screen, bool all) {
  std::string out = styled(id_of(document, "id"), Style::bold, screen.look) + " after #" +
                    std::to_string(num(document, "sequence")) + ", " + str(document, "at") + ", " +
                    plural(count(document, "steps"), "step") + " made again" +
                    (num(document, "snapshot") > 0
                         ? " from the snapshot after #" + std::to_string(num(document, "snapshot"))
                         : "") +
                    "\n";
  if (num(document, "version_then") != num(document, "version_now"))
    out += styled("its steps were decided by version " +
                      std::to_string(num(document, "version_then")) +
                      " of its kind and are made again by version " +
                      std::to_string(num(document, "version_now")) + ": it may never have been so",
                  Style::yellow, screen.look) +
           "\n";
  if (flag(document, "newest"))
    out += flag(document, "same_as_kept") ? "this is its newest state, as it is kept\n"
                                          : "this is its newest state, and what is kept differs\n";
  out += fields_text(at(document, "state"), screen, 2, all);
  if (num(document, "row_count") > 0)
    out += "  " + plural(count(document, "row_count"), "row") + "\n";
  return out;
}

std::string engine_text(const Doc& document, const Screen& screen) {
  const Doc& actors = at(document, "actors");
  const Doc& commits = at(document, "commits");
  const Doc& took = at(commits, "took_us");
  const Doc& batch = at(commits, "batch");
  const auto us = [](std::int64_t value) {
    return value < 10'000 ? std::to_string(value) + "us" : ms(value / 1'000);
  };
  std::string out;
  out += "actors       " + human_count(count(actors, "in_memory")) + " in memory, " +
         human_count(count(actors, "busy")) + " busy; " +
         plural(count(actors, "pending"), "message") + " waiting" +
         (num(actors, "oldest_ms") > 0 ? ", the oldest for " + ms(num(actors, "oldest_ms")) : "") +
         "\n";
  out += "commits      " + human_count(count(commits, "commits")) + " with " +
         human_count(count(commits, "decisions")) + " decisions, " +
         human_bytes(count(commits, "bytes")) + " since the start\n";
  out += "the last " + human_count(count(commits, "seen")) + "\n";
  out += "  batch      p50 " + human_count(count(batch, "p50")) + ", p99 " +
         human_count(count(batch, "p99")) + ", max " + plural(count(batch, "max"), "decision") +
         "\n";
  out += "  written in p50 " + us(num(took, "p50")) + ", p99 " + us(num(took, "p99")) + ", max " +
         us(num(took, "max")) + "\n";
  for (const Doc& kind : list(document, "steps"))
    out += "steps of " + padded(id_of(kind, "kind") + "s", 8) + human_count(count(kind, "steps")) +
           ", each " + us(num(kind, "mean_us")) + " on average, 99 % below " +
           us(num(kind, "p99_us")) + "\n";
  for (const Doc& shard : list(document, "shards"))
    out += "shard " + std::to_string(num(shard, "shard")) + "      " +
           human_count(count(shard, "messages")) + " messages given, " +
           human_count(count(shard, "decisions")) + " decisions, low-water mark #" +
           std::to_string(num(shard, "low_water")) + "\n";
  out += "dead letters " + human_count(count(document, "dead_letters")) + "\n";
  if (const std::string trouble = str(document, "trouble"); !trouble.empty())
    out += styled("trouble      " + safe_line(trouble), Style::red, screen.look) + "\n";
  return out;
}

std::string hot_text(const Doc& document, const Screen& screen) {
  Table table({{"ACTOR", Table::Align::left, true},
               {"STEPS", Table::Align::right},
               {"PER MINUTE", Table::Align::right},
               {"SENT", Table::Align::right},
               {"EFFECTS", Table::Align::right},
               {"DEAD", Table::Align::right}});
  for (const Doc& actor : list(document, "hot")) {
    const Doc& rate = at(actor, "per_second");
    const double per_minute = rate.is_number() ? rate.get<double>() * 60 : 0;
    table.add({Cell(str(actor, "id")), Cell(human_count(count(actor, "steps"))),
               Cell(human_count(static_cast<std::uint64_t>(std::max(0.0, per_minute) + 0.5))),
               Cell(human_count(count(actor, "sent"))), Cell(human_count(count(actor, "effects"))),
               Cell(human_count(count(actor, "dead")))});
  }
  const std::string span = "the newest steps, back to " + ms(num(document, "window_ms")) + " ago";
  return table.empty() ? "no steps\n" : span + "\n" + table.text(screen.look);
}

std::string operation_text(const Doc& document, const Screen& screen) {
  const bool dry = flag(document, "dry_run");
  std::string out =
      dry ? "would " + id_of(document, "action") + " " + human_count(count(document, "possible"))
          : id_of(document, "action") + ": " + human_count(count(document, "done")) + " of " +
                human_count(count(document, "matched")) + " done";
  std::string names;
  std::size_t shown = 0;
  for (const Doc& target : list(document, "targets"))
    if (target.is_string()) {
      names += (names.empty() ? "" : ", ") + safe_line(target.get<std::string>());
      ++shown;
    }
  if (dry && !names.empty())
    out += ": " + names + (count(document, "possible") > shown ? ", …" : "");
  out += "\n";
  const Doc& decides = at(document, "decides");
  if (dry && (num(decides, "messages") > 0 || num(decides, "effects") > 0))
    out += "  at once: " + plural(count(decides, "messages"), "message") + ", " +
           plural(count(decides, "effects"), "effect") + "\n";
  for (const Doc& failure : list(document, "failures"))
    out += "  " +
           styled(id_of(failure, "target") + ": " + id_of(failure, "message"), Style::red,
                  screen.look) +
           "\n";
  if (count(document, "failed") > list(document, "failures").size())
    out += "  … " + human_count(count(document, "failed")) + " failed in all\n";
  return out;
}

std::string queue_text(const Doc& document, const Screen& screen) {
  Table table({{"RUN"},
               {"REPOSITORY", Table::Align::left, true},
               {"FLEET"},
               {"PRIORITY", Table::Align::right},
               {"WAITED", Table::Align::right},
               {"WHY", Table::Align::left, true}});
  for (const Doc& run : list(document, "queue"))
    table.add({Cell(str(run, "run")), Cell(str(run, "repository")), Cell(str(run, "fleet")),
               Cell(std::to_string(num(run, "priority"))), Cell(ms(num(run, "waited_ms"))),
               Cell(str(run, "why"))});
  return (table.empty() ? "nothing waits for a host\n" : table.text(screen.look)) +
         more_text(document);
}

std::string hosts_text(const Doc& document, const Screen& screen) {
  Table table({{"HOST"},
               {"STATE"},
               {"USED", Table::Align::right},
               {"SLOTS", Table::Align::right},
               {"VERSION"}});
  for (const Doc& host : list(document, "hosts"))
    table.add({Cell(str(host, "name")), Cell(str(host, "state"), style_of(str(host, "state"))),
               Cell(std::to_string(at(host, "used").is_array()
                                       ? static_cast<std::int64_t>(at(host, "used").size())
                                       : num(host, "used"))),
               Cell(std::to_string(num(host, "slots"))), Cell(str(host, "version"))});
  return (table.empty() ? "no hosts\n" : table.text(screen.look)) + more_text(document);
}

std::string dead_text(const Doc& document, const Screen& screen) {
  std::string out;
  for (const Doc& dead : list(document, "dead_letters")) {
    out += styled(id_of(dead, "id"), Style::bold, screen.look) + "  " +
           envelope_line(dead, screen) + "  to " + id_of(dead, "to") +
           (str(dead, "state") == "open"
                ? ""
                : "  " + id_of(dead, "state") + " by " + id_of(dead, "closed_by")) +
           "\n";
    out +=
        "    " + styled(id_of(dead, "reason"), Style::red, screen.look) + "\n    " +
        cut(fields_line(at(dead, "message")), screen.look.width > 8 ? screen.look.width - 4 : 160) +
        "\n";
  }
  return (out.empty() ? "no dead letters\n" : out) + more_text(document);
}

std::string kinds_text(const Doc& document, const std::string& kind, const Screen& screen) {
  std::string out;
  for (const Doc& each : list(document, "kinds")) {
    if (kind.empty()) {
      std::string names;
      for (const Doc& message : list(each, "messages"))
        names += (names.empty() ? "" : ", ") + str(message, "name");
      out += styled(str(each, "name"), Style::bold, screen.look) + "  version " +
             std::to_string(num(each, "version")) + "\n  " + names + "\n";
    }
    if (kind.empty() || str(each, "name") != kind) continue;
    for (const Doc& message : list(each, "messages")) {
      out += styled(str(message, "name"), Style::bold, screen.look) + "\n";
      for (const Doc& field : list(message, "fields")) {
        std::string values;
        for (const Doc& value : list(field, "values"))
          values +=
              (values.empty() ? "" : "|") + (value.is_string() ? value.get<std::string>() : "");
        out += "  " + str(field, "name") + "  " + (values.empty() ? str(field, "type") : values) +
               (flag(field, "required") ? "  required" : "") + "\n";
      }
    }
  }
  return out.empty() ? "there is no kind '" + kind + "'\n" : out;
}

}  // namespace muster::cli::console
