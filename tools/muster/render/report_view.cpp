#include "tools/muster/render/report_view.hpp"

#include <algorithm>
#include <array>

#include "tools/muster/json_get.hpp"
#include "tools/muster/render/fleet_view.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

using Align = Table::Align;

constexpr std::array kStates{"delivered", "unchanged",    "skipped",    "failed",
                             "cancelled", "superseded",   "delivering", "verifying",
                             "running",   "provisioning", "queued",     "waiting"};
constexpr std::array kPhases{"queue", "fetch", "create", "agent", "verify", "deliver", "total"};
constexpr std::size_t kPullsShown = 10;

std::string share(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return "";
  const std::uint64_t permille = (part * 1000 + whole / 2) / whole;
  return std::to_string(permille / 10) + "." + std::to_string(permille % 10) + "%";
}

/// The sections of a report as tables, which text and Markdown write each in their way.
struct Section {
  std::string title;
  std::vector<Table::Column> columns;
  std::vector<std::vector<Cell>> rows;
  std::string note;
};

Section outcomes(const Json& report) {
  Section out{"Outcomes", {{"STATE"}, {"RUNS", Align::right}, {"SHARE", Align::right}}, {}, ""};
  const auto total = count(at(report, "fleet"), "total");
  for (const char* state : kStates)
    if (const auto n = count(at(report, "outcomes"), state); n != 0)
      out.rows.push_back({{state, style_of(state)}, human_count(n), share(n, total)});
  return out;
}

Section failures(const Json& report) {
  Section out{"Failures",
              {{"CLASS"},
               {"RUNS", Align::right},
               {"WHAT", Align::left, true},
               {"EXAMPLE"},
               {"REPOSITORY", Align::left, true}},
              {},
              ""};
  for (const Json& f : list(report, "failures"))
    out.rows.push_back({{str(f, "class"), Style::red},
                        human_count(count(f, "count")),
                        str(f, "message"),
                        short_id(str(f, "example")),
                        str(f, "repository")});
  return out;
}

Section skipped(const Json& report) {
  Section out{"Skipped and unchanged",
              {{"STATE"},
               {"RUNS", Align::right},
               {"WHY", Align::left, true},
               {"EXAMPLE"},
               {"REPOSITORY", Align::left, true}},
              {},
              ""};
  for (const Json& s : list(report, "skipped")) {
    const std::string message = str(s, "message");
    out.rows.push_back({{str(s, "state"), style_of(str(s, "state"))},
                        human_count(count(s, "count")),
                        str(s, "reason") + (message.empty() ? "" : ": " + message),
                        short_id(str(s, "example")),
                        str(s, "repository")});
  }
  return out;
}

Section pulls(const Json& report) {
  const Json& all = at(report, "pulls");
  Section out{"Pull requests",
              {{"PULL REQUEST", Align::left, true}, {"STATE"}, {"TITLE", Align::left, true}},
              {},
              ""};
  for (const Json& pull : list(all, "list")) {
    if (out.rows.size() == kPullsShown) break;
    out.rows.push_back(
        {str(pull, "id"), {str(pull, "state"), style_of(str(pull, "state"))}, str(pull, "title")});
  }
  const auto total = count(all, "open") + count(all, "merged") + count(all, "closed");
  if (total == 0) return out;
  out.note = human_count(count(all, "open")) + " open, " + human_count(count(all, "merged")) +
             " merged, " + human_count(count(all, "closed")) + " closed";
  if (total > out.rows.size())
    out.note +=
        "; all of them: muster pr list --fleet " + shell_quoted(str(at(report, "fleet"), "name"));
  return out;
}

Section escalated(const Json& report) {
  Section out{
      "Escalated", {{"RUN"}, {"REPOSITORY", Align::left, true}, {"TO", Align::left, true}}, {}, ""};
  for (const Json& e : list(report, "escalated"))
    out.rows.push_back({short_id(str(e, "run")), str(e, "repository"), joined(e, "assignees")});
  return out;
}

Section phases(const Json& report) {
  Section out{"Time per phase", {{"PHASE"}, {"P50", Align::right}, {"P95", Align::right}}, {}, ""};
  for (const char* phase : kPhases) {
    const Json& p = at(at(report, "phases"), phase);
    if (p.is_object())
      out.rows.push_back({phase, human_duration(Duration{num(p, "p50_ms")}),
                          human_duration(Duration{num(p, "p95_ms")})});
  }
  return out;
}

Section slowest(const Json& report) {
  Section out{
      "Slowest", {{"RUN"}, {"REPOSITORY", Align::left, true}, {"TIME", Align::right}}, {}, ""};
  for (const Json& s : list(report, "slowest"))
    out.rows.push_back(
        {short_id(str(s, "run")), str(s, "repository"), human_duration(Duration{num(s, "ms")})});
  return out;
}

