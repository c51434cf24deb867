#include "tools/muster/console/grammar.hpp"

#include <algorithm>

namespace muster::cli::console {
namespace {

const Word kActor{"ACTOR", Takes::actor};
const Word kSwarm{"SWARM", Takes::swarm};
const Word kSequence{"SEQUENCE", Takes::sequence};
const Word kLimit{"limit", Takes::number, false};
const Word kShard{"shard", Takes::number, false};

/// Which actors are meant.
std::vector<Word> selection(std::vector<Word> more) {
  std::vector<Word> words{
      {"kind", Takes::kind, false},           {"prefix", Takes::text, false},
      {"fleet", Takes::fleet, false},         {"state", Takes::state, false},
      {"older_than", Takes::duration, false}, {"younger_than", Takes::duration, false},
      {"min_pending", Takes::number, false}};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// Something done to actors by name, or to all that a selection means.
Command order(std::string name, std::string summary, std::string more,
              std::vector<Word> options = {}) {
  options.push_back({"reason", Takes::text, false});
  options.push_back({"confirm", Takes::text, false});
  return {
      std::move(name),
      std::move(summary),
      {{"ACTOR", Takes::actor, false, true}},
      selection(std::move(options)),
      false,
      "Which: actors by name, or all that the filters mean. First it says to how many it would do\n"
      "what; the prompt then asks, a script says confirm=yes. A reason is asked for, or "
      "reason=\"…\"." +
          std::move(more)};
}

Command letters(std::string name, std::string summary) {
  return {std::move(name),
          std::move(summary),
          {{"LETTER", Takes::text, false, true}},
          {{"kind", Takes::kind, false},
           {"actor", Takes::actor, false},
           {"reason", Takes::text, false},
           {"confirm", Takes::text, false}},
          false,
          "Which: by the ids that `dead` shows (0-17), or all open ones that the filters mean."};
}

/// What concerns the installation.
Command care(std::string name, std::string summary, std::vector<Word> words,
             std::vector<Word> options, std::string more) {
  options.push_back({"reason", Takes::text, false});
  options.push_back({"confirm", Takes::text, false});
  return {std::move(name), std::move(summary), std::move(words), std::move(options),
          false,           std::move(more)};
}

std::vector<Command> make_commands() {
  return {
      {"actors",
       "List actors",
       {},
       selection({kLimit}),
       false,
       "A list comes in the order of slots, which is stable but means nothing to a person; with\n"
       "min_pending=N, the deepest mailbox comes first. Ages: 90s, 20m, 24h, 7d."},
      {"show",
       "Everything about an actor, or about all that the filters mean",
       {{"ACTOR", Takes::actor, false, true}},
       selection({kLimit, {"all", Takes::text, false}}),
       false,
       "Its state decoded, mailbox, timers, outstanding effects, last error. all=yes also shows "
       "the\n"
       "fields that are empty. A run is found by the first characters of its id: show run/ER8S\n"
       "Filters, as of `actors`, show the first 20, or limit=N: show kind=run state=failed"},
      {"rows",
       "The rows that an actor keeps beside its state",
       {kActor},
       {{"prefix", Takes::text, false}, kLimit},
       false,
       ""},
      {"journal",
       "What an actor consumed and what waits, every message decoded",
       {kActor},
       {kLimit, {"full", Takes::text, false}},
       false,
       "The newest first. full=yes shows the messages whole, limit=N how many (20)."},
      {"message", "One message, and what came of it", {kSequence}, {kShard}, false, ""},
      {"tree",
       "What a message led to: messages, effects' results, timers, hosts' events",
       {kSequence},
       {kShard, kLimit},
       false,
       "Across actors, the scheduler and hosts. Start with the message that `journal fleet/NAME` "
       "shows\n"
       "as its first, or with any later one."},
      {"state",
       "An actor's state as it was after a message, made again from the journal",
       {kActor, kSequence},
       {{"all", Takes::text, false}},
       false,
       "As far back as messages are kept."},
      {"follow",
       "Steps of an actor, a fleet, a host or of all, as they are committed, until Ctrl-C",
       {{"ACTOR", Takes::actor, false}},
       {{"kind", Takes::kind, false},
        {"prefix", Takes::text, false},
        {"fleet", Takes::fleet, false},
        {"host", Takes::host, false},
        {"state", Takes::state, false},
        {"dead", Takes::text, false},
        {"for", Takes::duration, false}},
       false,
       "fleet=NAME: the fleet and its runs; host=NAME: the host and the runs on it; dead=yes: "
       "only\n"
       "what became a dead letter; for=10s ends by itself. What is too much to show is counted."},
      {"hot",
       "The actors that stepped most among the newest steps",
       {},
       {{"kind", Takes::kind, false},
        {"prefix", Takes::text, false},
        {"fleet", Takes::fleet, false},
        {"host", Takes::host, false},
        kLimit},
       false,
       ""},
      {"engine", "Commits, batch sizes, latencies, mailboxes, dead letters", {}, {}, false, ""},
      {"queue",
       "Runs that wait for a host, and why",
       {},
       {{"fleet", Takes::fleet, false}, kLimit},
       false,
       ""},
      {"hosts",
       "Hosts and their slots",
       {},
       {{"state", Takes::state, false}, kLimit},
       false,
       ""},
      {"host",
       "One host: its lease, its sandboxes, the repositories it has mirrors of",
       {{"HOST", Takes::host}},
       {},
       false,
       ""},
      {"swarms", "Swarms: their states and counts", {}, {}, false, ""},
      {"swarm", "One swarm as a tree: repositories, facets, what each does", {kSwarm}, {}, false, ""},
      {"facet",
       "One facet of a swarm: what was asked, what became of it, the whole of its last trouble",
       {kSwarm, {"FACET", Takes::text}},
       {},
       false,
       ""},
      {"ledger",
       "What became of every commit of a swarm, proven from git and the journal",
       {kSwarm},
       {},
       false,
       "With exit code 1 where it can't be."},
      {"steer",
       "Tell a swarm's agents something: those at work, and those that begin later",
       {kSwarm, {"TEXT", Takes::text}},
       {{"facet", Takes::text, false}, {"confirm", Takes::text, false}},
       false,
       "facet=NAME: only the agents of that one. The text stands in the audit log."},
      {"slow", "The slowest steps of late, of those that took more than 10 ms", {}, {}, false, ""},
      {"limits", "What operators set over what fleets ask for", {}, {}, false, ""},
      {"dead",
       "Dead letters: messages that could not be handled; state=replayed, discarded or all",
       {},
       {{"kind", Takes::kind, false},
        {"actor", Takes::actor, false},
        {"state", Takes::text, false},
        kLimit},
       false,
       ""},
      order("pause",
            "Fleets and swarms start nothing new; other actors take only operators' messages", ""),
      order("resume", "Go on after a pause; fleets also after a halt", ""),
      order("passivate", "Put idle actors out of memory; their next message loads them anew", ""),
      order("cancel", "End runs, or every run of fleets and swarms", ""),
      order("retry", "Run what failed in fleets again, and what swarms rejected", ""),
      order(
          "release", "Take runs off their hosts and queue them again",
          "\nIt begins on another host, if one has room; `move` makes sure of that."),
      order("move", "Take runs off their hosts; they begin again on others",
            "\nto=HOST: on that one, as long as it takes runs; more than it has room for are refused.",
            {{"to", Takes::host, false}}),
      order("cordon", "Place nothing new on hosts", ""),
      order("uncordon", "Place runs on hosts again", ""),
      order("drain",
            "Place nothing new on hosts and let their runs end; swarms integrate what works, and end",
            ""),
      letters("replay", "Send dead letters again, as new messages of the same senders"),
      letters("discard", "Close dead letters without doing anything"),
      {"send",
       "Send one typed message to an actor",
       {kActor, {"MESSAGE", Takes::message}},
       {{"reason", Takes::text, false}, {"confirm", Takes::text, false}},
       true,
       "At the prompt, a message without fields is asked for field by field, and each is checked as "
       "it\n"
       "is typed, by the schema of its kind (`kinds KIND`). A field called reason or confirm is said as "
       "field.reason=."},
      care("limit",
           "Change how many runs there are at once, in all or of a fleet, and a fleet's weight", {},
           {{"total", Takes::number, false},
            {"fleet", Takes::fleet, false},
            {"concurrency", Takes::number, false},
            {"weight", Takes::number, false},
            {"clear", Takes::text, false}},
           "total=N of all fleets; or fleet=NAME with concurrency=N, weight=N (against 1 of "
           "others), or\n"
           "clear=yes: as its file says again. What runs already goes on."),
      care("log-level", "Say more or less in musterd's log, until its next start",
           {{"LEVEL", Takes::text}}, {}, "debug, info, warn or error."),
      care("backup", "Make a backup on musterd's machine while everything goes on",
           {{"DIRECTORY", Takes::text}}, {}, "A directory that has one gets only what is new."),
      care("compact", "Rewrite the journal's files without what was deleted or replaced", {}, {},
           "While everything goes on; it takes as long as it takes."),
      {"verify", "Check every hash and signature of the audit log", {}, {}, false, ""},
      {"top",
       "The whole installation on one screen, live",
       {},
       {},
       false,
       "1 overview, 2 mailboxes, 3 queue, 4 dead letters, space freezes, q leaves."},
      {"kinds",
       "Kinds of actors, and the messages of one",
       {{"KIND", Takes::kind, false}},
       {},
       false,
       ""},
      {"help", "This list, or one command", {{"COMMAND", Takes::command, false}}, {}, false, ""},
      {"quit", "Leave (also Ctrl-D)", {}, {}, false, ""},
  };
}

/// The distance that makes "did you mean" worth saying.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, changed}));
    }
  }
  return row[b.size()];
}

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  std::size_t least = 3;
  for (const std::string& each : known)
    if (const std::size_t d = distance(word, each); d < least) {
      least = d;
      best = each;
    }
  return best;
}

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

