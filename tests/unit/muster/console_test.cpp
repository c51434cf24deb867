// The console's pure parts: what a line means, what TAB offers, how documents look.
#include <catch2/catch.hpp>

#include "tools/muster/console/complete.hpp"
#include "tools/muster/console/form.hpp"
#include "tools/muster/console/render.hpp"
#include "tools/muster/console/session.hpp"
#include "tools/muster/console/top_view.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli::console {
namespace {

std::string said(const std::string& text) {
  const auto line = parse_line(text);
  if (!line) return line.error().message;
  if (line->command == nullptr) return "nothing";
  std::string out = line->command->name;
  for (const std::string& word : line->words) out += "|" + word;
  for (const auto& [name, value] : line->options) out += "|" + name + "=" + value;
  return out;
}

std::string offered(const std::string& before) {
  const auto completion = complete(before, [](Takes takes, const std::string&, const std::string&) {
    using List = std::vector<std::string>;
    if (takes == Takes::actor) return List{"run/", "fleet/", "fleet/bump"};
    if (takes == Takes::kind) return List{"run", "repo", "fleet"};
    return List{};
  });
  std::string out = std::to_string(completion.begin) + ":";
  for (const std::string& each : completion.candidates) out += " " + each;
  return out;
}

Screen screen() {
  return {{}, *parse_rfc3339("2026-11-22T12:00:00Z")};
}

}  // namespace

TEST_CASE("a line is a command, words and pairs, quoted as in a shell") {
  CHECK(said("actors kind=run state=failed") == "actors|kind=run|state=failed");
  CHECK(said("  show   'run/A B'  # who") == "show|run/A B");
  CHECK(said("dead actor=\"repo/acme/\\\"x\"") == "dead|actor=repo/acme/\"x");
  CHECK(said("steer docs 'be brief' facet=tour") == "steer|docs|be brief|facet=tour");
  CHECK(said("ledger") == "SWARM is missing: ledger SWARM");
  CHECK(said("") == "nothing");
  CHECK(said("# only words") == "nothing");
}

TEST_CASE("a mistake says what was meant") {
  CHECK(said("actor") == "there is no command 'actor'; did you mean 'actors'?");
  CHECK(said("xyzzy") == "there is no command 'xyzzy'; `help` lists them");
  CHECK(said("actors kin=run") == "actors takes no kin=; did you mean kind=?");
  CHECK(said("rows") == "ACTOR is missing: rows ACTOR [prefix=PREFIX] [limit=N]");
  CHECK(said("rows a/b c") == "'c' is too much: rows ACTOR [prefix=PREFIX] [limit=N]");
  CHECK(said("actors kind=a kind=b") == "kind= is said twice");
  CHECK(said("show 'run") == "the quote ' is not closed");
  CHECK(actor_path("run").error().message.find("names no actor") != std::string::npos);
  CHECK(*actor_path("repo/acme/api") == "/v1/actors/repo/acme%2Fapi");
}

TEST_CASE("TAB offers commands, names, and pairs not said yet") {
  CHECK(offered("jo") == "0: journal");
  CHECK(offered("show f") == "5: fleet/ fleet/bump");
  CHECK(offered("actors kind=r") == "12: repo run");
  CHECK(offered("actors kind=run f") == "16: fleet=");
  CHECK(offered("actors kind=run k") == "16:");
  CHECK(offered("help mess") == "5: message");
  CHECK(offered("nothing a") == "8:");
}

TEST_CASE(
    "fields are told one a line, times and sizes as such, and nothing hostile reaches the "
    "terminal") {
  const Doc state = {{"fleet", "bump\x1b[31m"},
                     {"state", "running"},
                     {"queued_unix_ms", 1795348740000},
                     {"timeout_ms", 90000},
                     {"memory_bytes", 2147483648},
                     {"empty", ""},
                     {"policy", {{"retry_on", {"agent", "delivery"}}, {"none", 0}}},
                     {"used", {{{"run", "A"}}, {{"run", "B"}}}}};
  CHECK(fields_text(state, screen(), 1, false) ==
        " fleet    bump\\x1b[31m\n"
        " state    running\n"
        " queued   2026-11-22T11:59:00.000Z (1m00s ago)\n"
        " timeout  1m30s\n"
        " memory   2.0 GiB\n"
        " policy\n"
        "   retry_on  agent, delivery\n"
        " used[0]\n"
        "   run  A\n"
        " used[1]\n"
        "   run  B\n");
  CHECK(fields_line(state) ==
        "fleet=bump\\x1b[31m state=running queued=2026-11-22T11:59:00.000Z timeout=1m30s "
        "memory=2.0 GiB policy={retry_on=agent, delivery} used=[2]");
  CHECK(fields_text(Doc::object(), screen(), 0, false) == "{}\n");
}

