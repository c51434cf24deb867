// The ledger against git: what is dropped, altered or smuggled in must be noticed.
#include "actors/ports/git_local.hpp"
#include "actors/swarm/ledger_proof.hpp"
#include "import.hpp"

using namespace muster;
using namespace muster::actors::swarm;
using namespace muster::actors::swarm::test;

namespace {

const Person kPerson{"Muster", "muster@x", 1700000000};
constexpr int kFacets = 6;

std::string facet_name(int i) {
  std::string name = "facet-";
  return name += std::to_string(i);
}

/// A base, and facets that each change a file of their own and the changelog.
class Swarm {
 public:
  Swarm() {
    base_ = {{"CHANGELOG.md", {"100644", "# Changes\n"}}};
    for (int i = 0; i < kFacets; ++i) base_[facet_name(i)] = {"100644", "before\n"};
    const int base = import_.commit(base_);
    for (int i = 0; i < kFacets; ++i) import_.commit(changed(i, "after\n"), {base});
    again_ = import_.commit(changed(0, "better\n"), {base + 1});
    import_.import();
  }

  [[nodiscard]] std::string begin() const { return import_.id(1); }
  [[nodiscard]] std::string facet(int i) const { return import_.id(i + 2); }
  /// A second commit of facet 0, on top of its first.
  [[nodiscard]] std::string again() const { return import_.id(again_); }
  [[nodiscard]] const Import& import() const { return import_; }

  /// Merges these onto `tip`, publishes, and enters them when there is a ledger.
  std::string merge(std::string tip, const std::vector<std::string>& heads, Ledger* ledger) {
    auto merger = Merger::open(import_.objects(), import_.scratch()).value();
    for (const std::string& head : heads) {
      const auto merged = merger.merge({tip, head, "Merge\n", kPerson, kPerson});
      REQUIRE(merged);
      REQUIRE(merged->kind == MergeKind::merged);
      tip = merged->commit;
      if (ledger != nullptr) REQUIRE(ledger->merged(head, tip));
    }
    const auto local = actors::git::LocalRepository::open(import_.repository().string()).value();
    REQUIRE(merger.publish(local.pack_directory()->get()));
    return tip;
  }

  Ledger all_received() {
    Ledger ledger;
    for (int i = 0; i < kFacets; ++i) REQUIRE(ledger.received(facet_name(i), facet(i)));
    return ledger;
  }
  std::vector<std::string> all_but(int left_out = -1) {
    std::vector<std::string> heads;
    for (int i = 0; i < kFacets; ++i)
      if (i != left_out) heads.push_back(facet(i));
    return heads;
  }

  /// The findings, one a line: kind and commit.
  std::string proof(const Ledger& ledger, const std::string& deliverable) {
    const auto facts = read_line(import_.objects(), import_.scratch(), begin(), deliverable);
    REQUIRE(facts);
    std::string out;
    for (const Finding& finding : audit(ledger, *facts))
      out += std::string(to_string(finding.kind)) + " " + finding.commit + "\n";
    return out;
  }

  /// A commit on top of `tip` with one file of the root as `from` has it.
  std::string with_file_of(const std::string& tip, const std::string& from, const std::string& path) {
    const auto entry = [&](const std::string& of) {
      return git(import_.repository(), {"ls-tree", of, "--", path});
    };
    std::string tree = git(import_.repository(), {"ls-tree", tip}) + "\n";
    tree.replace(tree.find(entry(tip)), entry(tip).size(), entry(from));
    return by_hand(git(import_.repository(), {"mktree"}, tree), {tip});
  }

  /// A commit made by hand, as a careless or hostile integrator would.
  std::string by_hand(const std::string& tree, const std::vector<std::string>& parents) {
    std::vector<std::string> arguments = {"commit-tree", "-m", "By hand", tree};
    for (const auto& parent : parents) arguments.insert(arguments.end(), {"-p", parent});
    return git(import_.repository(), arguments);
  }