std::string_view value_name(Takes takes) {
  switch (takes) {
    case Takes::actor:
      return "ACTOR";
    case Takes::kind:
      return "KIND";
    case Takes::fleet:
      return "FLEET";
    case Takes::host:
      return "HOST";
    case Takes::swarm:
      return "SWARM";
    case Takes::state:
      return "STATE";
    case Takes::duration:
      return "AGE";
    case Takes::sequence:
    case Takes::number:
      return "N";
    case Takes::message:
      return "MESSAGE";
    case Takes::text:
    case Takes::field:
    case Takes::command:
      return "TEXT";
  }
  return "TEXT";
}

Result<void> take_pair(Line& line, const std::string& name, const std::string& value) {
  const Command& command = *line.command;
  const auto known = std::find_if(command.options.begin(), command.options.end(),
                                  [&](const Word& option) { return option.name == name; });
  if (known == command.options.end() && command.fields) {
    line.fields.emplace_back(name, value);
    return {};
  }
  if (known == command.options.end()) {
    std::vector<std::string> names;
    for (const Word& option : command.options) names.push_back(option.name);
    const std::string near = nearest(name, names);
    return fail(Errc::invalid, command.name + " takes no " + name + "=" +
                                   (near.empty() ? "" : "; did you mean " + near + "=?"));
  }
  if (!line.options.emplace(name, value).second)
    return fail(Errc::invalid, name + "= is said twice");
  return {};
}