TEST_CASE(
    "a list puts the deepest mailbox first; documents of any shape are shown without a fall") {
  const Doc actors = {{"actors",
                       {{{"id", "run/A"},
                         {"state", "queued"},
                         {"fleet", "bump"},
                         {"created_at", "2026-11-22T11:00:00Z"},
                         {"decisions", 3},
                         {"pending", 0},
                         {"timers", 1},
                         {"in_memory", true}},
                        {{"id", "run/B"},
                         {"state", ""},
                         {"fleet", ""},
                         {"created_at", nullptr},
                         {"decisions", 12},
                         {"pending", 2000},
                         {"oldest_ms", 1500},
                         {"timers", 0},
                         {"in_memory", false}}}},
                      {"next", nullptr}};
  CHECK(actors_text(actors, screen()) ==
        "ACTOR  STATE   FLEET    AGE  STEPS  PENDING  OLDEST  TIMERS  MEMORY\n"
        "run/B  -                  -     12    2,000    1.5s       0  no\n"
        "run/A  queued  bump   1h00m      3        0       -       1  yes\n");
  for (const Doc& odd :
       {Doc(), Doc(7), Doc::array({1}), Doc{{"actors", 3}, {"next", 1}}, Doc{{"state", {1, 2}}}}) {
    CHECK(!actors_text(odd, screen()).empty());
    CHECK(!actor_text(odd, screen(), true).empty());
    CHECK(!journal_text(odd, screen(), true).empty());
    CHECK(!message_text(odd, screen()).empty());
    CHECK(!engine_text(odd, screen()).empty());
    CHECK(!queue_text(odd, screen()).empty());
    CHECK(!dead_text(odd, screen()).empty());
    CHECK(!kinds_text(odd, "run", screen()).empty());
  }
}

TEST_CASE("an order tells to how many it would be done, and what failed") {
  CHECK(said("cancel kind=run state=queued reason='not now'") ==
        "cancel|kind=run|reason=not now|state=queued");
  CHECK(said("cordon host/a host/b confirm=yes") == "cordon|host/a|host/b|confirm=yes");
  const auto line = parse_line("send run/A CancelRun by=ann field.reason=x reason=repair");
  REQUIRE(line);
  CHECK(line->fields ==
        std::vector<std::pair<std::string, std::string>>{{"by", "ann"}, {"field.reason", "x"}});
  CHECK(field_value({{"type", "string"}}, "12") == "12");
  CHECK(field_value({{"type", "uint"}}, "12") == 12);
  CHECK(field_value({{"type", "FailureClass"}, {"values", {"agent"}}}, "agent") == "agent");
  CHECK(operation_text({{"action", "cancel"},
                        {"dry_run", true},
                        {"matched", 3},
                        {"possible", 3},
                        {"done", 0},
                        {"targets", {"run/A", "run/B"}},
                        {"failed", 0},
                        {"failures", Doc::array()}},
                       screen()) == "would cancel 3: run/A, run/B, …\n");
  CHECK(operation_text({{"action", "cordon"},
                        {"dry_run", false},
                        {"matched", 2},
                        {"possible", 1},
                        {"done", 1},
                        {"failed", 1},
                        {"failures", {{{"target", "run/A"}, {"message", "no\x1b[1m"}}}}},
                       screen()) == "cordon: 1 of 2 done\n  run/A: no\\x1b[1m\n");
}

