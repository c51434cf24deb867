// Commands over runs.
#include <array>

#include "tools/muster/commands/commands.hpp"
#include "tools/muster/commands/log_printer.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/render/fleet_view.hpp"
#include "tools/muster/render/run_view.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

bool is_over(const std::string& state) {
  for (const char* end : {"delivered", "unchanged", "skipped", "failed", "cancelled", "superseded"})
    if (state == end) return true;
  return false;
}

/// The step that the wanted attempt (0: the last) failed at; empty when none is known.
std::string failed_step(const Json& run, unsigned attempt) {
  std::string found;
  for (const Json& one : list(run, "attempts")) {
    if (attempt != 0 && num(one, "attempt") != attempt) continue;
    found.clear();
    for (const Json& step : list(one, "steps"))
      if (num(step, "exit_code") > 0 || num(step, "signal") != 0) found = str(step, "name");
  }
  return found;
}

Answer<std::optional<Instant>> since_of(const std::string& text, Instant now) {
  if (text.empty()) return std::optional<Instant>();
  if (const auto back = parse_duration(text)) return std::optional(now - *back);
  if (const auto then = parse_rfc3339(text)) return std::optional(*then);
  return tl::unexpected(Failure{
      Errc::invalid,
      "--since takes a duration like 10m or a time like 2026-11-22T15:04:05Z, not \"" + text + "\"",
      ""});
}

/// One reading of a run's log under the options given.
class LogReading {
 public:
  LogReading(Context& context, Client& client, std::string id, const LogFlags& flags,
             std::string step, std::optional<Instant> since)
      : context_(context),
        client_(client),
        id_(std::move(id)),
        flags_(flags),
        step_(std::move(step)),
        printer_(context.out(), {context.json(), flags.timestamps, context.io().out.look.width != 0,
                                 context.io().out.look, flags.tail, since}) {}

  /// `follow`: stays until the attempt ends. With a tail, what is there gives the tail and the rest
  /// follows it.
  Answer<void> read(bool follow) {
    Answer<void> done = stream(follow && !flags_.tail, "");
    if (done && follow && flags_.tail) {
      printer_.release_tail();
      done = stream(true, next_);
    }
    printer_.finish();
    return done;
  }

 private:
  Answer<void> stream(bool follow, const std::string& from) {
    const std::string attempt = flags_.attempt == 0 ? "" : std::to_string(flags_.attempt);
    const std::string path =
        with_query(run_path(id_) + "/logs", {{"attempt", attempt},
                                             {"step", step_},
                                             {"offset", from},
                                             {"follow", follow ? "true" : ""}});
    return client_.stream(path, [&](const Json& record) {
      next_ = std::to_string(num(record, "next"));
      printer_.line(record);
      if (follow) context_.out().flush();
      return true;
    });
  }

  Context& context_;
  Client& client_;
  std::string id_;
  const LogFlags& flags_;
  std::string step_;
  LogPrinter printer_;
  std::string next_;  ///< Where the log goes on after what was read.
};

}  // namespace

std::string run_path(const std::string& id) {
  return "/v1/runs/" + encoded(id);
}

int run_list(Context& context, const ListFlags& flags) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const std::string path = with_query("/v1/runs", {{"fleet", flags.fleet},
                                                   {"state", flags.state},
                                                   {"class", flags.failure_class},
                                                   {"repo", flags.repository}});
  auto runs = (*client)->all(path, "runs", flags.limit == 0 ? 0 : flags.limit + 1);
  if (!runs) return context.fail(runs.error());
  const bool more = flags.limit != 0 && runs->size() > flags.limit;
  if (more) runs->pop_back();
  if (context.json())
    context.out() << dumped({{"runs", *runs}, {"more", more}}, 2) << "\n";
  else if (runs->empty())
    context.err() << "no runs\n";
  else
    context.out() << run_table(*runs, context.io().out.look, context.now());
  if (more) context.err() << "there are more: --limit 0 lists all\n";
  return 0;
}

int run_show(Context& context, const std::string& id) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto run = (*client)->get(run_path(id));
  if (!run) return context.fail(run.error());
  if (context.json())
    context.out() << dumped(*run, 2) << "\n";
  else
    context.out() << run_text(*run, context.io().out.look, context.now());
  return 0;
}

