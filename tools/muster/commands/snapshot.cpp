// muster run snapshot, snapshots and fork.
#include "tools/muster/commands/commands.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/render/run_view.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

/// Longer than musterd waits for the host.
constexpr Duration kCopyLimit{90'000};

std::string named_text(const Json& snapshot) {
  const std::string name = str(snapshot, "name");
  return safe_line(str(snapshot, "id") + (name.empty() ? "" : " (" + name + ")"));
}

}  // namespace

int run_snapshot(Context& context, const std::string& id, const std::string& name, const std::string& remove) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  if (!remove.empty() && !name.empty()) return context.usage("--remove takes an id, and no NAME beside it");
  const std::string path = run_path(id) + "/snapshots";
  Json body = {{"by", Context::user()}};
  if (remove.empty()) body["name"] = name;
  const auto snapshot = (*client)->post(remove.empty() ? path : path + "/" + encoded(remove) + "/remove", body, kCopyLimit);
  if (!snapshot) return context.fail(snapshot.error());
  if (context.json())
    context.out() << dumped(*snapshot, 2) << "\n";
  else if (remove.empty())
    context.out() << named_text(*snapshot) << ": " << human_bytes(count(*snapshot, "bytes")) << " kept on host "
                  << safe_line(str(*snapshot, "host")) << "\n";
  else
    context.out() << named_text(*snapshot) << ": removed\n";
  return 0;
}

int run_snapshots(Context& context, const std::string& id) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto found = (*client)->get(run_path(id) + "/snapshots");
  if (!found) return context.fail(found.error());
  if (context.json()) {
    context.out() << dumped(*found, 2) << "\n";
    return 0;
  }
  Table table({{"SNAPSHOT"}, {"NAME", Table::Align::left, true}, {"ATTEMPT", Table::Align::right},
               {"SIZE", Table::Align::right}, {"TAKEN"}, {"HOST"}});
  for (const Json& one : list(*found, "snapshots"))
    table.add({str(one, "id"), str(one, "name"), std::to_string(num(one, "attempt")),
               human_bytes(count(one, "bytes")), str(one, "created_at"), str(one, "host")});
  if (table.empty())
    context.err() << "no snapshots\n";
  else
    context.out() << table.text(context.io().out.look);
  for (const Json& host : list(*found, "unreachable"))
    context.err() << "host " << safe_line(host.is_string() ? host.get<std::string>() : "")
                  << " can't be asked now: it may have more\n";
  return 0;
}

int run_fork(Context& context, const std::string& id, const ForkFlags& flags) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto fork = (*client)->post(run_path(id) + "/fork",
                                    {{"snapshot", flags.snapshot},
                                     {"name", flags.name},
                                     {"prompt", flags.prompt},
                                     {"command", flags.command},
                                     {"by", Context::user()}},
                                    kCopyLimit);
  if (!fork) return context.fail(fork.error());
  if (context.json())
    context.out() << dumped(*fork, 2) << "\n";
  else
    context.out() << "run " << safe_line(str(*fork, "run")) << " of fleet " << safe_line(str(*fork, "fleet"))
                  << " begins with " << named_text(at(*fork, "snapshot")) << " on host "
                  << safe_line(str(at(*fork, "snapshot"), "host")) << "\n";
  return 0;
}

}  // namespace muster::cli