TEST_CASE("a form asks until a value fits, and for a table field by field") {
  const Doc epoch = {{{"name", "session"}, {"type", "ulong"}, {"required", false}},
                     {{"name", "attempt"}, {"type", "uint"}, {"required", false}}};
  const Doc fields = {
      {{"name", "host"}, {"type", "string"}, {"required", true}},
      {{"name", "attempt"}, {"type", "uint"}, {"required", false}},
      {{"name", "class"}, {"type", "FailureClass"}, {"values", {"none", "agent"}}},
      {{"name", "epoch"}, {"type", "Epoch"}, {"fields", epoch}},
      {{"name", "then"}, {"type", "Epoch"}, {"fields", epoch}},
      {{"name", "tags"}, {"type", "[string]"}, {"required", false}},
      {{"name", "dry"}, {"type", "bool"}, {"required", false}}};
  std::string asked;
  const auto fill = [&](std::vector<std::string> typed) {
    asked.clear();
    return ask_fields(fields, [&, next = 0u](const std::string& question) mutable {
      asked += question + "\n";
      return next < typed.size() ? std::optional(typed[next++]) : std::nullopt;
    });
  };
  const auto made = fill({"", "local", "-1", "2", "agents", "agent", "", "x", "", "7",
                          R"({"attempt": 1})", "a", R"(["a"])", "yes", ""});
  REQUIRE(made);
  CHECK(made->dump() ==
        R"({"host":"local","attempt":2,"class":"agent","epoch":{"attempt":7},"then":{"attempt":1},"tags":["a"]})");
  CHECK(asked ==
        "  host (string, required): \n"
        "  host (string, required; it can't be left out): \n"
        "  attempt (uint): \n"
        "  attempt (uint; '-1' is no whole number from 0): \n"
        "  class (none|agent): \n"
        "  class (none|agent; 'agents' is none of none, agent): \n"
        "  epoch (Epoch: JSON, or Enter for its fields): \n"
        "  epoch.session (ulong): \n"
        "  epoch.session (ulong; 'x' is no whole number from 0): \n"
        "  epoch.attempt (uint): \n"
        "  then (Epoch: JSON, or Enter for its fields): \n"
        "  tags ([string]): \n"
        "  tags ([string]; 'a' is no list in JSON): \n"
        "  dry (bool): \n"
        "  dry (bool; it is true or false): \n");
  CHECK_FALSE(fill({"local", "2"}));  // Left in the middle: nothing of it counts.
  CHECK(field_problem({{"name", "x"}, {"type", "int"}}, "-3").empty());
  CHECK(field_problem({{"name", "x"}, {"type", "double"}}, "1.5").empty());
  CHECK(field_problem({{"name", "x"}, {"type", "string"}}, "\"").empty());
}

TEST_CASE("an actor says what it waits for in words that can be read") {
  const auto waits = [](const char* why, const char* state = "queued") {
    const std::string text = actor_text(
        {{"id", "run/A"}, {"waits_for", why}, {"state", {{"state", state}}}}, screen(), false);
    const std::size_t begin = text.find("  waits");
    return begin == std::string::npos ? "" : text.substr(begin, text.find('\n', begin) - begin);
  };
  CHECK(waits("") == "");
  CHECK(waits("wave") == "  waits      for its wave to open");
  CHECK(waits("an operator: it is paused") == "  waits      for an operator: it is paused");
  CHECK(waits("its fleet is paused, halted or cancelled") ==
        "  waits      because its fleet is paused, halted or cancelled");
  CHECK(waits("its runs: 2 running", "running") == "  waits      for its runs: 2 running");
  CHECK(waits("every host\x1b is full") == "  waits      because every host\\x1b is full");
}

TEST_CASE("an actor tells its commits, its host and epoch, and where its activation stands") {
  const Doc run = {
      {"id", "run/A"},
      {"decisions", 1200},
      {"consumed", {{"normal", 57}, {"operator", 61}}},
      {"incarnation", 4},
      {"placement",
       {{"host", "h1\x1b"}, {"epoch", {{"generation", 2}, {"session", 7}, {"attempt", 3}}}}},
      {"activation", {{"state", "idle"}, {"pending", {{"normal", 0}, {"operator", 1}}}}},
      {"version", 1},
      {"version_now", 2},
      {"state", {{"state", "running"}}}};
  CHECK(actor_text(run, screen(), false) ==
        "run/A  running\n"
        "  mailbox    idle, 0 waiting, 1 in the operator lane\n"
        "  journal    1,200 steps committed, the last consumed #61, made by #4\n"
        "  host       h1\\x1b, epoch 2.7.3\n"
        "  kind       version 1 (this program's is 2), shard 0\n"
        "\nState\n"
        "  state  running\n");
}

