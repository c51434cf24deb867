#include "tools/muster/render/swarm_view.hpp"

#include <algorithm>

#include "tools/muster/json_get.hpp"
#include "tools/muster/render/fleet_view.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

constexpr std::size_t kShaShown = 10;

std::string short_commit(const std::string& sha) {
  return sha.substr(0, kShaShown);
}

std::uint64_t in(const Json& swarm, const char* state) {
  return count(at(swarm, "counts"), state);
}

Style style_of_facet(const std::string& state) {
  if (state == "merged" || state == "unchanged") return Style::green;
  if (state == "rejected") return Style::red;
  return state == "waiting" ? Style::dim : Style::yellow;
}

Style style_of_swarm(const std::string& state) {
  if (state == "completed") return Style::green;
  if (state == "stopped" || state == "cancelled" || state == "completed_with_rejections")
    return Style::red;
  return Style::yellow;
}

std::string sum(const Json& swarm) {
  std::string out = std::to_string(in(swarm, "merged")) + " of " +
                    plural(count(swarm, "facets"), "facet") + " merged";
  for (const char* state : {"unchanged", "working", "handed_in", "trying", "waiting", "rejected"})
    if (in(swarm, state) != 0)
      out += ", " + std::to_string(in(swarm, state)) + " " + words_of(state);
  return out;
}

/// What a facet is about, beside its state.
std::string about(const Json& facet) {
  const std::string state = str(facet, "state"), why = safe_line(str(facet, "why"));
  const Json& run = at(facet, "run");
  std::string out;
  if (state == "merged") out = "as " + short_commit(str(facet, "merge"));
  if (flag(facet, "planner") && state == "trying")
    return "plans; " + plural(count(at(facet, "parts"), "open"), "facet") + " of it open";
  if (state == "working" && run.is_object())
    out = "run " + short_id(str(run, "id")) + " " + str(run, "state") +
          (str(run, "host").empty() ? "" : " on " + safe_line(str(run, "host")));
  if (state == "handed_in" || state == "trying") out = short_commit(str(facet, "commit"));
  if (state == "waiting" && count(facet, "waits_for") != 0) out = "needs " + joined(facet, "needs");
  if (state == "rejected" || state == "unchanged") return why;
  const std::uint64_t evictions = count(facet, "evictions");
  if (evictions != 0)
    out += (out.empty() ? "" : "; ") + ("sent back " + plural(evictions, "time")) +
           (state == "merged" || why.empty() ? "" : ": " + why);
  return out;
}

std::string line_head(const Json& line, const Look& look) {
  std::string out = styled(safe_line(str(line, "repository")), Style::bold, look);
  const std::string green = str(line, "green"), state = str(line, "state");
  out += green.empty() ? "  no line yet" : "  green " + short_commit(green);
  if (!green.empty() && green == str(line, "begin")) out += " (nothing integrated yet)";
  if (state == "merging" || state == "verifying" || state == "moving")
    out += "  " + state + " " + plural(count(line, "trying"), "facet");
  if (!str(line, "pull").empty()) out += "  pull request " + safe_line(str(line, "pull"));
  if (!str(line, "pull_error").empty())
    out += "  " + styled(safe_line(str(line, "pull_error")), Style::red, look);
  return out;
}

/// Those that move come first when not all are shown.
int interest(const Json& facet) {
  const std::string state = str(facet, "state");
  if (state == "working" || state == "handed_in" || state == "trying") return 0;
  if (state == "rejected") return 1;
  return state == "merged" || state == "unchanged" ? 2 : 3;
}

