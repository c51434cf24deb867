// Merges of facets into a line: commits, bases, drivers, conflicts, hand-over.
#include "actors/swarm/merge.hpp"

#include "actors/ports/git_local.hpp"
#include "actors/ports/git_names.hpp"
#include "actors/swarm/known_lines.hpp"
#include "import.hpp"

using namespace muster;
using namespace muster::actors::swarm;
using namespace muster::actors::swarm::test;

namespace {

const Person kAuthor{"Alice", "alice@x", 1700000000};
const Person kCommitter{"Muster", "muster@x", 1700000060};

MergeTask task_of(const std::string& tip, const std::string& head) {
  return {tip, head, "Merge a facet\n", kAuthor, kCommitter};
}

Merger open(const Import& import) {
  return Merger::open(import.objects(), import.scratch()).value();
}

/// Hands the new objects to the repository, where git then sees them.
void publish(Merger& merger, const Import& import) {
  const auto local = actors::git::LocalRepository::open(import.repository().string()).value();
  const auto directory = local.pack_directory();
  REQUIRE(directory);
  REQUIRE(merger.publish(directory->get()));
}

std::string show(const Import& import, const std::string& what) {
  return git(import.repository(), {"show", what});
}

Files with(Files files, const std::string& path, const std::string& bytes) {
  files[path].bytes = bytes;
  return files;
}

const Files kBase = {{"src/a.txt", {"100644", "1\n2\n3\n4\n5\n6\n7\n"}},
                     {"src/b.txt", {"100644", "b\n"}},
                     {"CHANGELOG.md", {"100644", "# Changes\n\n- old\n"}},
                     {"package-lock.json", {"100644", "{\"v\": 1}\n"}}};

}  // namespace

TEST_CASE("facets become merge commits on one line, the same ones each time") {
  Import import;
  const int base = import.commit(kBase);
  const int one = import.commit(with(kBase, "src/a.txt", "one\n2\n3\n4\n5\n6\n7\n"), {base});
  const int two = import.commit(with(kBase, "src/a.txt", "1\n2\n3\n4\n5\n6\nseven\n"), {base});
  import.import();

  std::vector<std::string> tips;
  for (int round = 0; round < 2; ++round) {
    Merger merger = open(import);
    const auto first = merger.merge(task_of(import.id(base), import.id(one))).value();
    const auto second = merger.merge(task_of(first.commit, import.id(two))).value();
    CHECK(second.kind == MergeKind::merged);
    CHECK_FALSE(second.by_git);
    CHECK(second.base == import.id(base));
    tips.push_back(second.commit);
    if (round == 0) continue;  // As if the process had died before it published.
    publish(merger, import);
    CHECK(git(import.repository(),
              {"log", "-1", "--format=%P|%an|%ae|%at|%cn|%ce|%ct|%s", second.commit}) ==
          first.commit + " " + import.id(two) +
              "|Alice|alice@x|1700000000|Muster|muster@x|1700000060|Merge a facet");
    CHECK(show(import, second.commit + ":src/a.txt") == "one\n2\n3\n4\n5\n6\nseven");
    git(import.repository(), {"update-ref", "refs/heads/line", second.commit});
    git(import.repository(), {"fsck", "--strict"});
    const auto again = merger.merge(task_of(second.commit, import.id(one))).value();
    CHECK(again.kind == MergeKind::contained);
    CHECK(again.commit == second.commit);
  }
  CHECK(tips[0] == tips[1]);
}

TEST_CASE("changelogs are united and lock files flagged, alone or beside what git decides") {
  Import import;
  const int base = import.commit(kBase);
  const auto edited = [](const std::string& who) {
    return with(with(kBase, "CHANGELOG.md", "# Changes\n\n- " + who + "\n- old\n"),
                "package-lock.json", "{\"v\": \"" + who + "\"}\n");
  };
  Files renamed = edited("two");
  renamed["src/c.txt"] = renamed["src/a.txt"];
  renamed.erase("src/a.txt");
  const int one =
      import.commit(with(edited("one"), "src/a.txt", "1\n2\n3\n4\n5\n6\nseven\n"), {base});
  const int plain = import.commit(edited("two"), {base});
  const int moved = import.commit(renamed, {base});
  import.import();

  const bool by_git = GENERATE(false, true);
  Merger merger = open(import);
  const auto merged =
      merger.merge(task_of(import.id(one), import.id(by_git ? moved : plain))).value();
  REQUIRE(merged.kind == MergeKind::merged);
  CHECK(merged.by_git == by_git);
  CHECK(merged.united == std::vector<std::string>{"CHANGELOG.md"});
  CHECK(merged.regenerate == std::vector<std::string>{"package-lock.json"});
  publish(merger, import);
  CHECK(show(import, merged.commit + ":CHANGELOG.md") == "# Changes\n\n- one\n- two\n- old");
  CHECK(show(import, merged.commit + ":package-lock.json") == "{\"v\": \"one\"}");
  CHECK(show(import, merged.commit + (by_git ? ":src/c.txt" : ":src/a.txt")) ==
        "1\n2\n3\n4\n5\n6\nseven");
  git(import.repository(), {"fsck", "--strict"});
}

