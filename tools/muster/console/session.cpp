#include "tools/muster/console/session.hpp"

#include "tools/muster/console/render.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli::console {
namespace {

constexpr std::string_view kJournalLimit = "20";
constexpr std::string_view kShowLimit = "20";

/// The line's options of those names, as a query.
std::vector<std::pair<std::string, std::string>> query_of(
    const Line& line, std::initializer_list<const char*> names) {
  std::vector<std::pair<std::string, std::string>> query;
  for (const char* name : names) query.emplace_back(name, line.option(name));
  return query;
}

bool is_order(const std::string& name) {
  for (const char* order : {"pause", "resume", "cancel", "retry", "cordon", "uncordon", "drain",
                            "passivate", "replay", "discard", "release", "move"})
    if (name == order) return true;
  return false;
}

bool is_care(const std::string& name) {
  return name == "limit" || name == "log-level" || name == "backup" || name == "compact";
}

std::string actors_query(const Line& line) {
  return with_query("/v1/actors", query_of(line, {"kind", "prefix", "fleet", "state", "older_than",
                                                  "younger_than", "min_pending", "limit"}));
}

}  // namespace

Result<std::string> actor_path(const std::string& actor) {
  const std::size_t slash = actor.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == actor.size())
    return fail(Errc::invalid,
                "'" + actor + "' names no actor: KIND/KEY, as run/ER8SXG or fleet/libgreet-2");
  return "/v1/actors/" + encoded(actor.substr(0, slash)) + "/" + encoded(actor.substr(slash + 1));
}

Answer<Doc> Session::get(const std::string& path) {
  auto client = context_.client();
  if (!client) return tl::unexpected(client.error());
  auto text = (*client)->get_text(path);
  if (!text) return tl::unexpected(text.error());
  Doc document = Doc::parse(*text, nullptr, false);
  if (document.is_discarded())
    return tl::unexpected(Failure{Errc::corrupt, "musterd sent no JSON", ""});
  return document;
}

int Session::show(const std::string& path, const Render& render) {
  const auto document = get(path);
  if (!document) return context_.fail(document.error());
  context_.out() << (context_.json() ? dumped(*document, 2) + "\n" : render(*document));
  return 0;
}

int Session::run(const std::string& text) {
  const auto line = parse_line(text);
  if (!line) return context_.usage(line.error().message);
  if (line->command == nullptr) return 0;
  const int code = dispatch(*line);
  context_.out().flush();
  return code;
}

int Session::dispatch(const Line& line) {
  const std::string& name = line.command->name;
  const Screen screen{context_.io().out.look, context_.now()};
  if (name == "quit") {
    quit_ = true;
    return 0;
  }
  if (name == "help") {
    context_.out() << help_text(line.words);
    return line.words.empty() || find_command(line.words.front()) != nullptr ? 0 : kExitUsage;
  }
  if (name == "actors")
    return show(actors_query(line), [&](const Doc& doc) { return actors_text(doc, screen); });
  if (name == "engine")
    return show("/v1/engine", [&](const Doc& doc) { return engine_text(doc, screen); });
  if (name == "hosts")
    return show(with_query("/v1/hosts", query_of(line, {"state", "limit"})),
                [&](const Doc& doc) { return hosts_text(doc, screen); });
  if (name == "host")
    return show("/v1/hosts/" + encoded(line.words.front()),
                [&](const Doc& doc) { return host_text(doc, screen); });
  if (name == "slow")
    return show("/v1/engine", [&](const Doc& doc) { return slow_text(doc, screen); });
  if (name == "limits")
    return show("/v1/limits", [&](const Doc& doc) { return limits_text(doc, screen); });
  if (name == "verify") return verify();
  if (is_care(name)) return care(line);
  if (name == "queue")
    return show(with_query("/v1/queue", query_of(line, {"fleet", "limit"})),
                [&](const Doc& doc) { return queue_text(doc, screen); });
  if (name == "dead")
    return show(with_query("/v1/dead-letters", query_of(line, {"kind", "actor", "state", "limit"})),
                [&](const Doc& doc) { return dead_text(doc, screen); });
  if (name == "kinds")
    return show("/v1/kinds", [&](const Doc& doc) {
      return kinds_text(doc, line.words.empty() ? "" : line.words.front(), screen);
    });
  if (name == "message")
    return show(
        with_query("/v1/messages/" + encoded(line.words.front()), query_of(line, {"shard"})),
        [&](const Doc& doc) { return message_text(doc, screen); });
  if (name == "top") return top();
  if (name == "follow") return follow(line);
  if (name == "hot")
    return show(with_query("/v1/hot", query_of(line, {"kind", "prefix", "fleet", "host", "limit"})),
                [&](const Doc& doc) { return hot_text(doc, screen); });
  if (name == "tree")
    return show(with_query("/v1/messages/" + encoded(line.words.front()) + "/tree",
                           query_of(line, {"shard", "limit"})),
                [&](const Doc& doc) { return tree_text(doc, screen); });
  if (is_order(name)) return order(line);
  if (name == "show") return show_actors(line);
  if (const auto code = of_swarms(line)) return *code;
  const auto path = actor_path(line.words.front());
  if (!path) return context_.usage(path.error().message);
  if (name == "rows")
    return show(with_query(*path + "/rows", query_of(line, {"prefix", "limit"})),
                [&](const Doc& doc) { return rows_text(doc, screen); });
  if (name == "state")
    return show(*path + "/states/" + encoded(line.words[1]), [&](const Doc& doc) {
      return state_text(doc, screen, !line.option("all").empty());
    });
  if (name == "send") return send(line);
  if (name == "journal") return journal(line);
  return context_.usage("'" + name + "' can't be done here");
}

