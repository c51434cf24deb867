// `top`: asks once a second and draws. The only file that includes ncurses.
#define NCURSES_NOMACROS 1  // Else `move`, `erase` and `timeout` would be macros.
#include <curses.h>

#include <clocale>
#include <csignal>

#include "tools/muster/console/session.hpp"
#include "tools/muster/console/top_view.hpp"

namespace muster::cli::console {
namespace {

constexpr Duration kPicture{1'000};
constexpr int kKeyWaitMs = 100;

/// The terminal, from here to the end of its scope.
class Terminal {
 public:
  Terminal() {
    std::setlocale(LC_ALL, "");
    ::initscr();
    ::cbreak();
    ::noecho();
    ::curs_set(0);
    ::keypad(stdscr, TRUE);
    ::wtimeout(stdscr, kKeyWaitMs);
    if (::has_colors()) {
      ::start_color();
      ::use_default_colors();
      ::init_pair(1, COLOR_RED, -1);
      ::init_pair(2, COLOR_GREEN, -1);
    }
  }
  ~Terminal() { ::endwin(); }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void draw(const std::vector<TopLine>& lines) {
    ::werase(stdscr);
    for (std::size_t row = 0; row < lines.size(); ++row) {
      const chtype look = attributes(lines[row].style);
      ::wattron(stdscr, static_cast<int>(look));
      ::mvwaddstr(stdscr, static_cast<int>(row), 0, lines[row].text.c_str());
      ::wattroff(stdscr, static_cast<int>(look));
    }
    ::wrefresh(stdscr);
  }
  [[nodiscard]] int key() const { return ::wgetch(stdscr); }
  [[nodiscard]] std::size_t rows() const { return static_cast<std::size_t>(getmaxy(stdscr)); }
  [[nodiscard]] std::size_t columns() const { return static_cast<std::size_t>(getmaxx(stdscr)); }

 private:
  static chtype attributes(Style style) {
    switch (style) {
      case Style::bold:
        return A_BOLD;
      case Style::dim:
        return A_DIM;
      case Style::red:
        return static_cast<chtype>(COLOR_PAIR(1));
      case Style::green:
        return static_cast<chtype>(COLOR_PAIR(2));
      case Style::plain:
      case Style::yellow:
      case Style::blue:
        return A_NORMAL;
    }
    return A_NORMAL;
  }
};

}  // namespace

TopData Session::picture(TopPanel panel) {
  TopData data;
  data.now = context_.now();
  const auto take = [&](const std::string& path, Doc& into) {
    auto document = get(path);
    if (document)
      into = std::move(*document);
    else
      data.problem = document.error().message;
    return document.has_value();
  };
  if (!take("/v1/engine", data.engine)) return data;
  if (panel == TopPanel::overview) {
    take("/v1/fleets?state=running&limit=100", data.running);  // However many have ended.
    take("/v1/fleets?limit=100", data.fleets);
    take("/v1/hosts?limit=1000", data.hosts);
  }
  if (panel == TopPanel::overview || panel == TopPanel::mailboxes)
    take("/v1/actors?min_pending=1&limit=100", data.waiting);
  if (panel == TopPanel::overview || panel == TopPanel::queue)
    take("/v1/queue?limit=1000", data.queue);
  if (panel == TopPanel::dead) take("/v1/dead-letters?limit=100", data.dead);
  return data;
}

int Session::top() {
  const auto client = context_.client();
  if (!client) return context_.fail(client.error());
  if (!context_.io().out.live)
    return context_.usage("top needs a terminal; for scripts there is `engine`");
  Terminal terminal;
  TopPanel panel = TopPanel::overview;
  TopData data = picture(panel);
  data.where = (*client)->endpoint().described;
  std::optional<TopRates> rates;
  bool frozen = false;
  for (;;) {
    terminal.draw(top_lines(data, rates, panel, frozen, terminal.rows(), terminal.columns()));
    const int key = terminal.key();
    if (key == 'q') return 0;
    if (key == ' ') frozen = !frozen;
    const bool turned = key >= '1' && key <= '4';
    if (turned) panel = static_cast<TopPanel>(key - '1');
    if (!turned && (frozen || context_.now() - data.now < kPicture)) continue;
    TopData next = picture(panel);
    next.where = data.where;
    if (!next.problem.empty() && next.engine.is_null()) {
      data.problem = next.problem;
      data.now = next.now;
      continue;
    }
    if (next.now - data.now >= kPicture) rates = rates_between(data, next);
    data = std::move(next);
  }
}

}  // namespace muster::cli::console
