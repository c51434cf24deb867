// Commands over swarms.
#include <algorithm>
#include <chrono>

#include "storage/base/ids.hpp"
#include "tools/muster/commands/commands.hpp"
#include "tools/muster/commands/template.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/live_screen.hpp"
#include "tools/muster/prepare_swarm.hpp"
#include "tools/muster/render/fleet_view.hpp"
#include "tools/muster/render/swarm_report.hpp"
#include "tools/muster/render/swarm_view.hpp"
#include "tools/muster/text.hpp"
#include "tools/muster/wait.hpp"

namespace muster::cli {
namespace {

using Clock = std::chrono::steady_clock;

/// Facets that a tree on a terminal shows; a pipe gets all.
constexpr std::size_t kFacetsOnTerminal = 30;
constexpr std::size_t kAllFacets = 1'000'000;

std::string swarm_path(const std::string& name, const std::string& rest = "") {
  return "/v1/swarms/" + encoded(name) + rest;
}

Json repositories_json(const PreparedSwarm& swarm) {
  Json out = Json::array();
  for (std::size_t i = 0; i < swarm.repositories.size(); ++i)
    out.push_back({{"id", swarm.spec.repositories[i].id},
                   {"repository", swarm.repositories[i].repository},
                   {"url", swarm.repositories[i].url},
                   {"canonical_url", swarm.repositories[i].canonical_url}});
  return out;
}

Answer<Json> create(Client& client, const PreparedSwarm& swarm) {
  std::string bundle;
  if (!swarm.bundle.tar.empty()) {
    bundle = sha256_hex(swarm.bundle.tar);
    if (const auto put = client.put_blob(bundle, swarm.bundle.tar); !put)
      return tl::unexpected(put.error());
  }
  return client.post("/v1/swarms", {{"spec", swarm.document},
                                    {"repositories", repositories_json(swarm)},
                                    {"agent_bundle", bundle},
                                    {"author", Context::user()}});
}

Answer<std::vector<Json>> all_facets(Client& client, const std::string& name) {
  return client.all(swarm_path(name, "/facets"), "facets", 0);
}

Answer<void> print_tree(Context& context, Client& client, Json swarm) {
  const auto facets = all_facets(client, str(swarm, "name"));
  if (!facets) return tl::unexpected(facets.error());
  if (context.json()) {
    swarm["tree"] = *facets;
    context.out() << dumped(swarm, 2) << "\n";
  } else {
    context.out() << swarm_tree(swarm, *facets, context.io().out.look, kAllFacets);
  }
  context.out().flush();
  return {};
}

/// Shows a swarm until it ends: its tree where the cursor moves, lines elsewhere.
class SwarmWatch {
 public:
  SwarmWatch(Context& context, Client& client, std::string name, Duration timeout)
      : context_(context),
        client_(client),
        name_(std::move(name)),
        timeout_(timeout),
        screen_(context.io().err) {}

  int run() {
    const Interrupt interrupt;
    client_.set_interrupt([&interrupt] { return interrupt.raised(); });
    const int code = loop(interrupt);
    client_.set_interrupt({});
    return code;
  }