TEST_CASE("a conflict is reported whole, and leaves the line as it was") {
  Import import;
  const int base = import.commit(kBase);
  Files deleted = with(with(kBase, "src/a.txt", "ours\n"), "CHANGELOG.md", "ours\n");
  deleted.erase("src/b.txt");
  const int one = import.commit(deleted, {base});
  const int two =
      import.commit(with(with(with(kBase, "src/a.txt", "theirs\n"), "src/b.txt", "more\n"),
                         "CHANGELOG.md", "x\n"),
                    {base});
  const int three = import.commit(with(deleted, "new.txt", "new\n"), {one});
  import.import();
  Merger merger = open(import);
  const auto answer = merger.merge(task_of(import.id(one), import.id(two))).value();
  REQUIRE(answer.kind == MergeKind::conflict);
  CHECK(answer.commit.empty());
  CHECK(answer.base == import.id(base));
  std::string story;
  for (const Conflict& c : answer.conflicts) {
    story += c.path + ":";
    for (const auto* side : {&c.base, &c.ours, &c.theirs})
      story += " [" + merger.content(*side, 4).value() + "]";
    story += "; ";
  }
  // With more than lines to decide, a changelog is the resolver's too.
  CHECK(story ==
        "CHANGELOG.md: [# Ch] [ours] [x\n]; src/a.txt: [1\n2\n] [ours] [thei]; src/b.txt: [b\n] [] "
        "[more]; ");
  bool told = false;
  for (const MergeNote& note : answer.notes) told |= note.type == "CONFLICT (modify/delete)";
  CHECK(told);

  const auto next = merger.merge(task_of(import.id(one), import.id(three))).value();
  CHECK(next.kind == MergeKind::merged);
}

TEST_CASE("the base is git's, whatever a facet was built on") {
  Import import;
  const int root = import.commit(kBase);
  const int old = import.commit(with(kBase, "old.txt", "o\n"), {root});
  const int begin = import.commit(with(kBase, "begin.txt", "b\n"), {root, old});
  const int facet = import.commit(with(kBase, "facet.txt", "f\n"), {begin});
  const int stacked = import.commit(with(kBase, "stacked.txt", "s\n"), {facet});
  const int ancient = import.commit(with(kBase, "ancient.txt", "a\n"), {old});
  const int merging = import.commit(with(kBase, "merging.txt", "m\n"), {facet, ancient});
  const int above = import.commit(with(kBase, "above.txt", "m\n"), {merging});
  const int stranger = import.commit(with({}, "x", "x\n"));
  import.import();
  std::optional<Merger> merger(open(import));
  std::string tip = import.id(begin);
  for (const int head : {ancient, facet, stacked, merging, above}) {
    const std::string base = git(import.repository(), {"merge-base", tip, import.id(head)});
    auto merged = merger->merge(task_of(tip, import.id(head)));
    REQUIRE(merged);
    CHECK((merged->base == base || merged->base.empty()));
    if (merged->kind != MergeKind::merged) continue;
    publish(*merger, import);
    tip = merged->commit;
    if (head == stacked) {  // As after a restart.
      merger.emplace(open(import));
      REQUIRE(merger->resume(import.id(begin), tip));
    }
  }
  CHECK(merger->merge(task_of(tip, import.id(stranger))).error().code == Errc::refused);
  CHECK_FALSE(merger->resume(import.id(stranger), tip));
}