 private:
  Files changed(int i, const std::string& text) {
    Files files = base_;
    files[facet_name(i)].bytes = text;
    files["CHANGELOG.md"].bytes += "- " + facet_name(i) + "\n";
    return files;
  }

  Import import_;
  Files base_;
  int again_ = 0;
};

}  // namespace

TEST_CASE("a line on which everything is merged, superseded or rejected has no findings") {
  Swarm swarm;
  Ledger ledger = swarm.all_received();
  REQUIRE(ledger.received(facet_name(0), swarm.again()));
  REQUIRE(ledger.rejected(swarm.facet(1), "its tests fail"));
  REQUIRE(ledger.superseded(swarm.facet(0), swarm.again()));
  const std::string tip = swarm.merge(
      swarm.begin(),
      {swarm.facet(2), swarm.facet(3), swarm.again(), swarm.facet(4), swarm.facet(5)}, &ledger);
  CHECK(swarm.proof(ledger, tip).empty());
}

TEST_CASE("whichever commit is dropped from the deliverable, the ledger notices that one") {
  Swarm swarm;
  Ledger ledger = swarm.all_received();
  swarm.merge(swarm.begin(), swarm.all_but(), &ledger);
  for (int dropped = 0; dropped < kFacets; ++dropped) {
    const std::string without = swarm.merge(swarm.begin(), swarm.all_but(dropped), nullptr);
    const std::string proof = swarm.proof(ledger, without);
    CHECK(proof.find("lost " + swarm.facet(dropped)) != std::string::npos);
    const auto facts =
        read_line(swarm.import().objects(), swarm.import().scratch(), swarm.begin(), without);
    CHECK(facts->reachable.count(swarm.facet(dropped)) == 0);
    CHECK(facts->reachable.size() == 2 * (kFacets - 1));
  }
}

TEST_CASE("a merge that names a commit as its parent and drops what it says is noticed") {
  Swarm swarm;
  Ledger ledger = swarm.all_received();
  const std::string tip = swarm.merge(swarm.begin(), swarm.all_but(2), &ledger);
  const std::string swallowed = swarm.by_hand(tip + "^{tree}", {tip, swarm.facet(2)});
  REQUIRE(ledger.merged(swarm.facet(2), swallowed));
  CHECK(swarm.proof(ledger, swallowed) == "altered " + swarm.facet(2) + "\n");

  SECTION("unless a conflict was resolved so") {
    Ledger resolved = swarm.all_received();
    for (const auto& [commit, entry] : ledger.entries())
      REQUIRE(resolved.merged(commit, entry.merge, commit == swarm.facet(2)));
    CHECK(swarm.proof(resolved, swallowed).empty());
  }
  SECTION("also below what was merged later") {
    Ledger late = swarm.all_received();
    const std::string bad =
        swarm.by_hand(swarm.begin() + "^{tree}", {swarm.begin(), swarm.facet(2)});
    REQUIRE(late.merged(swarm.facet(2), bad));
    const std::string end = swarm.merge(bad, swarm.all_but(2), &late);
    CHECK(swarm.proof(late, end) == "altered " + swarm.facet(2) + "\n");
  }
}

TEST_CASE("what nobody decided, and what should not be there, is noticed") {
  Swarm swarm;
  Ledger ledger = swarm.all_received();
  const std::string tip = swarm.merge(swarm.begin(), swarm.all_but(2), &ledger);
  CHECK(swarm.proof(ledger, tip) == "unaccounted " + swarm.facet(2) + "\n");

  SECTION("a rejected commit on the line") {
    REQUIRE(ledger.rejected(swarm.facet(2), "out of scope"));
    const std::string smuggled = swarm.merge(tip, {swarm.facet(2)}, nullptr);
    CHECK(swarm.proof(ledger, smuggled) ==
          "unwanted " + swarm.facet(2) + "\nstranger " + smuggled + "\n");
  }
  SECTION("a commit of nobody") {
    REQUIRE(ledger.rejected(swarm.facet(2), "out of scope"));
    const std::string extra = swarm.by_hand(tip + "^{tree}", {tip});
    CHECK(swarm.proof(ledger, extra) == "stranger " + extra + "\n");
  }
  SECTION("a deliverable from elsewhere") {
    const std::string orphan = swarm.by_hand(tip + "^{tree}", {});
    CHECK(swarm.proof(ledger, orphan).starts_with("broken "));
  }
  SECTION("a successor that does not exist") {
    REQUIRE(ledger.superseded(swarm.facet(2), std::string(40, 'a')));
    CHECK(swarm.proof(ledger, tip) == "broken " + swarm.facet(2) + "\n");
  }
}

