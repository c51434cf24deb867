#include "tools/muster/render/plan_view.hpp"

#include <algorithm>

#include "tools/muster/json_get.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

constexpr std::size_t kHostsNamed = 5;

/// How many repositories have had their turn after each wave: "5, 50, 500".
std::string wave_sizes(const PreparedFleet& fleet) {
  const std::size_t total = fleet.selection.repositories.size();
  std::string out;
  std::size_t last = 0;
  for (const actors::Wave& wave : fleet.spec.rollout.waves) {
    std::size_t upto = wave.count != 0 ? wave.count : (total * wave.permille + 999) / 1000;
    upto = std::min(upto, total);
    if (upto <= last) continue;
    last = upto;
    out += (out.empty() ? "" : ", ") + human_count(upto);
  }
  return out;
}

std::string left_out(const Selection& selection) {
  std::string out;
  const auto add = [&](std::size_t n, const char* what) {
    if (n != 0) out += (out.empty() ? " (" : ", ") + human_count(n) + " " + what;
  };
  add(selection.duplicates, "named twice");
  add(selection.excluded, "excluded");
  add(selection.beyond_limit, "beyond the limit");
  return out.empty() ? "" : out + ")";
}

std::string command_text(const actors::Command& command) {
  if (!command.shell.empty()) return command.shell;
  std::string out;
  for (const std::string& word : command.argv) out += (out.empty() ? "" : " ") + shell_quoted(word);
  return out;
}

std::string delivery_text(const actors::Delivery& delivery, bool dry_run) {
  if (dry_run) return "nothing (dry run); the diffs are shown at the end";
  switch (delivery.mode) {
    case actors::fbs::DeliveryMode::none:
      return "nothing";
    case actors::fbs::DeliveryMode::branch:
      return "branch " + delivery.branch;
    case actors::fbs::DeliveryMode::pull_request:
      break;
  }
  return "branch " + delivery.branch + " and a " + (delivery.pull_request.draft ? "draft " : "") +
         "pull request";
}

std::string hosts_text(const Json& hosts) {
  std::uint64_t ready = 0, slots = 0;
  std::string names;
  for (const Json& host : list(hosts, "hosts")) {
    if (str(host, "state") != "ready") continue;
    slots += count(host, "slots");
    if (++ready <= kHostsNamed) names += (names.empty() ? "" : ", ") + str(host, "name");
  }
  if (ready == 0) return "none is ready: runs wait until one connects";
  return names + (ready > kHostsNamed ? ", ..." : "") + " (" + plural(slots, "slot") + ")";
}

}  // namespace

std::string plan_text(const PreparedFleet& fleet, bool dry_run, const Json& hosts,
                      const Look& look) {
  Table table({{""}, {"", Table::Align::left, true}});
  const auto line = [&](const char* key, const std::string& value) {
    table.add({{key, Style::dim}, value});
  };
  line("repositories",
       human_count(fleet.selection.repositories.size()) + left_out(fleet.selection));
  line("waves", wave_sizes(fleet) + "; at most " + std::to_string(fleet.spec.rollout.concurrency) +
                    " at a time");
  line("agent", command_text(fleet.spec.agent.run));
  if (!fleet.bundle.files.empty())
    line("travels",
         plural(fleet.bundle.files.size(), "file") + ", " + human_bytes(fleet.bundle.tar.size()));
  std::string verify;
  for (const auto& v : fleet.spec.verify) verify += (verify.empty() ? "" : ", ") + v.name;
  line("verified by", verify.empty() ? "nothing" : verify);
  line("delivers", delivery_text(fleet.spec.delivery, dry_run));
  line("hosts", hosts_text(hosts));
  return styled("Fleet " + safe_line(fleet.spec.name), Style::bold, look) + "\n" +
         table.text(look, 2);
}

std::string selection_text(const PreparedFleet& fleet) {
  return "fleet " + fleet.spec.name + ", " +
         plural(fleet.selection.repositories.size(), "repository", "repositories") +
         left_out(fleet.selection) + ", waves of " + wave_sizes(fleet);
}

}  // namespace muster::cli
