#include "actors/swarm/swarm_fleets.hpp"

#include <algorithm>

#include "actors/swarm/shell_words.hpp"

namespace muster::actors::swarm {
namespace {

constexpr std::size_t kSubjectBytes = 100;

std::string subject_of(const std::string& text) {
  std::string line = text.substr(0, text.find('\n'));
  if (line.size() <= kSubjectBytes) return line;
  std::size_t end = kSubjectBytes;
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0U) == 0x80U) --end;
  return line.substr(0, end);
}

}  // namespace

FleetSpec swarm_fleet(const SwarmSpec& swarm) {
  FleetSpec fleet;
  fleet.name = swarm.name;
  fleet.environment = swarm.environment;
  return fleet;
}

FleetSpec facet_fleet(const SwarmSpec& swarm, const Facet& facet) {
  FleetSpec fleet = swarm_fleet(swarm);
  fleet.prompt = swarm.prompt + (swarm.prompt.empty() ? "" : "\n\n") + facet.task;
  fleet.agent.run = facet.agent;
  fleet.agent.timeout = facet.timeout;
  for (const FacetCheck& check : facet.verify)
    fleet.verify.push_back({check.name, check.run, "", check.timeout});
  fleet.delivery.commit.message = subject_of(facet.task) + "\n\nMuster-Facet: " + facet.id;
  return fleet;
}

FleetSpec resolver_fleet(const SwarmSpec& swarm, const Facet& facet) {
  FleetSpec fleet = facet_fleet(swarm, facet);
  fleet.agent.run = swarm.resolver.run;
  fleet.agent.timeout = swarm.resolver.timeout;
  return fleet;
}

FleetSpec helper_fleet(const SwarmSpec& swarm, const std::string& prompt, const Command& run,
                       Duration timeout) {
  FleetSpec fleet = swarm_fleet(swarm);
  fleet.prompt = swarm.prompt + (swarm.prompt.empty() ? "" : "\n\n") + prompt;
  fleet.agent.run = run;
  fleet.agent.timeout = timeout;
  return fleet;
}

FleetSpec check_fleet(const SwarmSpec& swarm) {
  FleetSpec fleet = swarm_fleet(swarm);
  fleet.agent.timeout = Duration{0};
  std::string script;
  for (const FacetCheck& check : swarm.verify) {
    const std::string name = quoted_word(check.name);
    const std::string seconds =
        std::to_string(std::max<std::int64_t>(1, check.timeout.count() / 1000));
    script += "printf '== %s\\n' " + name + "\ntimeout " + seconds + " " + shell_line(check.run) +
              " || { printf '== %s failed with %s\\n' " + name + " \"$?\"; exit 1; }\n";
    fleet.agent.timeout += check.timeout;
  }
  fleet.agent.idle_timeout = Duration{0};
  fleet.agent.run.argv = {"bash", "-c", script};
  return fleet;
}

}  // namespace muster::actors::swarm
