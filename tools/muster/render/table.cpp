#include "tools/muster/render/table.hpp"

#include <algorithm>
#include <array>

#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kNarrowest = 8;

}  // namespace

std::string styled(std::string_view text, Style style, const Look& look) {
  constexpr std::array<const char*, 7> kCodes{"", "1", "2", "32", "31", "33", "34"};
  if (!look.colour || style == Style::plain || text.empty()) return std::string(text);
  return "\x1b[" + std::string(kCodes[static_cast<std::size_t>(style)]) + "m" + std::string(text) +
         "\x1b[0m";
}

Style style_of(std::string_view state) {
  struct Known {
    std::string_view state;
    Style style;
  };
  static constexpr std::array kKnown{Known{"delivered", Style::green},
                                     Known{"completed", Style::green},
                                     Known{"merged", Style::green},
                                     Known{"ready", Style::green},
                                     Known{"failed", Style::red},
                                     Known{"halted", Style::red},
                                     Known{"completed_with_failures", Style::red},
                                     Known{"unreachable", Style::red},
                                     Known{"cancelled", Style::yellow},
                                     Known{"skipped", Style::yellow},
                                     Known{"paused", Style::yellow},
                                     Known{"cordoned", Style::yellow},
                                     Known{"draining", Style::yellow},
                                     Known{"waiting", Style::dim},
                                     Known{"queued", Style::dim},
                                     Known{"pending", Style::dim},
                                     Known{"superseded", Style::dim},
                                     Known{"unchanged", Style::dim},
                                     Known{"closed", Style::dim},
                                     Known{"provisioning", Style::blue},
                                     Known{"running", Style::blue},
                                     Known{"verifying", Style::blue},
                                     Known{"delivering", Style::blue},
                                     Known{"open", Style::blue}};
  const auto found =
      std::find_if(kKnown.begin(), kKnown.end(), [&](const Known& k) { return k.state == state; });
  return found == kKnown.end() ? Style::plain : found->style;
}

std::vector<std::size_t> Table::widths(const Look& look, std::size_t indent) const {
  std::vector<std::size_t> out;
  std::size_t total = indent;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t width = columns(columns_[i].title);
    for (const auto& row : rows_) width = std::max(width, columns(safe_line(row[i].text)));
    out.push_back(width);
    total += width + (i + 1 < columns_.size() ? kGap : 0);
  }
  while (look.width != 0 && total > look.width) {
    std::size_t widest = columns_.size();
    for (std::size_t i = 0; i < columns_.size(); ++i)
      if (columns_[i].may_shrink && out[i] > kNarrowest &&
          (widest == columns_.size() || out[i] > out[widest]))
        widest = i;
    if (widest == columns_.size()) break;
    --out[widest];
    --total;
  }
  return out;
}

std::string Table::text(const Look& look, std::size_t indent) const {
  const auto width = widths(look, indent);
  std::string out;
  const auto line = [&](const std::vector<Cell>& cells) {
    std::string row(indent, ' ');
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const bool last = i + 1 == cells.size();
      const std::string shown = cut(safe_line(cells[i].text), width[i]);
      const std::string blanks(width[i] - std::min(width[i], columns(shown)), ' ');
      const bool right = columns_[i].align == Align::right;
      row += (right ? blanks : "") + styled(shown, cells[i].style, look) + (right ? "" : blanks);
      if (!last) row += std::string(kGap, ' ');
    }
    row.erase(row.find_last_not_of(' ') + 1);
    out += row + "\n";
  };
  std::vector<Cell> titles;
  for (const Column& c : columns_) titles.emplace_back(c.title, Style::bold);
  if (std::any_of(columns_.begin(), columns_.end(),
                  [](const Column& c) { return !c.title.empty(); }))
    line(titles);
  for (const auto& row : rows_) line(row);
  return out;
}

}  // namespace muster::cli