std::vector<Section> sections(const Json& report) {
  std::vector<Section> all{outcomes(report),  failures(report), skipped(report), pulls(report),
                           escalated(report), phases(report),   slowest(report)};
  std::erase_if(all, [](const Section& s) { return s.rows.empty() && s.note.empty(); });
  return all;
}

std::string summary(const Json& report) {
  const Json& fleet = at(report, "fleet");
  std::string out = plural(count(fleet, "total"), "repository", "repositories") + ", " +
                    plural(count(report, "attempts"), "attempt");
  if (const auto n = count(report, "retried"); n != 0) out += ", " + human_count(n) + " retried";
  const auto from = when(fleet, "started_at"), to = when(fleet, "ended_at");
  if (from && to) out += ", " + human_duration(*to - *from);
  if (const std::string used = used_text(fleet); !used.empty()) out += "; agents used " + used;
  return out;
}

std::string csv_cell(std::string text) {
  if (!text.empty() && std::string_view("=+-@\t\r").find(text.front()) != std::string_view::npos)
    text.insert(0, "'");
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string markdown_cell(const std::string& text) {
  std::string out;
  for (const char c : safe_line(text))
    out += std::string_view("|\\`*_<>[]").find(c) == std::string_view::npos ? std::string(1, c)
                                                                            : std::string("\\") + c;
  return out;
}

}  // namespace

std::vector<std::string> next_commands(const Json& report) {
  const std::string fleet = shell_quoted(str(at(report, "fleet"), "name"));
  std::vector<std::string> out;
  const Json& failed = list(report, "failures");
  if (!failed.empty()) {
    out.push_back("muster run logs --failed " + short_id(str(failed.front(), "example")));
    out.push_back("muster fleet retry " + fleet + " --failed");
  }
  const Json& pull_list = list(at(report, "pulls"), "list");
  if (!pull_list.empty()) {
    out.push_back("muster pr diff " + shell_quoted(str(pull_list.front(), "id")));
    if (count(at(report, "pulls"), "open") != 0) out.push_back("muster fleet merge " + fleet);
  }
  if (out.empty()) out.push_back("muster run list --fleet " + fleet);
  return out;
}

std::string report_text(const Json& report, const Look& look) {
  const Json& fleet = at(report, "fleet");
  const std::string state = str(fleet, "state");
  std::string out = styled(safe_line(str(fleet, "name")), Style::bold, look) + "  " +
                    styled(safe_line(state), style_of(state), look);
  if (flag(fleet, "dry_run")) out += " (dry run)";
  if (!str(fleet, "reason").empty()) out += ": " + safe_line(str(fleet, "reason"));
  out += "\n" + summary(report) + "\n";
  for (const Section& section : sections(report)) {
    out += "\n" + styled(section.title, Style::bold, look) +
           (section.note.empty() ? "" : ": " + section.note) + "\n";
    Table table(section.columns);
    for (const auto& row : section.rows) table.add(row);
    if (!table.empty()) out += table.text(look, 2);
  }
  out += "\n" + styled("Next", Style::bold, look) + "\n";
  for (const std::string& command : next_commands(report)) out += "  " + safe_line(command) + "\n";
  return out;
}

std::string report_markdown(const Json& report) {
  const Json& fleet = at(report, "fleet");
  std::string out = "# " + markdown_cell(str(fleet, "name")) + ": " +
                    markdown_cell(str(fleet, "state")) + "\n\n" + summary(report) + "\n";
  for (const Section& section : sections(report)) {
    out += "\n## " + section.title + "\n\n" + (section.note.empty() ? "" : section.note + "\n\n");
    if (section.rows.empty()) continue;
    std::string titles = "|", rule = "|";
    for (const auto& column : section.columns) {
      titles += " " + column.title + " |";
      rule += column.align == Align::right ? " ---: |" : " --- |";
    }
    out += titles + "\n" + rule + "\n";
    for (const auto& row : section.rows) {
      out += "|";
      for (const Cell& cell : row) out += " " + markdown_cell(cell.text) + " |";
      out += "\n";
    }
  }
  return out;
}

std::string runs_csv(const std::vector<Json>& runs) {
  constexpr std::array kColumns{"repository", "id",         "state",      "class",   "reason",
                                "message",    "attempt",    "host",       "pull",    "head_sha",
                                "escalated",  "created_at", "started_at", "ended_at"};
  std::string out;
  for (const char* column : kColumns) out += (out.empty() ? "" : ",") + std::string(column);
  out += "\r\n";
  for (const Json& run : runs) {
    std::string line;
    for (const char* column : kColumns) {
      const Json& value = at(run, column);
      const std::string text = value.is_null()     ? ""
                               : value.is_string() ? value.get<std::string>()
                                                   : dumped(value);
      line += (column == kColumns.front() ? "" : ",") + csv_cell(text);
    }
    out += line + "\r\n";
  }
  return out;
}

}  // namespace muster::cli
