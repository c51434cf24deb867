// Hosts one by one, and what concerns the installation, as text.
#include "tools/muster/console/render.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli::console {
namespace {

std::string span(const Doc& from, const char* key) {
  return human_duration(Duration{num(from, key)});
}

std::string bytes_of(const Doc& from, const char* key) {
  return human_bytes(count(from, key));
}

}  // namespace

std::string host_text(const Doc& document, const Screen& screen) {
  const std::string state = str(document, "state");
  std::string out = styled(safe_line(str(document, "name")), Style::bold, screen.look) + "  " +
                    styled(safe_line(state), style_of(state), screen.look) + "\n";
  out += "  slots      " + std::to_string(num(document, "used")) + " of " +
         std::to_string(num(document, "slots")) + " taken\n";
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

std::string care_text(const Doc& document, const Screen&) {
  const bool dry = flag(document, "dry_run");
  if (document.contains("level"))
    return (dry ? "would log " : "logs ") + safe_line(str(document, "level")) + " and worse\n";
  if (document.contains("directory"))
    return "would make a backup in " + safe_line(str(document, "directory")) + ", where " +
           plural(count(document, "backups_there"), "backup") + " lie\n";
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