void add_branch(std::string& out, const Json& line, std::vector<const Json*> facets, bool last,
                const Look& look, std::size_t most) {
  out += (last ? "└─ " : "├─ ") + line_head(line, look) + "\n";
  const std::string indent = last ? "   " : "│  ";
  const std::size_t all = facets.size();
  if (all > most) {
    std::stable_sort(facets.begin(), facets.end(),
                     [](const Json* a, const Json* b) { return interest(*a) < interest(*b); });
    facets.resize(most);
  }
  std::size_t width = 0;
  for (const Json* facet : facets) width = std::max(width, columns(str(*facet, "id")));
  for (std::size_t i = 0; i < facets.size(); ++i) {
    const Json& facet = *facets[i];
    const std::string state = str(facet, "state");
    std::string text = indent + (i + 1 == facets.size() && all == facets.size() ? "└─ " : "├─ ") +
                       padded(safe_line(str(facet, "id")), width) + "  " +
                       styled(padded(words_of(state), 9), style_of_facet(state), look) + "  " +
                       about(facet);
    if (look.width != 0) text = cut_coloured(text, look.width);
    while (text.ends_with(' ')) text.pop_back();
    out += text + "\n";
  }
  if (all > facets.size())
    out += indent + "└─ and " + std::to_string(all - facets.size()) + " more\n";
}

std::string first_line_of(const std::string& text) {
  const std::size_t end = text.find('\n');
  return text.substr(0, end) + (end == std::string::npos ? "" : " …");
}

/// Why it was sent back or rejected, in whole: both sides of a conflict, the end of what failed.
std::string trouble_text(const Json& trouble) {
  std::string output = safe_text(str(trouble, "output"));
  if (output.empty()) return "";
  while (output.ends_with('\n')) output.pop_back();
  std::string out = "\n" + words_of(safe_line(str(trouble, "reason"))) + "\n  | ";
  for (const char c : output) out += c == '\n' ? std::string("\n  | ") : std::string(1, c);
  return out + "\n";
}

}  // namespace

std::string words_of(std::string state) {
  std::replace(state.begin(), state.end(), '_', ' ');
  return state;
}

bool is_over_swarm(const Json& swarm) {
  const std::string state = str(swarm, "state");
  return state == "completed" || state == "completed_with_rejections" || state == "stopped" ||
         state == "cancelled";
}

int exit_code_of_swarm(const Json& swarm) {
  return str(swarm, "state") == "completed" ? 0 : 1;
}

std::string swarm_tree(const Json& swarm, const std::vector<Json>& facets, const Look& look,
                       std::size_t most) {
  const std::string state = str(swarm, "state");
  std::string out = styled(safe_line(str(swarm, "name")), Style::bold, look) + "  " +
                    styled(words_of(state), style_of_swarm(state), look) + "  " + sum(swarm) + "\n";
  for (const char* note : {"reason", "paused", "draining"})
    if (!str(swarm, note).empty()) out += "   " + safe_line(str(swarm, note)) + "\n";
  if (const std::string used = used_text(swarm); !used.empty())
    out += "   agents used " + used + "\n";
  const Json& lines = list(swarm, "repositories");
  const std::size_t each = std::max<std::size_t>(1, most / std::max<std::size_t>(1, lines.size()));
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::vector<const Json*> own;
    for (const Json& facet : facets)
      if (str(facet, "repository") == str(lines[i], "id")) own.push_back(&facet);
    add_branch(out, lines[i], std::move(own), i + 1 == lines.size(), look, each);
  }
  return out;
}

std::string swarm_line(const Json& swarm) {
  return safe_line(str(swarm, "name")) + ": " + words_of(str(swarm, "state")) + ", " + sum(swarm);
}

std::string swarm_table(const std::vector<Json>& swarms, const Look& look, Instant now) {
  Table table({{"SWARM", Table::Align::left, true},
               {"STATE"},
               {"FACETS", Table::Align::right},
               {"MERGED", Table::Align::right},
               {"REJECTED", Table::Align::right},
               {"REPOSITORIES", Table::Align::right},
               {"AGE", Table::Align::right}});
  for (const Json& swarm : swarms) {
    const auto made = when(swarm, "created_at");
    const std::string state = str(swarm, "state");
    table.add({str(swarm, "name"),
               {words_of(state), style_of_swarm(state)},
               std::to_string(count(swarm, "facets")),
               std::to_string(in(swarm, "merged")),
               std::to_string(in(swarm, "rejected")),
               std::to_string(list(swarm, "repositories").size()),
               made ? human_duration(now - *made) : ""});
  }
  return table.text(look);
}

