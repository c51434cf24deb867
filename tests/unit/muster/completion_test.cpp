#include "tools/muster/completion.hpp"

#include <catch2/catch.hpp>
#include <sstream>

#include "storage/base/process.hpp"
#include "tests/unit/muster/scratch.hpp"
#include "tools/muster/cli.hpp"

namespace muster::cli {
namespace {

std::string script_of(const std::string& shell) {
  std::ostringstream out, err;
  Io io{{out, {}, false}, {err, {}, false}, wall_clock_now};
  REQUIRE(run_cli({"completion", shell}, io) == 0);
  CHECK(err.str().empty());
  return out.str();
}

std::string complete(const std::string& script, const std::string& words) {
  const std::string test =
      script + "\nCOMP_WORDS=(" + words +
      ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_muster\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n";
  ProcessSpec spec;
  spec.argv = {"bash", "-c", test};
  spec.env = {{"PATH", "/usr/bin:/bin"}};
  const auto done = run_process(spec);
  REQUIRE(done);
  INFO(done->err);
  REQUIRE(done->ok());
  return done->out;
}

TEST_CASE("bash completes commands and options") {
  const std::string script = script_of("bash");
  CHECK(complete(script, "muster fl") == "fleet\n");
  CHECK(complete(script, "muster fleet re") == "report\nresume\nretry\n");
  CHECK(complete(script, "muster fleet run --dry") == "--dry-run\n");
  CHECK(complete(script, "muster --json run lo") == "logs\n");
  CHECK(complete(script, "muster host ''") ==
        "list\nshow\ncordon\nuncordon\ndrain\n--help\n-h\n--json\n--root\n--url\n--ca\n");
}

TEST_CASE("bash completes an option's values and the names that muster tells") {
  // What the script calls is the word that was typed: here a function in muster's place.
  const std::string script =
      script_of("bash") + "\nmuster() { printf '%s\\n' \"$*-one\" | tr ' ' .; }\n";
  CHECK(complete(script, "muster fleet report --format ''") == "table\nmarkdown\ncsv\njson\n");
  CHECK(complete(script, "muster fleet list --state pa") == "paused\n");
  CHECK(complete(script, "muster run list --state de") == "delivering\ndelivered\n");
  CHECK(complete(script, "muster fleet retry f --class ve") == "verification\n");
  CHECK(complete(script, "muster completion z") == "zsh\n");
  CHECK(complete(script, "muster fleet status names") == "names.fleet-one\n");
  CHECK(complete(script, "muster run list --fleet ''") == "names.fleet-one\n");
  CHECK(complete(script, "muster run diff na") == "names.run-one\n");
  CHECK(complete(script, "muster --root /r pr show ''") ==
        "--help\n-h\n--json\n--root\n--url\n--ca\n--root./r.names.pr-one\n");
  CHECK(complete(script, "muster fleet status --w") == "--watch\n");
}

TEST_CASE("the scripts of the shells that are here parse") {
  const Scratch scratch;
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const std::string file = scratch.write(shell, script_of(shell));
    ProcessSpec spec;
    spec.argv = {shell, "-n", file};
    spec.env = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}};
    const auto done = run_process(spec);
    if (!done && done.error().code == Errc::not_found && shell != "bash") {
      WARN(shell << " is not installed: its script was not parsed");
      continue;
    }
    REQUIRE(done);
    INFO(done->err);
    CHECK(done->exit_code == 0);
  }
}

}  // namespace
}  // namespace muster::cli
