#include "tools/muster/render/fleet_view.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "tools/muster/json_get.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

constexpr std::array kEnded{"delivered", "unchanged", "skipped", "failed", "cancelled"};
constexpr std::array kActive{"provisioning", "running", "verifying", "delivering"};
constexpr std::array kPending{"queued", "waiting"};
constexpr std::size_t kRecentFailures = 5;
constexpr std::size_t kBarWidth = 40;
constexpr std::size_t kBarMargin = 55;  // what stands beside the bar

template <std::size_t N>
std::uint64_t sum(const Json& counts, const std::array<const char*, N>& states) {
  std::uint64_t total = 0;
  for (const char* state : states) total += count(counts, state);
  return total;
}

/// "delivered 120  unchanged 30": only what is not zero.
template <std::size_t N>
std::string counters(const Json& counts, const std::array<const char*, N>& states,
                     const Look& look) {
  std::string out;
  for (const char* state : states)
    if (const auto n = count(counts, state); n != 0)
      out += (out.empty() ? "" : "  ") +
             styled(std::string(state) + " " + human_count(n), style_of(state), look);
  return out;
}

std::string pairs(const Json& from) {
  std::string out;
  if (!from.is_object()) return out;
  for (const auto& [key, value] : from.items())
    if (value.is_number() && value.get<std::int64_t>() > 0)
      out += (out.empty() ? "" : ", ") + safe_line(key) + " " +
             human_count(value.get<std::uint64_t>());
  return out;
}

std::string bar(const FleetProgress& progress, std::size_t width) {
  const std::uint64_t total = std::max<std::uint64_t>(progress.total, 1);
  const auto cells = [&](std::uint64_t n) {
    return static_cast<std::size_t>(std::min(n, total) * width / total);
  };
  const std::size_t done = cells(progress.ended);
  const std::size_t busy = cells(progress.ended + progress.active) - done;
  return "[" + std::string(done, '#') + std::string(busy, '>') +
         std::string(width - done - busy, '.') + "] " + human_count(progress.ended) + "/" +
         human_count(progress.total) + " (" + std::to_string(progress.ended * 100 / total) + "%)";
}

std::string wave_text(const Json& fleet) {
  const auto waves = count(fleet, "waves");
  if (waves == 0) return "";
  return "wave " + std::to_string(std::min(count(fleet, "wave"), waves)) + " of " +
         std::to_string(waves);
}

std::string eta_text(const Json& fleet) {
  return at(fleet, "eta_s").is_number()
             ? "about " + human_duration(Duration{num(fleet, "eta_s") * 1000}) + " left"
             : "";
}

std::string sentence(const std::vector<std::string>& parts, const char* between = "   ") {
  std::string out;
  for (const std::string& part : parts)
    if (!part.empty()) out += (out.empty() ? "" : between) + part;
  return out;
}

std::string headline(const Json& fleet, const Look& look) {
  const std::string state = str(fleet, "state");
  std::string out = styled(safe_line(str(fleet, "name")), Style::bold, look) + "  " +
                    styled(safe_line(state), style_of(state), look);
  if (flag(fleet, "dry_run")) out += " (dry run)";
  if (!str(fleet, "reason").empty()) out += ": " + safe_line(str(fleet, "reason"));
  return out;
}

Duration age(const Json& fleet, Instant now) {
  const auto from =
      when(fleet, "started_at") ? when(fleet, "started_at") : when(fleet, "created_at");
  const auto to = when(fleet, "ended_at");
  return from ? (to ? *to : now) - *from : Duration{0};
}

}  // namespace

FleetProgress progress_of(const Json& fleet) {
  const Json& counts = at(fleet, "counts");
  return {count(fleet, "total"), sum(counts, kEnded), sum(counts, kActive),
          count(counts, "failed")};
}

bool is_settled(const Json& fleet) {
  const std::string state = str(fleet, "state");
  const bool ended =
      state == "completed" || state == "completed_with_failures" || state == "cancelled";
  return ended || (state == "halted" && progress_of(fleet).active == 0);
}

int exit_code_of_fleet(const Json& fleet) {
  return str(fleet, "state") == "completed" && progress_of(fleet).failed == 0 ? 0 : 1;
}

std::string used_text(const Json& of) {
  const Json& used = at(of, "used");
  const Json& cost = at(used, "cost_usd");
  const double dollars = cost.is_number() ? cost.get<double>() : 0;
  char money[64] = "";
  if (dollars > 0) std::snprintf(money, sizeof money, "$%.2f", dollars);
  const std::string tokens =
      count(used, "tokens") == 0 ? "" : plural(count(used, "tokens"), "token");
  return tokens + (tokens.empty() || *money == '\0' ? "" : ", ") + money;
}