std::string facet_text(const Json& facet, const Look& look) {
  Table table({{""}, {"", Table::Align::left, true}});
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) table.add({{name, Style::dim}, value});
  };
  const std::string state = str(facet, "state");
  add("facet", str(facet, "id"));
  add("repository", str(facet, "repository"));
  table.add({{"state", Style::dim}, {words_of(state), style_of_facet(state)}});
  add("why", str(facet, "why"));
  add("task", first_line_of(str(facet, "task")));
  add("scope", joined(facet, "scope"));
  add("needs", joined(facet, "needs"));
  const Json& run = at(facet, "run");
  if (run.is_object())
    add("run", str(run, "id") + " (" + str(run, "state") + ", attempt " +
                   std::to_string(count(run, "attempt")) + ")");
  add("planned by", str(facet, "owner"));
  if (flag(facet, "planner"))
    add("plans", std::to_string(count(at(facet, "parts"), "plans")) + ", " +
                     plural(count(at(facet, "parts"), "open"), "facet") + " of it open");
  for (const Json& one : list(facet, "tries"))
    add("try", short_id(str(one, "run")) + " " + short_commit(str(one, "commit")) +
                   (at(one, "score").is_number() ? " score " + at(one, "score").dump() : "") +
                   (flag(one, "kept") ? " (kept)" : ""));
  add("runs", std::to_string(count(facet, "runs")));
  if (count(facet, "resolves") != 0) add("resolver", plural(count(facet, "resolves"), "conflict"));
  add("sent back", plural(count(facet, "evictions"), "time"));
  add("base", str(facet, "base"));
  add("commit", str(facet, "commit"));
  add("merged as", str(facet, "merge"));
  add("by driver", joined(facet, "by_driver"));
  return table.text(look) + trouble_text(at(facet, "trouble"));
}

std::string ledger_text(const Json& ledger, const Look& look) {
  Table table({{"COMMIT"}, {"FACET"}, {"RUN"}, {"FATE"}, {"", Table::Align::left, true}});
  for (const Json& commit : list(ledger, "commits")) {
    const std::string fate = str(commit, "fate");
    std::string what = safe_line(str(commit, "reason"));
    if (fate == "merged") what = "as " + short_commit(str(commit, "merge"));
    if (fate == "merged" && !list(commit, "remade").empty()) what = "makes " + joined(commit, "remade") + " anew";
    if (fate == "superseded") what = "by " + short_commit(str(commit, "successor"));
    table.add({short_commit(str(commit, "commit")),
               str(commit, "facet"),
               short_id(str(commit, "run")),
               {fate, style_of_facet(fate)},
               what});
  }
  std::string out = table.text(look);
  for (const Json& line : list(ledger, "repositories"))
    out += safe_line(str(line, "repository")) + ": " + plural(count(line, "merges"), "merge") +
           " from " + short_commit(str(line, "begin")) + " to " + short_commit(str(line, "deliverable")) +
           "\n";
  for (const Json& finding : list(ledger, "findings"))
    out += styled(safe_line(str(finding, "kind")), Style::red, look) + " " +
           short_commit(str(finding, "commit")) + ": " + safe_line(str(finding, "text")) + "\n";
  const std::uint64_t open = count(ledger, "open");
  const std::string commits = plural(list(ledger, "commits").size(), "commit");
  if (flag(ledger, "proven"))
    out += commits + ", every one accounted for" +
           (open == 0 ? std::string() : "; " + std::to_string(open) + " still open") + "\n";
  else
    out += commits + ", " + plural(list(ledger, "findings").size(), "finding") + "\n";
  return out;
}

}  // namespace muster::cli