/// The actors that the line names, else those that its filters mean; `more`: not all of them.
Answer<std::vector<std::string>> Session::meant(const Line& line, bool& more) {
  if (!line.words.empty()) return line.words;
  Line limited = line;
  limited.options.emplace("limit", kShowLimit);
  const auto page = get(actors_query(limited));
  if (!page) return tl::unexpected(page.error());
  std::vector<std::string> ids;
  for (const Doc& actor : list(*page, "actors")) ids.push_back(str(actor, "id"));
  more = !at(*page, "next").is_null();
  return ids;
}

int Session::show_actors(const Line& line) {
  const bool all = !line.option("all").empty();
  if (line.words.empty() && line.options.size() == (all ? 1u : 0u))
    return context_.usage("say which: " + usage(*line.command));
  if (line.words.size() == 1) {
    const auto path = actor_path(line.words.front());
    if (!path) return context_.usage(path.error().message);
    const Screen screen{context_.io().out.look, context_.now()};
    return show(*path, [&](const Doc& doc) { return actor_text(doc, screen, all); });
  }
  bool more = false;
  const auto ids = meant(line, more);
  if (!ids) return context_.fail(ids.error());
  Doc shown = Doc::array();
  for (const std::string& id : *ids) {
    const auto path = actor_path(id);
    if (!path) return context_.usage(path.error().message);
    auto actor = get(*path);
    const bool gone = !actor && actor.error().code == Errc::not_found && line.words.empty();
    if (gone) continue;  // Since the list was made.
    if (!actor) return context_.fail(actor.error());
    shown.push_back(std::move(*actor));
  }
  const Screen screen{context_.io().out.look, context_.now()};
  if (context_.json()) {
    context_.out() << dumped({{"actors", std::move(shown)}, {"more", more}}, 2) << "\n";
    return 0;
  }
  for (const Doc& actor : shown)
    context_.out() << (&actor == &shown.front() ? "" : "\n") << actor_text(actor, screen, all);
  context_.out() << (shown.empty() ? "no actors\n"
                     : more        ? "\n… there are more: limit=N shows N\n"
                                   : "");
  return 0;
}

/// Page by page: a quiet actor's last steps may lie far back among those of others.
int Session::journal(const Line& line) {
  const Screen screen{context_.io().out.look, context_.now()};
  const std::string path = *actor_path(line.words.front()) + "/journal";
  const std::string limit =
      line.option("limit").empty() ? std::string(kJournalLimit) : line.option("limit");
  auto document = get(with_query(path, {{"limit", limit}}));
  while (document && list(*document, "consumed").empty() && !at(*document, "next").is_null()) {
    auto older = get(with_query(path, {{"limit", limit}, {"cursor", str(*document, "next")}}));
    if (!older) return context_.fail(older.error());
    (*older)["pending"] = at(*document, "pending");
    document = std::move(older);
  }
  if (!document) return context_.fail(document.error());
  context_.out() << (context_.json()
                         ? dumped(*document, 2) + "\n"
                         : journal_text(*document, screen, !line.option("full").empty()));
  return 0;
}

std::vector<std::string> Session::names(Takes takes, const std::string& of,
                                        const std::string& prefix) {
  std::vector<std::string> out;
  const auto collect = [&](const std::string& path, const char* list_key, const char* name_key) {
    if (const auto document = get(path))
      for (const Doc& each : list(*document, list_key)) out.push_back(str(each, name_key));
  };
  const std::string most = std::to_string(kNames);
  if (takes == Takes::actor) {
    const std::size_t slash = prefix.find('/');
    if (slash == std::string::npos)
      for (const char* kind : {"fleet/", "host/", "pull/", "repo/", "run/", "swarm/"})
        out.emplace_back(kind);
    else
      collect(with_query("/v1/actors", {{"kind", prefix.substr(0, slash)},
                                        {"prefix", prefix.substr(slash + 1)},
                                        {"limit", most}}),
              "actors", "id");
  } else if (takes == Takes::fleet) {
    collect("/v1/fleets?limit=" + most, "fleets", "name");
  } else if (takes == Takes::host) {
    collect("/v1/hosts", "hosts", "name");
  } else if (takes == Takes::swarm) {
    collect("/v1/swarms?limit=" + most, "swarms", "name");
  } else if (takes == Takes::kind) {
    collect("/v1/kinds", "kinds", "name");
  } else if (takes == Takes::state) {
    out = {"waiting",
           "queued",
           "provisioning",
           "running",
           "verifying",
           "delivering",
           "delivered",
           "unchanged",
           "skipped",
           "failed",
           "cancelled",
           "superseded",
           "pending",
           "paused",
           "halted",
           "completed",
           "completed_with_failures",
           "ready",
           "cordoned",
           "draining",
           "unreachable",
           "open",
           "merged",
           "closed"};
  } else if (takes == Takes::message || takes == Takes::field) {
    const std::string kind = of.substr(0, of.find('/'));
    const auto kinds = get("/v1/kinds");
    if (!kinds) return out;
    for (const Doc& each : list(*kinds, "kinds")) {
      if (str(each, "name") != kind) continue;
      for (const Doc& message : list(each, "messages")) {
        if (takes == Takes::message)
          out.push_back(str(message, "name"));
        else if (of == kind + "/" + str(message, "name"))
          for (const Doc& field : list(message, "fields")) out.push_back(str(field, "name"));
      }
    }
  }
  return out;
}

}  // namespace muster::cli::console
