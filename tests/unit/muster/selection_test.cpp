#include "tools/muster/selection.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/muster/scratch.hpp"

namespace muster::cli {
namespace {

using Kind = actors::RepositorySource::Kind;

std::string transcript(const Scratch& s, const Selection& selection) {
  std::string out;
  for (const auto& r : selection.repositories) {
    out += r.repository + " " + r.url + " " + r.base_branch;
    for (const auto& [key, value] : r.labels) out += " " + key + "=" + value;
    out += "\n";
  }
  for (const auto& p : selection.problems)
    out += "! " + (p.line == 0 ? p.pointer : p.file + ":" + std::to_string(p.line)) + ": " +
           p.message + "\n";
  out += std::to_string(selection.duplicates) + " twice, " + std::to_string(selection.excluded) +
         " excluded, " + std::to_string(selection.beyond_limit) + " beyond\n";
  return s.anonymous(out);
}

struct Repositories : Scratch {
  Repositories() {
    for (const char* name : {"acme/api.git", "acme/legacy-web.git", "other/tool.git"})
      repository(name);
    git({"-C", (path() / "acme/api.git").string(), "branch", "release-2"});
    git({"init", "-q", "--bare", (path() / "empty/e.git").string()});
    write("acme/not-a-repository/file", "x");
  }
};

TEST_CASE("sources become a snapshot: union, duplicates, excludes, labels, base branches") {
  const Repositories s;
  s.write("repos.txt",
          "# ours\n\n  other/tool.git  # the tool\n" + (s.path() / "acme/api.git").string() + "\n");
  actors::FleetSpec spec;
  spec.repositories = {
      {Kind::path, "acme/*", "", {{"team", "core"}}},
      {Kind::file, "repos.txt", "", {}},
      {Kind::url, "file://" + (s.path() / "acme/api.git/").string(), "release-2", {}}};
  spec.exclude = {"acme/legacy-*"};
  CHECK(transcript(s, resolve_selection(spec, {s.path()})) ==
        "acme/api DIR/acme/api.git main team=core\n"
        "other/tool DIR/other/tool.git main\n"
        "2 twice, 1 excluded, 0 beyond\n");
  SelectionOptions one{s.path()};
  one.limit = 1;
  CHECK(transcript(s, resolve_selection(spec, one)) ==
        "acme/api DIR/acme/api.git main team=core\n2 twice, 1 excluded, 1 beyond\n");
}

TEST_CASE("what can't be read is named by the line that named it") {
  const Repositories s;
  s.write("repos.txt", "acme/api.git\ngone/x.git\nempty/e.git\nhttps://user:secret@host/a/b\n");
  s.write("void.txt", "# nothing\n");
  actors::FleetSpec spec;
  spec.repositories = {
      {Kind::file, "repos.txt", "", {}},   {Kind::path, "nothing/*.git", "", {}},
      {Kind::path, "acme/not-a*", "", {}}, {Kind::file, "absent.txt", "", {}},
      {Kind::file, "void.txt", "", {}},    {Kind::path, "other/tool.git", "release-9", {}}};
  CHECK(
      transcript(s, resolve_selection(spec, {s.path()})) ==
      "acme/api DIR/acme/api.git main\n"
      "! repos.txt:4: a URL must not hold credentials; use the engine's credential helper instead\n"
      "! /repositories/1: nothing matches DIR/nothing/*.git\n"
      "! /repositories/2: nothing that matches DIR/acme/not-a* is a git repository\n"
      "! /repositories/3: can't read the list: no file DIR/absent.txt\n"
      "! /repositories/4: the list DIR/void.txt names no repository\n"
      "! repos.txt:2: gone/x: there is no DIR/gone/x.git\n"
      "! repos.txt:3: empty/e: its HEAD is main, which has no commit (is it empty?)\n"
      "! /repositories/5: other/tool: it has no branch release-9\n"
      "0 twice, 0 excluded, 0 beyond\n");
}

TEST_CASE("a fleet never writes to a base branch") {
  const Repositories s;
  actors::FleetSpec spec;
  spec.repositories = {{Kind::path, "acme/api.git", "", {}},
                       {Kind::path, "other/tool.git", "", {}}};
  spec.delivery.branch = "main";
  CHECK(transcript(s, resolve_selection(spec, {s.path()})) ==
        "! /repositories/0: acme/api: delivery.branch \"main\" is its base branch; choose another\n"
        "! /repositories/1: other/tool: delivery.branch \"main\" is its base branch; choose another\n"
        "0 twice, 0 excluded, 0 beyond\n");
  spec.delivery.mode = actors::fbs::DeliveryMode::none;
  CHECK(resolve_selection(spec, {s.path()}).problems.empty());
}

TEST_CASE("two repositories with one name are refused, an empty selection too") {
  const Repositories s;
  s.repository("copy/acme/api.git");
  actors::FleetSpec spec;
  spec.repositories = {{Kind::path, "acme/api.git", "", {}},
                       {Kind::path, "copy/acme/api.git", "", {}}};
  CHECK(transcript(s, resolve_selection(spec, {s.path()})) ==
        "acme/api DIR/acme/api.git main\n"
        "! /repositories/1: DIR/copy/acme/api.git and DIR/acme/api.git are both named acme/api; "
        "exclude one\n"
        "0 twice, 0 excluded, 0 beyond\n");
  spec.exclude = {"*"};
  CHECK(transcript(s, resolve_selection(spec, {s.path()})) ==
        "! /repositories: selects no repository: all 2 are excluded\n0 twice, 2 excluded, 0 "
        "beyond\n");
}

TEST_CASE("work trees, packed branches and detached heads are understood") {
  const Repositories s;
  const std::string work = (s.path() / "w/tree").string();
  s.git({"clone", "-q", (s.path() / "acme/api.git").string(), work});
  s.git({"-C", work, "pack-refs", "--all"});
  s.git({"-C", work, "worktree", "add", "-q", "-b", "side", (s.path() / "w/linked").string()});
  s.git({"-C", (s.path() / "other/tool.git").string(), "pack-refs", "--all"});
  s.git({"clone", "-q", (s.path() / "acme/api.git").string(), (s.path() / "w/loose").string()});
  s.git({"-C", (s.path() / "w/loose").string(), "checkout", "-q", "--detach"});
  actors::FleetSpec spec;
  spec.repositories = {{Kind::path, "w/*", "", {}}, {Kind::path, "other/tool.git", "main", {}}};
  CHECK(transcript(s, resolve_selection(spec, {s.path()})) ==
        "w/linked DIR/w/linked side\nw/loose DIR/w/loose \nw/tree DIR/w/tree main\nother/tool "
        "DIR/other/tool.git main\n"
        "0 twice, 0 excluded, 0 beyond\n");
}

}  // namespace
}  // namespace muster::cli