 private:
  static constexpr Duration kPoll{500};
  static constexpr Duration kReconnect{5 * 60'000};

  int loop(const Interrupt& interrupt) {
    const auto begin = Clock::now();
    auto last_seen = begin;
    for (;;) {
      auto swarm = client_.get(swarm_path(name_));
      if (interrupt.raised()) return detached();
      if (swarm) {
        last_seen = Clock::now();
        show(*swarm);
        if (is_over_swarm(*swarm)) return over(*swarm);
      } else if (!may_return(swarm.error()) || Clock::now() - last_seen > kReconnect) {
        return context_.fail(swarm.error());
      }
      if (timeout_.count() != 0 && Clock::now() - begin >= timeout_) {
        context_.err() << "The time is over; the swarm goes on: " << again() << "\n" << std::flush;
        return kExitTimedOut;
      }
      if (interrupt.pause(kPoll)) return detached();
    }
  }

  static bool may_return(const Failure& failure) {
    return failure.code == Errc::unreachable || failure.code == Errc::unknown ||
           failure.code == Errc::overloaded;
  }
  [[nodiscard]] std::string again() const {
    return context_.program() + " swarm status " + shell_quoted(name_) + " --watch";
  }

  void show(const Json& swarm) {
    Stream& stream = context_.io().err;
    if (stream.live) {
      if (const auto facets = all_facets(client_, name_))
        screen_.draw(swarm_tree(swarm, *facets, stream.look, kFacetsOnTerminal));
      return;
    }
    const std::string line = swarm_line(swarm);
    if (line == shown_) return;
    stream.to << line << "\n" << std::flush;
    shown_ = line;
  }

  int over(const Json& swarm) {
    if (!context_.io().err.live || context_.json() || context_.io().out.look.width == 0)
      if (const auto printed = print_tree(context_, client_, swarm); !printed)
        return context_.fail(printed.error());
    return exit_code_of_swarm(swarm);
  }

  int detached() {
    context_.err() << "\nDetached; the swarm goes on. Watch it again: " << again()
                   << "\nStop it: " << context_.program() << " swarm cancel " << shell_quoted(name_)
                   << "\n"
                   << std::flush;
    return kExitDetached;
  }

  Context& context_;
  Client& client_;
  std::string name_;
  Duration timeout_;
  LiveScreen screen_;
  std::string shown_;
};

int wait_for_swarm(Context& context, Client& client, const Json& swarm, const WaitFlags& flags) {
  const std::string name = str(swarm, "name");
  if (!flags.detach) return SwarmWatch(context, client, name, flags.timeout).run();
  if (context.json())
    context.out() << dumped(swarm, 2) << "\n";
  else
    context.out() << safe_line(name) << "\n";
  context.err() << "Watch it: " << context.program() << " swarm status " << shell_quoted(name)
                << " --watch\n"
                << std::flush;
  return 0;
}

/// What a person can do about a facet that nobody goes on with.
std::string next_of_facet(const Context& context, const std::string& name, const Json& facet) {
  if (str(facet, "state") != "rejected") return "";
  const std::string muster = "  " + context.program() + " ", swarm = shell_quoted(name);
  const std::string run = str(at(facet, "run"), "id");
  std::string out = "\nNext\n";
  if (!run.empty())
    out += muster + "run diff " + short_id(run) + "\n" + muster + "run logs " + short_id(run) + "\n";
  return out + muster + "swarm steer " + swarm + " --facet " + shell_quoted(str(facet, "id")) +
         " 'what its agent should know'\n" + muster + "swarm retry " + swarm + "\n";
}

}  // namespace

int swarm_init(Context& context, const std::string& file, bool force) {
  return write_template(context, {file.empty() ? "swarm.yaml" : file, "swarm", kSwarmTemplate, force});
}

int swarm_validate(Context& context, const std::string& file) {
  const auto swarm = prepare_swarm(file);
  if (!swarm) return report_problems(context, swarm.error());
  if (context.json()) {
    context.out() << dumped({{"valid", true},
                             {"repositories", repositories_json(*swarm)},
                             {"facets", swarm->spec.facets.size()},
                             {"files", swarm->bundle.files},
                             {"spec", swarm->document}},
                            2)
                  << "\n";
    return 0;
  }
  context.out() << safe_line(file) << " is valid: " << plural(swarm->spec.facets.size(), "facet")
                << " in " << plural(swarm->repositories.size(), "repository", "repositories")
                << "\n";
  return 0;
}

int swarm_run(Context& context, const std::string& file, const WaitFlags& flags) {
  const auto swarm = prepare_swarm(file);
  if (!swarm) return report_problems(context, swarm.error());
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto made = create(**client, *swarm);
  if (!made) return context.fail(made.error());
  return wait_for_swarm(context, **client, *made, flags);
}

int swarm_list(Context& context, const ListFlags& flags) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto swarms =
      (*client)->all(with_query("/v1/swarms", {{"state", flags.state}}), "swarms", flags.limit);
  if (!swarms) return context.fail(swarms.error());
  if (context.json())
    context.out() << dumped({{"swarms", *swarms}}, 2) << "\n";
  else if (swarms->empty())
    context.err() << "no swarms\n";
  else
    context.out() << swarm_table(*swarms, context.io().out.look, context.now());
  return 0;
}

int swarm_status(Context& context, const std::string& name, bool watch, Duration timeout) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  if (watch) return SwarmWatch(context, **client, name, timeout).run();
  auto swarm = (*client)->get(swarm_path(name));
  if (!swarm) return context.fail(swarm.error());
  if (const auto printed = print_tree(context, **client, std::move(*swarm)); !printed)
    return context.fail(printed.error());
  return 0;
}

