#include "tools/muster/render/swarm_report.hpp"

#include "tools/muster/json_get.hpp"
#include "tools/muster/render/swarm_view.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

/// Facets that a list names before it only counts.
constexpr std::size_t kNamed = 20;

/// In a table or a list: no line, no column and no markup of its own.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : safe_line(text)) {
    if (std::string_view("|*_`<>[]#\\").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string names(const Json& values) {
  std::string out;
  std::size_t named = 0;
  for (const Json& name : values) {
    if (!name.is_string()) continue;
    if (named == kNamed) return out + " and " + std::to_string(values.size() - kNamed) + " more";
    out += (named++ == 0 ? "" : ", ") + cell(name.get<std::string>());
  }
  return out;
}

std::string value_text(const Json& made) {
  if (!str(made, "error").empty()) return "Not made: " + cell(str(made, "error")) + "\n\n";
  if (made.contains("markdown")) return safe_text(str(made, "markdown")) + "\n\n";
  const Json& value = at(made, "value");
  std::string out = value.is_structured() ? "```json\n" + dumped(value, 2) + "\n```\n\n"
                                          : "**" + cell(dumped(value)) + "**\n\n";
  if (!flag(made, "decided")) out += "Not decided.\n\n";
  if (count(made, "left_out") != 0)
    out += std::to_string(count(made, "left_out")) + " more were left out.\n\n";
  if (!list(made, "missing").empty()) out += "Missing: " + names(list(made, "missing")) + ".\n\n";
  return out;
}

}  // namespace

std::string swarm_report_markdown(const Json& swarm, const std::vector<Json>& facets,
                                  const Json& results) {
  std::string out = "# " + cell(str(swarm, "title")) + "\n\nSwarm " + cell(str(swarm, "name")) +
                    ": " + cell(words_of(str(swarm, "state")));
  if (!str(swarm, "reason").empty()) out += " (" + cell(str(swarm, "reason")) + ")";
  out += "; " + std::to_string(count(results, "answered")) + " of " +
         plural(facets.size(), "facet") + " gave a result.\n\n";
  for (const auto& [name, made] : at(results, "values").items())
    out += "## " + cell(name) + "\n\n" + value_text(made);
  if (results.contains("reduced") && !at(results, "reduced").is_null())
    out += "## Result\n\n```json\n" + dumped(at(results, "reduced"), 2) + "\n```\n\n";
  if (!list(results, "missing").empty())
    out += "Without a result: " + names(list(results, "missing")) + ".\n\n";
  if (!list(results, "notes").empty()) {
    out += "## Notes\n\n";
    for (const Json& note : list(results, "notes"))
      out += "- " + cell(str(note, "facet")) +
             (str(note, "to").empty() ? "" : " to " + cell(str(note, "to"))) + ": " +
             cell(str(note, "text")) + "\n";
    out += "\n";
  }
  out += "## Facets\n\n| Facet | Outcome | |\n|---|---|---|\n";
  for (const Json& facet : facets) {
    const std::string merge = str(facet, "merge");
    out += "| " + cell(str(facet, "id")) + " | " + cell(words_of(str(facet, "state"))) + " | " +
           (merge.empty() ? cell(str(facet, "why")) : merge.substr(0, 10)) + " |\n";
  }
  for (const Json& one : list(results, "invalid"))
    out += "\nThe result of " + cell(str(one, "facet")) +
           " does not count: " + cell(str(one, "problem")) + "\n";
  return out;
}

}  // namespace muster::cli
