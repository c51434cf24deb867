// Title, body and labels of a run's pull request: from the intent (fleet file), the agent's summary.md and
// result.json, and the facts of the attempt. Pure; whatever the agent wrote is bounded and can't form HTML.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "actors/run/run_generated.h"

namespace muster::actors {

/// Markdown from outside: no control characters but newline and tab, and no '<' that could open a tag.
std::string safe_markdown(std::string_view text, std::size_t limit);
/// The same in one cell of a table.
std::string safe_cell(std::string_view text, std::size_t limit);

struct PullText {
  std::string title;                  ///< result.json's, else the fleet file's, else "Muster: <fleet>".
  std::string body;                   ///< Markdown, at most 60,000 bytes (GitHub takes 65,536 characters).
  std::vector<std::string> labels;    ///< The fleet file's, then result.json's; no duplicates.
  std::vector<std::string> warnings;  ///< What in result.json was ignored, and why.
};

PullText compose_pull(const fbs::CreateRunT& create, const muster::wire::AttemptReportT& report,
                      std::string_view run, std::uint32_t attempt);

}  // namespace muster::actors