int run_logs(Context& context, const std::string& id, const LogFlags& flags) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto since = since_of(flags.since, context.now());
  if (!since) return context.fail(since.error());
  std::string step = flags.step;
  bool follow = flags.follow;
  if (flags.failed || follow) {
    const auto run = (*client)->get(run_path(id));
    if (!run) return context.fail(run.error());
    follow = follow && !is_over(str(*run, "state"));
    if (flags.failed && step.empty()) step = failed_step(*run, flags.attempt);
    if (flags.failed && step.empty()) {
      context.err() << "no step of this run failed"
                    << (str(*run, "message").empty() ? "" : ": " + safe_line(str(*run, "message")))
                    << "\n";
      return 0;
    }
  }
  const auto read = LogReading(context, **client, id, flags, step, *since).read(follow);
  return read ? 0 : context.fail(read.error());
}

int run_cancel(Context& context, const std::string& id, const std::string& reason) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto run =
      (*client)->post(run_path(id) + "/cancel", {{"reason", reason}, {"by", Context::user()}});
  if (!run) return context.fail(run.error());
  const std::string name = str(*run, "id").empty() ? id : str(*run, "id");
  if (context.json())
    context.out() << dumped(*run, 2) << "\n";
  else
    context.out() << safe_line(name) << ": "
                  << (is_over(str(*run, "state")) ? safe_line(str(*run, "state"))
                                                  : "is being cancelled")
                  << "\n";
  return 0;
}

int run_steer(Context& context, const std::string& id, const std::string& text) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto run =
      (*client)->post(run_path(id) + "/steer", {{"text", text}, {"by", Context::user()}});
  if (!run) return context.fail(run.error());
  if (context.json())
    context.out() << dumped(*run, 2) << "\n";
  else
    context.err() << "Said to the agent of " << safe_line(str(*run, "id").empty() ? id : str(*run, "id"))
                  << ": it finds it in MUSTER_STEER_FILE, and so do later attempts.\n";
  return 0;
}

int run_move(Context& context, const std::string& id, const std::string& to,
             const std::string& reason, bool dry_run) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto moved = (*client)->post(
      run_path(id) + "/move",
      {{"to", to}, {"reason", reason}, {"by", Context::user()}, {"dry_run", dry_run}});
  if (!moved) return context.fail(moved.error());
  if (context.json()) {
    context.out() << dumped(*moved, 2) << "\n";
    return 0;
  }
  std::string where = to.empty() ? "another host" : "host " + to;
  std::string room;
  for (const Json& name : list(*moved, "hosts_with_room"))
    room += (room.empty() ? "" : ", ") + (name.is_string() ? name.get<std::string>() : "");
  if (to.empty()) where += room.empty() ? ", once one has room" : " (room: " + room + ")";
  context.out() << safe_line(str(*moved, "run") + (dry_run ? " would leave" : " leaves") + " host " +
                             str(*moved, "from") +
                             (dry_run ? " and begin again on " : " and begins again on ") + where)
                << "\n";
  return 0;
}

namespace {

/// Why a run that has ended has no diff: on stderr, where a patch in a pipe stays a patch.
int explain_no_diff(Context& context, const Json& run) {
  const std::string name = "run " + short_id(str(run, "id")) + " of " + str(run, "repository");
  const std::string logs = context.program() + " run logs " + short_id(str(run, "id"));
  const std::string state = str(run, "state");
  if (state == "unchanged" || state == "skipped") {
    context.err() << safe_line(name) << ": no diff, "
                  << (state == "unchanged" ? "the agent changed nothing"
                                           : "it was skipped: " + safe_line(str(run, "reason")))
                  << "\n"
                  << std::flush;
    return 0;
  }
  const std::string step = failed_step(run, 0), message = str(run, "message");
  std::string why = step.empty() ? "" : " at " + step;
  if (!message.empty()) why += ": " + message;
  return context.fail({Errc::not_found,
                       name + " " + (state == "cancelled" ? "was cancelled" : state) + why +
                           (state == "failed" ? "; a failed attempt's change is not kept" : "") +
                           ", so there is no diff",
                       logs + " says what happened"});
}

}  // namespace

int run_diff(Context& context, const std::string& id) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto patch = (*client)->get_text(run_path(id) + "/diff");
  if (!patch) return context.fail(patch.error());
  if (patch->empty()) {
    const auto run = (*client)->get(run_path(id));
    if (!run) return context.fail(run.error());
    if (const int code = explain_no_diff(context, *run); code != 0) return code;
  }
  if (context.json())
    context.out() << dumped({{"diff", *patch}}) << "\n";
  else
    context.out() << diff_text(*patch, context.io().out.look);
  return 0;
}

}  // namespace muster::cli
