// fleet init, validate and run.
#include <algorithm>
#include <filesystem>

#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "tools/muster/commands/commands.hpp"
#include "tools/muster/commands/template.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/render/fleet_view.hpp"
#include "tools/muster/render/plan_view.hpp"
#include "tools/muster/render/report_view.hpp"
#include "tools/muster/render/run_view.hpp"
#include "tools/muster/text.hpp"
#include "tools/muster/wait.hpp"

namespace muster::cli {
namespace {

constexpr std::size_t kDiffsOnTerminal = 20;

Json snapshot_json(const Selection& selection) {
  Json out = Json::array();
  for (const Selected& s : selection.repositories) {
    Json labels = Json::object();
    for (const auto& [key, value] : s.labels) labels[key] = value;
    out.push_back({{"repository", s.repository},
                   {"url", s.url},
                   {"canonical_url", s.canonical_url},
                   {"base_branch", s.base_branch},
                   {"labels", labels}});
  }
  return out;
}

/// A dry run's point: the runs that would have delivered something.
Answer<std::vector<Json>> changed_runs(Client& client, const std::string& name) {
  const auto path = with_query("/v1/fleets/" + encoded(name) + "/runs", {{"state", "skipped"}});
  auto runs = client.all(path, "runs", 0);
  if (runs) std::erase_if(*runs, [](const Json& run) { return str(run, "reason") != "dry_run"; });
  return runs;
}

int show_diffs(Context& context, Client& client, const std::string& name) {
  const auto runs = changed_runs(client, name);
  if (!runs) return context.fail(runs.error());
  const std::vector<Json>& changed = *runs;
  const Look& look = context.io().out.look;
  std::size_t shown = changed.size();
  if (look.width != 0) shown = std::min(shown, kDiffsOnTerminal);
  for (std::size_t i = 0; i < shown; ++i) {
    const auto patch = client.get_text(run_path(str(changed[i], "id")) + "/diff");
    if (!patch) return context.fail(patch.error());
    const std::string title = "# " + safe_line(str(changed[i], "repository")) + ", run " +
                              safe_line(short_id(str(changed[i], "id")));
    context.out() << "\n"
                  << styled(title, Style::bold, look) << "\n"
                  << diff_text(*patch, look) << (patch->ends_with("\n") ? "" : "\n");
  }
  if (shown < changed.size())
    context.out() << "and " << plural(changed.size() - shown, "more diff") << ": "
                  << context.program() << " run list --fleet " << name << "\n";
  return 0;
}

/// All of them, into a dry run's report.
Answer<void> add_diffs(Client& client, const std::string& name, Json& report) {
  const auto runs = changed_runs(client, name);
  if (!runs) return tl::unexpected(runs.error());
  Json& diffs = report["diffs"] = Json::array();
  for (const Json& run : *runs) {
    const auto patch = client.get_text(run_path(str(run, "id")) + "/diff");
    if (!patch) return tl::unexpected(patch.error());
    diffs.push_back(
        {{"repository", str(run, "repository")}, {"run", str(run, "id")}, {"diff", *patch}});
  }
  return {};
}

Answer<Json> create(Context& context, Client& client, const PreparedFleet& fleet, bool dry_run) {
  const auto hosts = client.get("/v1/hosts");
  if (!hosts) return tl::unexpected(hosts.error());
  context.err() << plan_text(fleet, dry_run, *hosts, context.io().err.look) << std::flush;
  std::string bundle;
  if (!fleet.bundle.tar.empty()) {
    bundle = sha256_hex(fleet.bundle.tar);
    if (const auto put = client.put_blob(bundle, fleet.bundle.tar); !put)
      return tl::unexpected(put.error());
  }
  auto made = client.post("/v1/fleets", {{"spec", Json::parse(fleet.spec_json)},
                                         {"repositories", snapshot_json(fleet.selection)},
                                         {"agent_bundle", bundle},
                                         {"dry_run", dry_run},
                                         {"author", Context::user()}});
  if (!made && made.error().code == Errc::conflict && made.error().hint.empty())
    made.error().hint = "a name stands for one content: choose another with --name";
  return made;
}

int start(Context& context, PreparedFleet fleet, const FleetRunFlags& flags) {
  if (flags.dry_run) {
    fleet.spec.name = dry_run_name(fleet.spec.name, context.now());
    fleet.spec_json = actors::to_canonical_json(fleet.spec);
  }
  const std::string& name = fleet.spec.name;
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto made = create(context, **client, fleet, flags.dry_run);
  if (!made) return context.fail(made.error());
  ReportAddition diffs;
  if (flags.dry_run) diffs = [&](Json& report) { return add_diffs(**client, name, report); };
  const int code = wait_and_report(context, **client, name, flags.wait, diffs);
  if (!flags.dry_run || flags.wait.detach || context.json() || code > kExitSomeFailed) return code;
  const int shown = show_diffs(context, **client, name);
  return shown != 0 ? shown : code;
}

}  // namespace

int fleet_init(Context& context, const std::string& file, bool force) {
  return write_template(context, {file.empty() ? "fleet.yaml" : file, "fleet", kFleetTemplate, force});
}

int fleet_validate(Context& context, const FleetInput& input) {
  const auto fleet = prepare_fleet(input);
  if (!fleet) return report_problems(context, fleet.error());
  if (context.json()) {
    context.out() << dumped({{"valid", true},
                             {"repositories", snapshot_json(fleet->selection)},
                             {"files", fleet->bundle.files},
                             {"spec", Json::parse(fleet->spec_json)}},
                            2)
                  << "\n";
    return 0;
  }
  context.out() << safe_line(input.file) << " is valid: " << selection_text(*fleet) << "\n";
  return 0;
}

int fleet_run(Context& context, const FleetRunFlags& flags) {
  if (flags.input.file.empty() && flags.input.command.empty())
    return context.usage("nothing to run",
                         "give a fleet file, or all in one line: muster fleet run --repos "
                         "repos.txt -B BRANCH -m MESSAGE -- ./script.sh");
  auto fleet = prepare_fleet(flags.input);
  if (!fleet) return report_problems(context, fleet.error());
  return start(context, std::move(*fleet), flags);
}

int wait_and_report(Context& context, Client& client, const std::string& name,
                    const WaitFlags& flags, const ReportAddition& addition) {
  const std::string path = "/v1/fleets/" + encoded(name);
  if (flags.detach) {
    const auto fleet = client.get(path);
    if (!fleet) return context.fail(fleet.error());
    if (context.json())
      context.out() << dumped(*fleet, 2) << "\n";
    else
      context.out() << safe_line(name) << "\n";
    context.err() << "Watch it: " << context.program() << " fleet status " << shell_quoted(name)
                  << " --watch\n"
                  << std::flush;
    return 0;
  }
  WaitOptions options;
  options.timeout = flags.timeout;
  const WaitResult result = wait_for_fleet(context, client, name, options);
  const int code = finish_wait(context, name, result);
  if (result.end != WaitResult::End::settled) return code;
  auto report = client.get(path + "/report");
  if (!report) return context.fail(report.error());
  if (context.json() && addition)
    if (const auto added = addition(*report); !added) return context.fail(added.error());
  if (context.json())
    context.out() << dumped(*report, 2) << "\n";
  else
    context.out() << "\n" << report_text(*report, context.io().out.look);
  context.out().flush();
  return code;
}

}  // namespace muster::cli
