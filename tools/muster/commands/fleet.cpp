// Commands over fleets that exist.
#include <cctype>
#include <filesystem>
#include <fstream>

#include "storage/base/files.hpp"
#include "tools/muster/commands/commands.hpp"
#include "tools/muster/commands/log_printer.hpp"
#include "tools/muster/commands/settle.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/render/fleet_view.hpp"
#include "tools/muster/render/report_view.hpp"
#include "tools/muster/text.hpp"
#include "tools/muster/wait.hpp"

namespace muster::cli {
namespace {

std::string fleet_path(const std::string& name, const std::string& rest = "") {
  return "/v1/fleets/" + encoded(name) + rest;
}

/// A file's name for a repository: no slash, not hidden, nothing that a shell or a terminal minds.
std::string file_name(const std::string& repository) {
  std::string out;
  for (const char c : repository) {
    const bool kept =
        std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_';
    out += c == '/' ? std::string("__") : std::string(1, kept ? c : '_');
  }
  return (out.starts_with(".") ? "_" + out : out) + ".log";
}

void print_fleet(Context& context, const Json& fleet) {
  if (context.json())
    context.out() << dumped(fleet, 2) << "\n";
  else
    context.out() << fleet_status_text(fleet, context.io().out.look, context.now());
}

}  // namespace

int fleet_list(Context& context, const ListFlags& flags) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto fleets =
      (*client)->all(with_query("/v1/fleets", {{"state", flags.state}}), "fleets", flags.limit);
  if (!fleets) return context.fail(fleets.error());
  if (context.json())
    context.out() << dumped({{"fleets", *fleets}}, 2) << "\n";
  else if (fleets->empty())
    context.err() << "no fleets\n";
  else
    context.out() << fleet_table(*fleets, context.io().out.look, context.now());
  return 0;
}

int fleet_status(Context& context, const std::string& name, bool watch, Duration timeout) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  if (watch) {
    WaitOptions options;
    options.timeout = timeout;
    const WaitResult result = wait_for_fleet(context, **client, name, options);
    const int code = finish_wait(context, name, result);
    if (result.end == WaitResult::End::settled) print_fleet(context, result.fleet);
    return code;
  }
  const auto fleet = (*client)->get(fleet_path(name));
  if (!fleet) return context.fail(fleet.error());
  print_fleet(context, *fleet);
  return 0;
}

int fleet_report(Context& context, const std::string& name, const std::string& format) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  if (format == "csv") {
    const auto runs = (*client)->all(fleet_path(name, "/runs"), "runs", 0);
    if (!runs) return context.fail(runs.error());
    context.out() << runs_csv(*runs);
    return 0;
  }
  const auto report = (*client)->get(fleet_path(name, "/report"));
  if (!report) return context.fail(report.error());
  if (context.json() || format == "json")
    context.out() << dumped(*report, 2) << "\n";
  else if (format == "markdown")
    context.out() << report_markdown(*report);
  else
    context.out() << report_text(*report, context.io().out.look);
  return 0;
}

int fleet_change(Context& context, const std::string& name, const std::string& verb,
                 const std::string& reason) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto fleet =
      (*client)->post(fleet_path(name, "/" + verb), {{"reason", reason}, {"by", Context::user()}});
  if (!fleet) return context.fail(fleet.error());
  print_fleet(context, *fleet);
  return 0;
}

int fleet_retry(Context& context, const std::string& name, const RetryFlags& flags) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto before = (*client)->get(fleet_path(name));
  if (!before) return context.fail(before.error());
  if (progress_of(*before).failed == 0) {
    if (context.json()) context.out() << dumped(*before, 2) << "\n";
    context.err() << "nothing failed in " << safe_line(name) << "; nothing to retry\n";
    return 0;
  }
  const auto fleet = (*client)->post(fleet_path(name, "/retry"), {{"classes", flags.classes},
                                                                  {"repository", flags.repository},
                                                                  {"reason", flags.reason},
                                                                  {"by", Context::user()}});
  if (!fleet) return context.fail(fleet.error());
  return wait_and_report(context, **client, name, flags.wait);
}

int fleet_pulls(Context& context, const std::string& name, const std::string& verb,
                const std::string& repository, const std::string& reason) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto pulls = (*client)->all(
      with_query("/v1/pulls", {{"fleet", name}, {"repo", repository}, {"state", "open"}}), "pulls",
      0);
  if (!pulls) return context.fail(pulls.error());
  Json results = Json::array();
  std::size_t done = 0;
  for (const Json& open : *pulls) {
    const std::string id = str(open, "id");
    const auto pull = change_pull(**client, id, verb, reason);
    const auto problem = pull ? unsettled(*pull, verb) : pull.error().message;
    if (problem.empty()) ++done;
    results.push_back({{"id", id}, {"done", problem.empty()}, {"problem", problem}});
    if (context.json()) continue;
    context.out() << safe_line(id) << ": "
                  << (problem.empty() ? settled_state(verb)
                                      : "not " + settled_state(verb) + ": " + safe_line(problem))
                  << "\n"
                  << std::flush;
  }
  if (context.json()) context.out() << dumped({{"pulls", results}}, 2) << "\n";
  context.err() << human_count(done) << " of " << plural(pulls->size(), "open pull request") << " "
                << settled_state(verb) << "\n";
  return done == pulls->size() ? 0 : kExitSomeFailed;
}

int fleet_logs(Context& context, const std::string& name, bool failed, const std::string& output) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto runs = (*client)->all(
      with_query(fleet_path(name, "/runs"), {{"state", failed ? "failed" : ""}}), "runs", 0);
  if (!runs) return context.fail(runs.error());
  if (const auto made = make_directory(output); !made)
    return context.fail({made.error().code, made.error().message, ""});
  Json written = Json::array();
  for (const Json& run : *runs) {
    // Nothing of it ever ran, or a retry's run took its place and with it its file's name.
    if (num(run, "attempt") == 0 || str(run, "state") == "superseded") continue;
    const auto path = std::filesystem::path(output) / file_name(str(run, "repository"));
    std::ofstream file(path, std::ios::trunc);
    LogOptions options;
    options.timestamps = true;
    LogPrinter printer(file, options);
    const auto streamed = (*client)->stream(run_path(str(run, "id")) + "/logs",
                                            [&](const Json& line) { return printer.line(line); });
    if (!streamed) return context.fail(streamed.error());
    printer.finish();
    if (!file.flush()) return context.fail({Errc::io, "can't write " + path.string(), ""});
    written.push_back(
        {{"repository", str(run, "repository")}, {"run", str(run, "id")}, {"file", path.string()}});
  }
  if (context.json())
    context.out() << dumped({{"logs", written}}, 2) << "\n";
  else
    context.out() << "Wrote " << plural(written.size(), "log") << " to " << safe_line(output)
                  << "\n";
  return 0;
}

}  // namespace muster::cli