TEST_CASE("files that were made anew on top of merges are the swarm's own, and nothing beside them may change") {
  Swarm swarm;
  Ledger ledger = swarm.all_received();
  const std::string half = swarm.merge(swarm.begin(), {swarm.facet(0), swarm.facet(1)}, &ledger);
  // What the changelog was before is no worse a file to make anew than any other.
  const std::string anew = swarm.with_file_of(half, swarm.begin(), "CHANGELOG.md");
  const std::string tip = swarm.merge(
      anew, {swarm.facet(2), swarm.facet(3), swarm.facet(4), swarm.facet(5)}, &ledger);
  CHECK(swarm.proof(ledger, tip) == "stranger " + anew + "\n");
  REQUIRE(ledger.remade(anew, {"CHANGELOG.md"}));
  REQUIRE(ledger.remade(anew, {"CHANGELOG.md"}));
  CHECK(ledger.remade(anew, {"other"}).error().code == Errc::conflict);
  CHECK(ledger.received("docs", anew).error().code == Errc::conflict);
  CHECK(ledger.remade(swarm.facet(1), {"x"}).error().code == Errc::conflict);
  CHECK(swarm.proof(ledger, tip) == "unaccounted " + anew + "\nstranger " + anew + "\n");
  SECTION("merged") {
    REQUIRE(ledger.merged(anew, anew));
    CHECK(swarm.proof(ledger, tip).empty());
    CHECK(swarm.proof(ledger, half).find("lost " + anew) != std::string::npos);
  }
  SECTION("rejected, and there") {
    REQUIRE(ledger.rejected(anew, "its batch failed"));
    CHECK(swarm.proof(ledger, tip) == "unwanted " + anew + "\nstranger " + anew + "\n");
  }
  SECTION("more than it said") {
    Ledger other = swarm.all_received();
    for (const auto& [commit, entry] : ledger.entries())
      if (entry.fate == Fate::merged) REQUIRE(other.merged(commit, entry.merge));
    REQUIRE(other.remade(anew, {"package-lock.json"}));
    REQUIRE(other.merged(anew, anew));
    CHECK(swarm.proof(other, tip) == "altered " + anew + "\n");
  }
}

TEST_CASE("a fate is said once, the same words twice change nothing") {
  Ledger ledger;
  CHECK(ledger.received("docs", "c1"));
  CHECK(ledger.received("docs", "c1"));
  CHECK(ledger.received("tests", "c1").error().code == Errc::conflict);
  CHECK(ledger.merged("c2", "m").error().code == Errc::not_found);
  CHECK(ledger.rejected("c1", "").error().code == Errc::invalid);
  CHECK(ledger.superseded("c1", "c1").error().code == Errc::invalid);
  CHECK(ledger.merged("c1", "m"));
  CHECK(ledger.merged("c1", "m"));
  CHECK(ledger.merged("c1", "n").error().code == Errc::conflict);
  CHECK(ledger.rejected("c1", "no").error().code == Errc::conflict);
  CHECK(ledger.received("docs", "c1"));
  CHECK(ledger.find("c1")->fate == Fate::merged);

  for (const char* commit : {"a", "b"}) CHECK(ledger.received("round", commit));
  CHECK(ledger.superseded("a", "b"));
  CHECK(ledger.superseded("b", "a"));
  GitFacts nothing;
  nothing.descends = true;
  std::string kinds;
  for (const auto& finding : audit(ledger, nothing))
    kinds += std::string(to_string(finding.kind)) + " ";
  CHECK(kinds == "broken broken lost ");
}