int swarm_show(Context& context, const std::string& name, const std::string& facet) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto one = (*client)->get(swarm_path(name, "/facets/" + encoded(facet)));
  if (!one) return context.fail(one.error());
  if (context.json())
    context.out() << dumped(*one, 2) << "\n";
  else
    context.out() << facet_text(*one, context.io().out.look) << next_of_facet(context, name, *one);
  return 0;
}

int swarm_ledger(Context& context, const std::string& name) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto ledger = (*client)->get(swarm_path(name, "/ledger"));
  if (!ledger) return context.fail(ledger.error());
  if (context.json())
    context.out() << dumped(*ledger, 2) << "\n";
  else
    context.out() << ledger_text(*ledger, context.io().out.look);
  return flag(*ledger, "proven") ? 0 : kExitSomeFailed;
}

int swarm_report(Context& context, const std::string& name) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto swarm = (*client)->get(swarm_path(name));
  if (!swarm) return context.fail(swarm.error());
  const auto facets = all_facets(**client, name);
  if (!facets) return context.fail(facets.error());
  const auto results = (*client)->get(swarm_path(name, "/results"));
  if (!results) return context.fail(results.error());
  if (context.json())
    context.out() << dumped({{"swarm", *swarm}, {"facets", *facets}, {"results", *results}}, 2)
                  << "\n";
  else
    context.out() << swarm_report_markdown(*swarm, *facets, *results);
  return 0;
}

int swarm_change(Context& context, const std::string& name, const std::string& verb,
                 const std::string& reason) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  auto swarm =
      (*client)->post(swarm_path(name, "/" + verb), {{"reason", reason}, {"by", Context::user()}});
  if (!swarm) return context.fail(swarm.error());
  if (const auto printed = print_tree(context, **client, std::move(*swarm)); !printed)
    return context.fail(printed.error());
  return 0;
}

int swarm_steer(Context& context, const std::string& name, const std::string& facet,
                const std::string& text) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto swarm = (*client)->post(swarm_path(name, "/steer"),
                                     {{"text", text}, {"facet", facet}, {"by", Context::user()}});
  if (!swarm) return context.fail(swarm.error());
  if (context.json())
    context.out() << dumped(*swarm, 2) << "\n";
  else
    context.err() << "Said to " << (facet.empty() ? "all agents of " : "the agents of facet ")
                  << safe_line(facet.empty() ? name : facet)
                  << (is_over_swarm(*swarm)
                          ? ": those that a retry sends find it in MUSTER_STEER_FILE.\n"
                          : ": those at work find it in MUSTER_STEER_FILE, those that begin later too.\n");
  return 0;
}

int swarm_retry(Context& context, const std::string& name, const std::string& reason,
                const WaitFlags& flags) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto swarm =
      (*client)->post(swarm_path(name, "/retry"), {{"reason", reason}, {"by", Context::user()}});
  if (!swarm) return context.fail(swarm.error());
  return wait_for_swarm(context, **client, *swarm, flags);
}

}  // namespace muster::cli
