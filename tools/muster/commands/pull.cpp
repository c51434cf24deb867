// Commands over pull requests.
#include <chrono>
#include <thread>

#include "tools/muster/commands/commands.hpp"
#include "tools/muster/commands/settle.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/render/run_view.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

constexpr Duration kSettle{60'000};
constexpr Duration kPoll{100};

std::string pull_path(const std::string& id) {
  return "/v1/pulls/" + encoded(id);
}

}  // namespace

Answer<Json> change_pull(Client& client, const std::string& id, const std::string& verb,
                         const std::string& reason) {
  auto pull =
      client.post(pull_path(id) + "/" + verb, {{"reason", reason}, {"by", Context::user()}});
  const auto begin = std::chrono::steady_clock::now();
  while (pull && !str(*pull, "busy").empty() &&
         std::chrono::steady_clock::now() - begin < kSettle) {
    std::this_thread::sleep_for(kPoll);
    pull = client.get(pull_path(id));
  }
  return pull;
}

std::string settled_state(const std::string& verb) {
  return verb == "merge" ? "merged" : "closed";
}

std::string unsettled(const Json& pull, const std::string& verb) {
  if (str(pull, "state") == settled_state(verb)) return "";
  if (!str(pull, "busy").empty()) return "the forge has not answered yet";
  return str(pull, "problem").empty() ? "it is " + str(pull, "state") : str(pull, "problem");
}

int pull_list(Context& context, const ListFlags& flags) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const std::string path = with_query(
      "/v1/pulls", {{"fleet", flags.fleet}, {"repo", flags.repository}, {"state", flags.state}});
  auto pulls = (*client)->all(path, "pulls", flags.limit == 0 ? 0 : flags.limit + 1);
  if (!pulls) return context.fail(pulls.error());
  const bool more = flags.limit != 0 && pulls->size() > flags.limit;
  if (more) pulls->pop_back();
  if (context.json())
    context.out() << dumped({{"pulls", *pulls}, {"more", more}}, 2) << "\n";
  else if (pulls->empty())
    context.err() << "no pull requests\n";
  else
    context.out() << pull_table(*pulls, context.io().out.look, context.now());
  if (more) context.err() << "there are more: --limit 0 lists all\n";
  return 0;
}

int pull_show(Context& context, const std::string& id) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto pull = (*client)->get(pull_path(id));
  if (!pull) return context.fail(pull.error());
  if (context.json())
    context.out() << dumped(*pull, 2) << "\n";
  else
    context.out() << pull_text(*pull, context.io().out.look, context.now());
  return 0;
}

int pull_diff(Context& context, const std::string& id) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto patch = (*client)->get_text(pull_path(id) + "/diff");
  if (!patch) return context.fail(patch.error());
  if (context.json())
    context.out() << dumped({{"diff", *patch}}) << "\n";
  else
    context.out() << diff_text(*patch, context.io().out.look);
  return 0;
}

int pull_change(Context& context, const std::string& id, const std::string& verb,
                const std::string& reason) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto pull = change_pull(**client, id, verb, reason);
  if (!pull) return context.fail(pull.error());
  if (context.json()) context.out() << dumped(*pull, 2) << "\n";
  const std::string problem = unsettled(*pull, verb);
  if (!problem.empty())
    return context.fail({str(*pull, "busy").empty() ? Errc::refused : Errc::timed_out,
                         id + " was not " + settled_state(verb) + ": " + problem,
                         "muster pr show " + shell_quoted(id)});
  const std::string commit = str(*pull, "merge_sha");
  if (!context.json())
    context.out() << safe_line(id) << ": " << settled_state(verb)
                  << (commit.empty() ? "" : " as " + safe_line(commit)) << "\n";
  return 0;
}

}  // namespace muster::cli