TEST_CASE("what is known of a line goes from batch to batch, and gives the bases that git gives") {
  Import import;
  const int base = import.commit(kBase);
  const auto facet = [&](const std::string& name, int parent, Files files = kBase) {
    files["facets/" + name].bytes = name;
    return import.commit(files, {parent});
  };
  const int one = facet("one", base), two = facet("two", base), three = facet("three", base);
  Files more = kBase;
  more["facets/one"].bytes = "one";
  const int onward = facet("onward", one, more);
  import.import();
  const auto odb = actors::git::open_objects(import.objects()).value();
  const auto repository = actors::git::wrap(odb.get()).value();
  KnownLines lines;

  struct Batch {
    std::string tip;
    std::vector<MergeAnswer> answers;
  };
  const auto batch = [&](const std::string& onto, const std::vector<int>& heads) {
    Batch made{onto, {}};
    Merger merger = open(import);
    REQUIRE(lines.tell(merger, repository.get(), "line", import.id(base), onto));
    for (const int head : heads) {
      const auto left = merger.base_of(onto, import.id(head)).value();
      CHECK(actors::git::to_string(left.value()) ==
            git(import.repository(), {"merge-base", onto, import.id(head)}));
      made.answers.push_back(merger.merge(task_of(made.tip, import.id(head))).value());
      if (made.answers.back().kind == MergeKind::merged) made.tip = made.answers.back().commit;
    }
    publish(merger, import);
    lines.keep(merger, "line", made.tip);
    return made;
  };

  const Batch dropped = batch(import.id(base), {one, two});
  const Batch first = batch(import.id(base), {one});
  CHECK(first.answers[0].kind == MergeKind::merged);  // what was dropped is not on the line
  const Batch second = batch(first.tip, {onward, two, one});
  CHECK(second.answers[0].base == import.id(one));  // its own first commit was merged
  CHECK(second.answers[1].base == import.id(base));
  CHECK(second.answers[2].kind == MergeKind::contained);
  // Files were made anew on top of what was tried.
  const std::string anew = git(import.repository(), {"commit-tree", "-m", "Anew", "-p", second.tip,
                                                     dropped.tip + "^{tree}"});
  const Batch third = batch(anew, {three, two});
  CHECK(third.answers[0].base == import.id(base));
  CHECK(third.answers[1].kind == MergeKind::contained);
  // A state of the line that came from none of these is read.
  const Batch back = batch(second.tip, {three, two});
  CHECK(back.answers[0].kind == MergeKind::merged);
  CHECK(back.answers[1].kind == MergeKind::contained);
  // One that does not come from its beginning is refused.
  Merger merger = open(import);
  CHECK(lines.tell(merger, repository.get(), "other", anew, import.id(one)).error().code == Errc::refused);
}

TEST_CASE("what is no task is refused by name") {
  Import import;
  const int base = import.commit(kBase);
  const int one = import.commit(with(kBase, "n", "n\n"), {base});
  import.import();
  Merger merger = open(import);
  const auto code = [&](MergeTask task) { return merger.merge(task).error().code; };
  const MergeTask good = task_of(import.id(base), import.id(one));
  const auto changed = [&](auto change) {
    MergeTask task = good;
    change(task);
    return task;
  };
  CHECK(code(changed([](auto& t) { t.head = "--upload-pack=x"; })) == Errc::invalid);
  CHECK(code(changed([](auto& t) { t.tip = "HEAD"; })) == Errc::invalid);
  CHECK(code(changed([](auto& t) { t.head = std::string(40, 'a'); })) == Errc::not_found);
  CHECK(code(changed([](auto& t) { t.message.clear(); })) == Errc::invalid);
  CHECK(code(changed([](auto& t) { t.author.name = "A <b>"; })) == Errc::invalid);
  CHECK(code(changed([](auto& t) { t.committer.email = "a\nparent x"; })) == Errc::invalid);
  CHECK(merger.merge(good));
}

TEST_CASE("neither configuration nor attributes nor hooks of the repository are obeyed") {
  Import import;
  const int base = import.commit(with(kBase, ".gitattributes", "*.txt merge=evil\n"));
  const Files ours = with(kBase, "src/a.txt", "ours\n"), theirs = with(kBase, "src/a.txt", "t\n");
  const int one = import.commit(ours, {base}), two = import.commit(theirs, {base});
  import.import();
  const std::string proof = (import.repository() / "ran").string();
  for (const auto& [key, value] : std::map<std::string, std::string>{
           {"merge.evil.driver", "touch " + proof}, {"core.fsmonitor", "touch " + proof}})
    git(import.repository(), {"config", key, value});
  actors::test::write(import.repository() / "info/attributes", "* merge=evil\n");
  Merger merger = open(import);
  CHECK(merger.merge(task_of(import.id(one), import.id(two))).value().kind == MergeKind::conflict);
  CHECK_FALSE(std::filesystem::exists(proof));
}

TEST_CASE("what git merge-tree never says is not believed") {
  const std::string id(40, 'a');
  const auto with_nul = [](std::string text) {
    for (char& c : text)
      if (c == '|') c = '\0';
    return text;
  };
  CHECK(parse_merge_tree(with_nul(id + "|")));
  const auto parsed = parse_merge_tree(
      with_nul(id + "|100644 " + id + " 2\tx|100755 " + id + " 3\tx||1|x|CONFLICT (t)|words\n|"));
  REQUIRE(parsed);
  CHECK(parsed->conflicts.size() == 1);
  CHECK(parsed->notes.at(0).text == "words");
  for (const std::string& bad :
       std::vector<std::string>{std::string(""), "main|", id, id + "|100644 " + id + " 4\tx|",
                                id + "|100644 " + id + "\tx|", id + "|100644 main 1\tx|",
                                id + "||9999999|x|", id + "||1|x|type|"})
    CHECK(parse_merge_tree(with_nul(bad)).error().code == Errc::corrupt);
}