TEST_CASE("care of the installation is told before and after") {
  CHECK(said("limit fleet=bump concurrency=5 weight=2") ==
        "limit|concurrency=5|fleet=bump|weight=2");
  CHECK(said("backup") ==
        "DIRECTORY is missing: backup DIRECTORY [reason=REASON] [confirm=CONFIRM]");
  CHECK(care_text({{"dry_run", true}, {"changes", {"running in all: 5, was 10"}}}, screen()) ==
        "would set running in all: 5, was 10\n");
  CHECK(care_text({{"dry_run", false}, {"changes", Doc::array()}}, screen()) ==
        "nothing changes\n");
  CHECK(care_text({{"dry_run", false}, {"level", "debug"}}, screen()) == "logs debug and worse\n");
  CHECK(care_text({{"dry_run", true}, {"directory", "/b"}, {"backups_there", 2}}, screen()) ==
        "would make a backup in /b, where 2 backups lie\n");
  CHECK(care_text({{"dry_run", false}, {"bytes", 1024}, {"bytes_before", 4096}}, screen()) ==
        "compacted: 1.0 KiB in files, before 4.0 KiB and what was in memory\n");
  CHECK(limits_text({{"running_total", 10000},
                     {"fleets", {{{"fleet", "bump"}, {"concurrency", nullptr}, {"weight", 3}}}}},
                    screen()) ==
        "running in all  at most 10,000\n"
        "FLEET  CONCURRENCY  WEIGHT\n"
        "bump    its file's       3\n");
  CHECK(slow_text(Doc::object(), screen()) == "no step took more than 10 ms\n");
  CHECK(verified_text({{"sound", false}, {"findings", {"entry 3 does not fit its hash"}}},
                      screen()) == "NOT SOUND\n  entry 3 does not fit its hash\n");
  CHECK(host_text({{"name", "local"},
                   {"state", "ready"},
                   {"slots", 2},
                   {"used", 1},
                   {"warm", 1},
                   {"lease",
                    {{"connected", true}, {"session", 3}, {"holds", true}, {"ends_in_ms", 24000}}},
                   {"sandboxes", {{{"id", "RUN-1"}, {"fleet", "bump"}, {"held_ms", 5000}}}},
                   {"warm_repositories", {"/srv/api"}}},
                  screen())
            .find("  lease      connected, session 3, ends in 24.0s without a heartbeat\n"
                  "  slots      1 of 2 taken\n") != std::string::npos);
  CHECK(host_text({{"name", "local"},
                   {"state", "ready"},
                   {"warm_pool", {{"max", 8}, {"waiting", 2}, {"making", 1}, {"hits", 31}, {"misses", 9}}},
                   {"warm_lines",
                    {{{"url", "/srv/api\x1b"}, {"branch", "main"}, {"image", "host"}, {"waiting", 2}, {"wanted", 3},
                      {"hits", 31}, {"misses", 9}}}}},
                  screen()) ==
        "local  ready\n"
        "  lease      not heard of since musterd started\n"
        "  slots      0 of 0 taken\n"
        "  warm pool  2 of 8 wait, 1 is being made; 31 of 40 attempts got one\n"
        "\nWarm pool\n"
        "REPOSITORY    BRANCH  IMAGE  WAIT  WANTED  HITS  MISSES\n"
        "/srv/api\\x1b  main    host      2       3    31       9\n");
  for (const Doc& odd : {Doc(), Doc(7), Doc{{"changes", 3}}, Doc{{"fleets", {1, 2}}}}) {
    CHECK(!care_text(odd, screen()).empty());
    CHECK(!limits_text(odd, screen()).empty());
    CHECK(!host_text(odd, screen()).empty());
    CHECK(!slow_text(odd, screen()).empty());
    CHECK(!verified_text(odd, screen()).empty());
  }
}

TEST_CASE("a journal tells each message with what came of it") {
  const Doc journal = {
      {"pending", Doc::array()},
      {"consumed",
       {{{"sequence", 12},
         {"at", "2026-11-22T11:59:59.000Z"},
         {"type", "Placed"},
         {"from", "host/local"},
         {"waited_ms", 4},
         {"lane", "normal"},
         {"dead", false},
         {"message", {{"host", "local"}, {"attempt", 1}}},
         {"sent", {{{"to", "fleet/bump"}, {"type", "RunStatus"}, {"sequence", 13}}}},
         {"effects", {"start/A-1"}}},
        {{"sequence", 9},
         {"at", "2026-11-22T11:59:58.000Z"},
         {"type", "Proceed"},
         {"lane", "operator"},
         {"dead", true},
         {"message", nullptr}},
        {{"sequence", 8},
         {"at", "2026-11-22T11:59:57.000Z"},
         {"type", "RepoGranted"},
         {"from", "repo/acme/api"},
         {"message", Doc::object()}}}},
      {"from_the_beginning", true},
      {"next", nullptr}};
  CHECK(journal_text(journal, screen(), false) ==
        "#12  2026-11-22T11:59:59.000Z  Placed  from host/local, waited 4ms\n"
        "    host=local attempt=1\n"
        "    → RunStatus to fleet/bump #13\n"
        "    ⇒ effect start/A-1\n"
        "#9  2026-11-22T11:59:58.000Z  Proceed  (the message is no longer kept), operator lane  "
        "DEAD LETTER\n"
        "#8  2026-11-22T11:59:57.000Z  RepoGranted  from repo/acme/api, waited 0ms\n"
        "this is where the actor was made\n");
}

