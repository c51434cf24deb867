#include "tools/muster/console/top_view.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "tools/muster/text.hpp"

namespace muster::cli::console {
namespace {

std::string millis(std::int64_t milliseconds) {
  return human_duration(Duration{milliseconds});
}
std::string us(std::int64_t microseconds) {
  return microseconds < 10'000 ? std::to_string(microseconds) + "us" : millis(microseconds / 1'000);
}
std::string rate(double per_second) {
  return human_count(static_cast<std::uint64_t>(per_second + 0.5)) + "/s";
}

class Screenful {
 public:
  Screenful(std::size_t rows, std::size_t columns) : rows_(rows), columns_(columns) {}

  [[nodiscard]] std::size_t room() const {
    return rows_ > lines_.size() ? rows_ - lines_.size() : 0;
  }
  void add(const std::string& text, Style style = Style::plain) {
    if (room() > 0) lines_.push_back({cut(text, columns_), style});
  }
  /// A title and a table, at most `most` lines of it.
  void add(const std::string& title, const Table& table, const std::string& none,
           std::size_t most) {
    add("");
    add(title, Style::bold);
    if (table.empty()) return add("  " + none, Style::dim);
    const std::string text = table.text({columns_, false}, 2);
    std::size_t shown = 0;
    for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos;
         begin = end + 1)
      if (shown++ <= most)
        add(text.substr(begin, end - begin), shown == 1 ? Style::dim : Style::plain);
  }
  std::vector<TopLine> take() { return std::move(lines_); }

 private:
  std::size_t rows_, columns_;
  std::vector<TopLine> lines_;
};

void add_head(Screenful& screen, const TopData& data, const std::optional<TopRates>& rates,
              bool frozen) {
  const Doc& commits = at(data.engine, "commits");
  const Doc& actors = at(data.engine, "actors");
  const Doc& took = at(commits, "took_us");
  const Doc& batch = at(commits, "batch");
  screen.add("muster top  " + to_rfc3339(data.now) + "  " + data.where + (frozen ? "  FROZEN" : ""),
             Style::bold);
  const std::string trouble = str(data.engine, "trouble");
  if (!data.problem.empty()) screen.add(safe_line(data.problem), Style::red);
  if (!trouble.empty()) screen.add("trouble: " + safe_line(trouble), Style::red);
  screen.add("steps " + (rates ? rate(rates->steps) : "-") + "  commits " +
             (rates ? rate(rates->commits) : "-") + "  written " +
             (rates ? human_bytes(static_cast<std::uint64_t>(rates->bytes)) + "/s" : "-") +
             "  batch p50 " + human_count(count(batch, "p50")) + " max " +
             human_count(count(batch, "max")) + "  sync p50 " + us(num(took, "p50")) + " p99 " +
             us(num(took, "p99")));
  screen.add("actors " + human_count(count(actors, "in_memory")) + " in memory, " +
             human_count(count(actors, "busy")) + " busy  messages " +
             human_count(count(actors, "pending")) + " waiting" +
             (num(actors, "oldest_ms") > 0 ? ", oldest " + millis(num(actors, "oldest_ms")) : "") +
             "  dead letters " + human_count(count(data.engine, "dead_letters")));
}

Table fleets_table(const TopData& data) {
  Table table({{"FLEET", Table::Align::left, true},
               {"STATE"},
               {"ENDED", Table::Align::right},
               {"TOTAL", Table::Align::right},
               {"QUEUED", Table::Align::right},
               {"RUNNING", Table::Align::right},
               {"FAILED", Table::Align::right}});
  std::vector<const Doc*> fleets;
  std::set<std::string> shown;
  for (const Doc* page : {&data.running, &data.fleets})
    for (const Doc& fleet : list(*page, "fleets"))
      if (shown.insert(str(fleet, "name")).second) fleets.push_back(&fleet);
  // What goes on stands above what is over.
  const auto over = [](const Doc* fleet) {
    return str(*fleet, "state") != "running" && str(*fleet, "state") != "pending";
  };
  std::stable_sort(fleets.begin(), fleets.end(),
                   [&](const Doc* a, const Doc* b) { return over(a) < over(b); });
  for (const Doc* fleet : fleets) {
    const Doc& counts = at(*fleet, "counts");
    std::uint64_t ended = 0;
    for (const char* state : {"delivered", "unchanged", "skipped", "failed", "cancelled"})
      ended += count(counts, state);
    const std::uint64_t active = count(counts, "provisioning") + count(counts, "running") +
                                 count(counts, "verifying") + count(counts, "delivering");
    table.add({Cell(str(*fleet, "name")), Cell(str(*fleet, "state")), Cell(human_count(ended)),
               Cell(human_count(count(*fleet, "total"))),
               Cell(human_count(count(counts, "queued"))), Cell(human_count(active)),
               Cell(human_count(count(counts, "failed")))});
  }
  return table;
}

