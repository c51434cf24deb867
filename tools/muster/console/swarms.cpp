// Swarms at the console: shown as `muster swarm` shows them, and a word to their agents.
#include "tools/muster/commands/commands.hpp"
#include "tools/muster/console/session.hpp"

namespace muster::cli::console {

/// Nothing when the line is about something else.
std::optional<int> Session::of_swarms(const Line& line) {
  const std::string& name = line.command->name;
  if (name == "swarms") return swarm_list(context_, ListFlags{});
  if (name == "swarm") return swarm_status(context_, line.words[0], false, Duration{0});
  if (name == "facet") return swarm_show(context_, line.words[0], line.words[1]);
  if (name == "ledger") return swarm_ledger(context_, line.words[0]);
  if (name == "steer") return steer(line);
  return std::nullopt;
}

int Session::steer(const Line& line) {
  const std::string facet = line.option("facet");
  const std::string whom = facet.empty() ? "all agents of it" : "the agents of facet " + facet;
  if (!confirmed(line, "Say it to " + whom + "? [yes/no] "))
    return context_.usage("nothing was said", ask_ ? "" : "add confirm=yes");
  return swarm_steer(context_, line.words[0], facet, line.words[1]);
}

}  // namespace muster::cli::console