TEST_CASE("top fits its screen, tells rates, and says when musterd is away") {
  TopData before, now;
  before.now = *parse_rfc3339("2026-11-22T12:00:00Z");
  before.engine = {{"commits", {{"commits", 100}, {"decisions", 1000}, {"bytes", 0}}}};
  now.now = *parse_rfc3339("2026-11-22T12:00:02Z");
  now.where = "here";
  now.engine = {{"commits",
                 {{"commits", 140},
                  {"decisions", 3000},
                  {"bytes", 4096},
                  {"took_us", {{"p50", 900}, {"p99", 12000}}},
                  {"batch", {{"p50", 4}, {"max", 64}}}}},
                {"actors", {{"in_memory", 12}, {"busy", 2}, {"pending", 7}, {"oldest_ms", 1500}}},
                {"dead_letters", 1}};
  now.fleets = {
      {"fleets",
       {{{"name", "done"}, {"state", "completed"}, {"total", 2}, {"counts", {{"delivered", 2}}}},
        {{"name", "bump"},
         {"state", "running"},
         {"total", 4},
         {"counts", {{"queued", 2}, {"running", 1}, {"failed", 1}}}}}}};
  now.running = {{"fleets", Doc::array({now.fleets.at("fleets").at(1)})}};  // On the other page too: shown once.
  now.queue = {{"next", nullptr},
               {"queue",
                {{{"run", "A"}, {"why", "every slot is taken"}},
                 {{"run", "B"}, {"why", "every slot is taken"}}}}};
  const auto rates = rates_between(before, now);
  CHECK(rates.steps == 1000.0);
  CHECK(rates.commits == 20.0);
  const auto text = [&](std::size_t rows, std::size_t columns, TopPanel panel) {
    std::string out;
    for (const TopLine& line : top_lines(now, rates, panel, false, rows, columns))
      out += line.text + "\n";
    return out;
  };
  CHECK(text(24, 100, TopPanel::overview) ==
        "muster top  2026-11-22T12:00:02.000Z  here\n"
        "steps 1,000/s  commits 20/s  written 2.0 KiB/s  batch p50 4 max 64  sync p50 900us p99 "
        "12ms\n"
        "actors 12 in memory, 2 busy  messages 7 waiting, oldest 1.5s  dead letters 1\n"
        "\nFleets\n"
        "  FLEET  STATE      ENDED  TOTAL  QUEUED  RUNNING  FAILED\n"
        "  bump   running        1      4       2        1       1\n"
        "  done   completed      2      2       0        0       0\n"
        "\nHosts\n  no hosts\n"
        "\nQueue\n"
        "  RUNS  WAIT BECAUSE\n"
        "     2  every slot is taken\n"
        "\nDeepest mailboxes\n  every mailbox is empty\n"
        "\n\n\n\n\n"
        "1 overview  2 mailboxes  3 queue  4 dead letters  space freeze  q quit\n");
  // What is in trouble stands first, and what was cut off says so.
  now.hosts = {{"hosts",
                {{{"name", "a"}, {"state", "ready"}, {"used", 1}, {"slots", 4}},
                 {{"name", "b"}, {"state", "unreachable"}, {"used", 0}, {"slots", 4}}}}};
  now.queue["next"] = "more";
  const std::string crowded = text(40, 100, TopPanel::overview);
  CHECK(crowded.find("  b     unreachable     0      4\n  a     ready           1      4\n") !=
        std::string::npos);
  CHECK(crowded.find("\nQueue, the first of it\n") != std::string::npos);
  for (const std::size_t rows : {1u, 2u, 5u, 9u, 40u}) {
    const auto lines = top_lines(now, rates, TopPanel::overview, true, rows, 20);
    CHECK(lines.size() == rows);
    for (const TopLine& line : lines) CHECK(columns(line.text) <= 20);
  }
  now.problem = "musterd can't be reached";
  CHECK(text(24, 100, TopPanel::dead).find("\nmusterd can't be reached\n") != std::string::npos);
}

}  // namespace muster::cli::console