Table hosts_table(const TopData& data) {
  Table table({{"HOST", Table::Align::left, true},
               {"STATE"},
               {"USED", Table::Align::right},
               {"SLOTS", Table::Align::right}});
  std::vector<const Doc*> hosts;
  for (const Doc& host : list(data.hosts, "hosts")) hosts.push_back(&host);
  std::stable_sort(hosts.begin(), hosts.end(), [](const Doc* a, const Doc* b) {
    return (str(*a, "state") == "ready") < (str(*b, "state") == "ready");
  });
  for (const Doc* host : hosts)
    table.add({Cell(str(*host, "name")), Cell(str(*host, "state")),
               Cell(std::to_string(num(*host, "used"))),
               Cell(std::to_string(num(*host, "slots")))});
  return table;
}

Table mailboxes_table(const TopData& data) {
  Table table({{"ACTOR", Table::Align::left, true},
               {"STATE"},
               {"WAITING", Table::Align::right},
               {"OLDEST", Table::Align::right}});
  for (const Doc& actor : list(data.waiting, "actors"))
    table.add({Cell(str(actor, "id")), Cell(str(actor, "state")),
               Cell(human_count(count(actor, "pending"))), Cell(millis(num(actor, "oldest_ms")))});
  return table;
}

/// Why runs wait, the most frequent reason first.
Table reasons_table(const TopData& data) {
  std::map<std::string, std::uint64_t> reasons;
  for (const Doc& run : list(data.queue, "queue"))
    ++reasons[str(run, "why").empty() ? "not looked at yet" : str(run, "why")];
  std::vector<std::pair<std::string, std::uint64_t>> sorted(reasons.begin(), reasons.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  Table table({{"RUNS", Table::Align::right}, {"WAIT BECAUSE", Table::Align::left, true}});
  for (const auto& [why, runs] : sorted) table.add({Cell(human_count(runs)), Cell(why)});
  return table;
}

Table queue_table(const TopData& data) {
  Table table({{"RUN"},
               {"REPOSITORY", Table::Align::left, true},
               {"FLEET"},
               {"WAITED", Table::Align::right},
               {"WHY", Table::Align::left, true}});
  for (const Doc& run : list(data.queue, "queue"))
    table.add({Cell(str(run, "run")), Cell(str(run, "repository")), Cell(str(run, "fleet")),
               Cell(millis(num(run, "waited_ms"))), Cell(str(run, "why"))});
  return table;
}

Table dead_table(const TopData& data) {
  Table table({{"MESSAGE"},
               {"TYPE"},
               {"TO", Table::Align::left, true},
               {"REASON", Table::Align::left, true}});
  for (const Doc& dead : list(data.dead, "dead_letters"))
    table.add({Cell("#" + std::to_string(num(dead, "sequence"))), Cell(str(dead, "type")),
               Cell(str(dead, "to")), Cell(str(dead, "reason"))});
  return table;
}

}  // namespace

TopRates rates_between(const TopData& before, const TopData& now) {
  const double seconds = static_cast<double>((now.now - before.now).count()) / 1'000.0;
  if (seconds <= 0) return {};
  const auto per_second = [&](const char* key) {
    const double more = static_cast<double>(num(at(now.engine, "commits"), key) -
                                            num(at(before.engine, "commits"), key));
    return more > 0 ? more / seconds : 0.0;  // After a restart it counts anew.
  };
  return {per_second("commits"), per_second("decisions"), per_second("bytes")};
}

std::vector<TopLine> top_lines(const TopData& data, const std::optional<TopRates>& rates,
                               TopPanel panel, bool frozen, std::size_t rows, std::size_t columns) {
  Screenful screen(rows > 1 ? rows - 1 : rows, columns);
  add_head(screen, data, rates, frozen);
  const std::size_t all = rows;
  switch (panel) {
    case TopPanel::overview: {
      const std::size_t share = std::max<std::size_t>(2, screen.room() / 4);
      screen.add("Fleets", fleets_table(data), "no fleets", share);
      screen.add("Hosts", hosts_table(data), "no hosts", share);
      screen.add(at(data.queue, "next").is_null() ? "Queue" : "Queue, the first of it",
                 reasons_table(data), "nothing waits for a host", share);
      screen.add("Deepest mailboxes", mailboxes_table(data), "every mailbox is empty", all);
      break;
    }
    case TopPanel::mailboxes:
      screen.add("Deepest mailboxes", mailboxes_table(data), "every mailbox is empty", all);
      break;
    case TopPanel::queue:
      screen.add("Queue", queue_table(data), "nothing waits for a host", all);
      break;
    case TopPanel::dead:
      screen.add("Dead letters", dead_table(data), "no dead letters", all);
      break;
  }
  auto lines = screen.take();
  while (lines.size() + 1 < rows) lines.push_back({});
  if (rows > 1)
    lines.push_back(
        {cut("1 overview  2 mailboxes  3 queue  4 dead letters  space freeze  q quit", columns),
         Style::dim});
  return lines;
}

}  // namespace muster::cli::console
