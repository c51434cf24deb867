// Aligned columns, as wide as the terminal, coloured by state. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace muster::cli {

/// What is known of the place that text goes to.
struct Look {
  std::size_t width = 0;  ///< Columns; 0: as wide as it wants (a pipe, a file).
  bool colour = false;
};

enum class Style : std::uint8_t { plain, bold, dim, green, red, yellow, blue };

std::string styled(std::string_view text, Style style, const Look& look);
/// By the name of a run's, fleet's, pull request's or host's state.
Style style_of(std::string_view state);

struct Cell {
  std::string text;  ///< One line; the table makes it safe.
  Style style = Style::plain;
  Cell(std::string t, Style s = Style::plain) : text(std::move(t)), style(s) {}
  Cell(const char* t) : text(t) {}
};

class Table {
 public:
  enum class Align : std::uint8_t { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
    bool may_shrink = false;  ///< Gives way when the table is wider than the terminal.
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// As many cells as columns.
  void add(std::vector<Cell> cells) { rows_.push_back(std::move(cells)); }
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  /// Lines, each indented by `indent` blanks; without titles when all are empty.
  [[nodiscard]] std::string text(const Look& look, std::size_t indent = 0) const;

 private:
  [[nodiscard]] std::vector<std::size_t> widths(const Look& look, std::size_t indent) const;

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace muster::cli
