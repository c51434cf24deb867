// Hosts one by one, slow steps, limits, and what concerns the installation, as text.
#include "tools/muster/console/render.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli::console {
namespace {

std::string span(const Doc& from, const char* key) {
  return human_duration(Duration{num(from, key)});
}

std::string lease_text(const Doc& lease) {
  if (!lease.is_object()) return "not heard of since musterd started";
  std::string text = flag(lease, "connected") ? "connected" : "not connected";
  text += ", session " + std::to_string(num(lease, "session")) + ", ";
  text += flag(lease, "holds") ? "ends in " + span(lease, "ends_in_ms") + " without a heartbeat"
                               : "ended: its runs were given up";
  if (num(lease, "orders_waiting") > 0)
    text += ", " + plural(count(lease, "orders_waiting"), "order") + " not sent yet";
  return text;
}

/// "2 of 8 wait, 1 is being made; 31 of 40 attempts got one".
std::string pool_text(const Doc& pool) {
  std::string text = std::to_string(count(pool, "waiting")) + " of " + std::to_string(count(pool, "max")) + " wait";
  if (count(pool, "making") > 0) text += ", " + std::to_string(count(pool, "making")) + " is being made";
  const auto asked = count(pool, "hits") + count(pool, "misses");
  return text + "; " + std::to_string(count(pool, "hits")) + " of " + plural(asked, "attempt") + " got one";
}

Table pool_table(const Doc& lines) {
  Table table({{"REPOSITORY", Table::Align::left, true},
               {"BRANCH"},
               {"IMAGE"},
               {"WAIT", Table::Align::right},
               {"WANTED", Table::Align::right},
               {"HITS", Table::Align::right},
               {"MISSES", Table::Align::right}});
  for (const Doc& line : lines)
    table.add({Cell(str(line, "url")), Cell(str(line, "branch")), Cell(str(line, "image")),
               Cell(std::to_string(count(line, "waiting"))), Cell(std::to_string(count(line, "wanted"))),
               Cell(std::to_string(count(line, "hits"))), Cell(std::to_string(count(line, "misses")))});
  return table;
}

std::string bytes_of(const Doc& from, const char* key) {
  return human_bytes(count(from, key));
}

}  // namespace

std::string host_text(const Doc& document, const Screen& screen) {
  const std::string state = str(document, "state");
  std::string out = styled(safe_line(str(document, "name")), Style::bold, screen.look) + "  " +
                    styled(safe_line(state), style_of(state), screen.look) + "\n";
  out += "  lease      " + lease_text(at(document, "lease")) + "\n";
  out += "  slots      " + std::to_string(num(document, "used")) + " of " +
         std::to_string(num(document, "slots")) + " taken\n";
  if (at(document, "warm_pool").is_object())
    out += "  warm pool  " + pool_text(at(document, "warm_pool")) + "\n";
  Table sandboxes({{"SANDBOX"},
                   {"FLEET", Table::Align::left, true},
                   {"SINCE", Table::Align::right},
                   {"MEMORY", Table::Align::right}});
  for (const Doc& sandbox : list(document, "sandboxes"))
    sandboxes.add({Cell(str(sandbox, "id")), Cell(str(sandbox, "fleet")),
                   Cell(span(sandbox, "held_ms")), Cell(bytes_of(sandbox, "memory_bytes"))});
  if (!sandboxes.empty())
    out +=
        "\n" + styled("Sandboxes", Style::bold, screen.look) + "\n" + sandboxes.text(screen.look);
  if (const Table pool = pool_table(list(document, "warm_lines")); !pool.empty())
    out += "\n" + styled("Warm pool", Style::bold, screen.look) + "\n" + pool.text(screen.look);
  constexpr std::size_t kShown = 20;
  const Doc& warm = list(document, "warm_repositories");
  if (!warm.empty()) out += "\n" + styled("Warm repositories", Style::bold, screen.look) + "\n";
  std::size_t shown = 0;
  for (const Doc& url : warm)
    if (url.is_string() && ++shown <= kShown)
      out += "  " + safe_line(url.get<std::string>()) + "\n";
  if (count(document, "warm") > kShown)
    out += "  … " + human_count(count(document, "warm")) + " in all\n";
  return out;
}

std::string slow_text(const Doc& document, const Screen& screen) {
  Table table(
      {{"TOOK", Table::Align::right}, {"ACTOR"}, {"MESSAGE"}, {"#", Table::Align::right}, {"AT"}});
  for (const Doc& step : list(document, "slow_steps"))
    table.add({Cell(human_duration(Duration{num(step, "took_us") / 1'000})),
               Cell(str(step, "actor")), Cell(str(step, "type")),
               Cell(std::to_string(num(step, "sequence"))), Cell(str(step, "at"))});
  return table.empty() ? "no step took more than 10 ms\n" : table.text(screen.look);
}

std::string limits_text(const Doc& document, const Screen& screen) {
  std::string out =
      "running in all  at most " + human_count(count(document, "running_total")) + "\n";
  Table table({{"FLEET"}, {"CONCURRENCY", Table::Align::right}, {"WEIGHT", Table::Align::right}});
  for (const Doc& fleet : list(document, "fleets")) {
    const Doc& concurrency = at(fleet, "concurrency");
    table.add(
        {Cell(str(fleet, "fleet")),
         Cell(concurrency.is_null() ? "its file's" : human_count(count(fleet, "concurrency"))),
         Cell(human_count(count(fleet, "weight")))});
  }
  return out + (table.empty() ? "every fleet as its file says, with weight 1\n"
                              : table.text(screen.look));
}

std::string care_text(const Doc& document, const Screen&) {
  const bool dry = flag(document, "dry_run");
  if (document.contains("changes")) {
    std::string out;
    for (const Doc& change : list(document, "changes"))
      if (change.is_string())
        out += (dry ? "would set " : "set ") + safe_line(change.get<std::string>()) + "\n";
    return out.empty() ? "nothing changes\n" : out;
  }
  if (document.contains("level"))
    return (dry ? "would log " : "logs ") + safe_line(str(document, "level")) + " and worse\n";
  if (document.contains("directory"))
    return "would make a backup in " + safe_line(str(document, "directory")) + ", where " +
           plural(count(document, "backups_there"), "backup") + " lie\n";
  if (document.contains("bytes_before"))
    return "compacted: " + bytes_of(document, "bytes") + " in files, before " +
           bytes_of(document, "bytes_before") + " and what was in memory\n";
  if (dry) return "would rewrite the journal's " + bytes_of(document, "bytes") + "\n";
  return "backup " + safe_line(str(document, "id")) + ": " +
         plural(count(document, "files"), "file") + ", " + bytes_of(document, "bytes") + ", " +
         bytes_of(document, "new_bytes") + " of them new\n";
}

std::string verified_text(const Doc& document, const Screen& screen) {
  if (flag(document, "sound"))
    return "sound: " + plural(count(document, "entries"), "entry", "entries") + ", the last " +
           std::to_string(num(document, "last")) + ", " +
           plural(count(document, "signed_heads"), "signed head") + "\n";
  std::string out = styled("NOT SOUND", Style::red, screen.look) + "\n";
  for (const Doc& finding : list(document, "findings"))
    if (finding.is_string()) out += "  " + safe_line(finding.get<std::string>()) + "\n";
  return out;
}

}  // namespace muster::cli::console