Result<void> check_words(const Line& line) {
  const Command& command = *line.command;
  const bool many = !command.words.empty() && command.words.back().many;
  if (line.words.size() > command.words.size() && !many)
    return fail(Errc::invalid,
                "'" + line.words[command.words.size()] + "' is too much: " + usage(command));
  for (std::size_t n = line.words.size(); n < command.words.size(); ++n)
    if (command.words[n].required)
      return fail(Errc::invalid, command.words[n].name + " is missing: " + usage(command));
  for (const Word& option : command.options)
    if (option.required && !line.options.contains(option.name))
      return fail(Errc::invalid, option.name + "= is missing: " + usage(command));
  return {};
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> kCommands = make_commands();
  return kCommands;
}

const Command* find_command(std::string_view name) {
  for (const Command& command : commands())
    if (command.name == name) return &command;
  return nullptr;
}

Result<std::vector<std::string>> split_line(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  bool begun = false;
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '\\' && quote != '\'' && i + 1 < line.size()) {
      word += line[++i];
      begun = true;
    } else if (quote != 0) {
      if (c == quote)
        quote = 0;
      else
        word += c;
    } else if (c == '\'' || c == '"') {
      quote = c;
      begun = true;
    } else if (c == ' ' || c == '\t') {
      if (begun) words.push_back(std::exchange(word, ""));
      begun = false;
    } else if (c == '#' && !begun) {
      break;
    } else {
      word += c;
      begun = true;
    }
  }
  if (quote != 0) return fail(Errc::invalid, std::string("the quote ") + quote + " is not closed");
  if (begun) words.push_back(std::move(word));
  return words;
}