std::string fleet_status_text(const Json& fleet, const Look& look, Instant now) {
  const Json& counts = at(fleet, "counts");
  std::string out = headline(fleet, look) + "\n";
  const auto line = [&](const std::string& text) {
    if (!text.empty()) out += "  " + text + "\n";
  };
  line(sentence({bar(progress_of(fleet), kBarWidth), wave_text(fleet), eta_text(fleet)}));
  line(counters(counts, kEnded, look));
  line(sentence({counters(counts, kActive, look), counters(counts, kPending, look)}, "  "));
  if (const std::string why = pairs(at(fleet, "why_waiting")); !why.empty())
    line("why runs wait: " + why);
  if (const std::string why = pairs(at(fleet, "failed_by_class")); !why.empty())
    line("failed by class: " + why);
  line(sentence(
      {plural(count(fleet, "attempts"), "attempt"), plural(count(fleet, "pulls"), "pull request"),
       count(fleet, "escalated") == 0 ? "" : human_count(count(fleet, "escalated")) + " escalated",
       "branch " + safe_line(str(fleet, "branch")),
       "at most " + std::to_string(num(fleet, "concurrency")) + " at a time"},
      ", "));
  if (const std::string used = used_text(fleet); !used.empty()) line("agents used " + used);
  line(
      sentence({str(fleet, "author").empty() ? "" : "started by " + safe_line(str(fleet, "author")),
                (str(fleet, "ended_at").empty() ? "running for " : "took ") +
                    human_duration(age(fleet, now))},
               ", "));
  return out;
}

std::string fleet_table(const std::vector<Json>& fleets, const Look& look, Instant now) {
  using Align = Table::Align;
  Table table({{"NAME", Align::left, true},
               {"STATE"},
               {"ENDED", Align::right},
               {"TOTAL", Align::right},
               {"FAILED", Align::right},
               {"PULLS", Align::right},
               {"TIME", Align::right},
               {"AUTHOR", Align::left, true}});
  for (const Json& fleet : fleets) {
    const auto progress = progress_of(fleet);
    const std::string state = str(fleet, "state");
    table.add({str(fleet, "name"),
               {state, style_of(state)},
               human_count(progress.ended),
               human_count(progress.total),
               {human_count(progress.failed), progress.failed == 0 ? Style::plain : Style::red},
               human_count(count(fleet, "pulls")),
               human_duration(age(fleet, now)),
               str(fleet, "author")});
  }
  return table.text(look);
}

std::string progress_frame(const Json& fleet, const std::vector<Json>& failures, const Look& look,
                           Duration elapsed) {
  const Json& counts = at(fleet, "counts");
  const std::size_t width = look.width == 0 ? 80 : look.width;
  std::string out;
  // A line that wraps would spoil the redrawing.
  const auto line = [&](const std::string& text) { out += cut_coloured(text, width) + "\n"; };
  line(headline(fleet, look) + "  " + human_duration(elapsed));
  const std::size_t bar_width =
      std::clamp<std::size_t>(width, kBarMargin + 10, kBarMargin + kBarWidth) - kBarMargin;
  line(sentence({bar(progress_of(fleet), bar_width), wave_text(fleet), eta_text(fleet)}));
  const std::string ended = counters(counts, kEnded, look);
  line(ended.empty() ? "nothing has ended yet" : ended);
  line(sentence({counters(counts, kActive, look), counters(counts, kPending, look)}, "  "));
  if (const std::string why = pairs(at(fleet, "why_waiting")); !why.empty())
    line("why runs wait: " + why);
  if (failures.empty()) return out;
  line("last failures:");
  Table table({{""}, {"", Table::Align::left, true}, {""}, {"", Table::Align::left, true}});
  for (std::size_t i = 0; i < std::min(failures.size(), kRecentFailures); ++i)
    table.add({short_id(str(failures[i], "id")),
               str(failures[i], "repository"),
               {state_text(failures[i]), Style::red},
               str(failures[i], "message")});
  const std::string rows = table.text({width, look.colour}, 2);
  for (std::size_t begin = 0; begin < rows.size();) {
    const std::size_t end = rows.find('\n', begin);
    line(rows.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

std::string progress_line(const Json& fleet) {
  const Json& counts = at(fleet, "counts");
  const auto progress = progress_of(fleet);
  const Look plain;
  return safe_line(str(fleet, "name")) + ": " + safe_line(str(fleet, "state")) + ", " +
         sentence({wave_text(fleet),
                   human_count(progress.ended) + "/" + human_count(progress.total) + " ended",
                   counters(counts, kEnded, plain), counters(counts, kActive, plain),
                   counters(counts, kPending, plain)},
                  ", ");
}

std::string state_text(const Json& run) {
  std::string out = str(run, "state");
  const std::string cls = str(run, "class"), reason = str(run, "reason");
  if (out == "failed" && !cls.empty() && cls != "none") out += "(" + cls + ")";
  if (reason.empty()) return out;
  return out == "skipped" || out == "waiting" ? out + "(" + reason + ")" : out + " " + reason;
}

std::string short_id(const std::string& id) {
  return id.substr(0, 6);
}

}  // namespace muster::cli