Result<Line> parse_line(std::string_view text) {
  auto words = split_line(text);
  if (!words) return tl::unexpected<Error>(words.error());
  Line line;
  if (words->empty()) return line;
  line.command = find_command(words->front());
  if (line.command == nullptr) {
    std::vector<std::string> names;
    for (const Command& command : commands()) names.push_back(command.name);
    const std::string near = nearest(words->front(), names);
    return fail(Errc::invalid,
                "there is no command '" + words->front() + "'" +
                    (near.empty() ? "; `help` lists them" : "; did you mean '" + near + "'?"));
  }
  for (std::size_t n = 1; n < words->size(); ++n) {
    const std::string& word = (*words)[n];
    const std::size_t equals = word.find('=');
    const bool pair = equals != std::string::npos && equals > 0 &&
                      word.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.") == equals;
    if (!pair) {
      line.words.push_back(word);
    } else if (auto taken = take_pair(line, word.substr(0, equals), word.substr(equals + 1));
               !taken) {
      return tl::unexpected<Error>(taken.error());
    }
  }
  if (auto ok = check_words(line); !ok) return tl::unexpected<Error>(ok.error());
  return line;
}

std::string usage(const Command& command) {
  std::string text = command.name;
  for (const Word& word : command.words)
    text += word.required ? " " + word.name + (word.many ? "…" : "")
                          : " [" + word.name + (word.many ? "…" : "") + "]";
  if (command.fields) text += " [FIELD=VALUE…]";
  for (const Word& option : command.options) {
    const std::string pair =
        option.name + "=" +
        (option.takes == Takes::text ? upper(option.name) : std::string(value_name(option.takes)));
    text += option.required ? " " + pair : " [" + pair + "]";
  }
  return text;
}

std::string help_text(const std::vector<std::string>& words) {
  if (!words.empty()) {
    const Command* command = find_command(words.front());
    if (command == nullptr) return "there is no command '" + words.front() + "'\n";
    return usage(*command) + "\n  " + command->summary + ".\n" +
           (command->more.empty() ? "" : command->more + "\n");
  }
  std::size_t widest = 0;
  for (const Command& command : commands()) widest = std::max(widest, command.name.size());
  std::string text;
  for (const Command& command : commands())
    text += "  " + command.name + std::string(widest + 2 - command.name.size(), ' ') +
            command.summary + "\n";
  return text +
         "An ACTOR is KIND/KEY: run/ER8SXG, fleet/libgreet-2, host/local, repo/acme/api, "
         "pull/acme/api#1, swarm/better-docs.\n"
         "`help COMMAND` says more; TAB completes commands, names and values.\n";
}

}  // namespace muster::cli::console
