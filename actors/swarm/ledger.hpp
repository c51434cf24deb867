// What became of every commit that a facet handed in: merged, superseded or rejected, and nothing
// else. Pure.
//
// The swarm's journal says it (Ledger), git shows it (GitFacts), and audit() compares the two: each
// difference is a finding, and no finding means that every commit is accounted for.
// ledger_proof.hpp reads git.
#pragma once

#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::actors::swarm {

enum class Fate {
  open,        ///< Not decided yet; at the end of a swarm that is a finding.
  merged,      ///< In the deliverable, through one merge commit.
  superseded,  ///< A later commit of the same facet stands for it.
  rejected,    ///< Not in the deliverable, for a stated reason.
};
const char* to_string(Fate fate);

struct LedgerEntry {
  std::string facet;
  std::string commit;
  Fate fate = Fate::open;
  std::string merge;      ///< merged: the merge commit.
  bool resolved = false;  ///< merged: an agent or a person decided its conflicts, so its tree is
                          ///< not the plain merge's.
  std::string successor;  ///< superseded: the facet's later commit.
  std::string reason;     ///< rejected: for a person; never empty.
  /// No facet's commit: the swarm made these files anew on top of merges. Merged, it is its own merge commit.
  std::vector<std::string> remade{};
};

/// A fate is said once. The same words again change nothing; other words are Errc::conflict. A
/// commit that nobody handed in is Errc::not_found.
class Ledger {
 public:
  Result<void> received(const std::string& facet, const std::string& commit);
  /// A commit of the swarm's own, that made these files anew.
  Result<void> remade(const std::string& commit, const std::vector<std::string>& files);
  Result<void> merged(const std::string& commit, const std::string& merge, bool resolved = false);
  Result<void> superseded(const std::string& commit, const std::string& successor);
  Result<void> rejected(const std::string& commit, const std::string& reason);

  /// Nullptr for a commit that nobody handed in.
  [[nodiscard]] const LedgerEntry* find(const std::string& commit) const;
  /// By commit id.
  [[nodiscard]] const std::map<std::string, LedgerEntry>& entries() const { return entries_; }

 private:
  Result<void> settle(const std::string& commit, const LedgerEntry& fate);
  std::map<std::string, LedgerEntry> entries_;
};

/// One commit of the integration line, as git has it.
struct LineCommit {
  std::string id;
  std::string head;      ///< Its second parent; empty when it has not exactly two.
  bool as_made = false;  ///< Merging its parents again gives this tree.
  std::vector<std::string> changed{};  ///< With one parent: the paths that differ from it.
};

struct GitFacts {
  bool descends = false;  ///< The deliverable comes from the line's beginning by first parents.
  std::vector<LineCommit>
      line;  ///< The deliverable first, down to the beginning, which is left out.
  std::unordered_set<std::string> reachable;  ///< From the deliverable and not from the beginning.
};

enum class FindingKind {
  unaccounted,  ///< Handed in, and nothing became of it.
  lost,         ///< Said to be merged, and not in the deliverable.
  altered,      ///< Merged, but not with what the merge makes, and nobody resolved a conflict; or more was made anew than said.
  unwanted,     ///< Superseded or rejected, and yet in the deliverable.
  stranger,     ///< On the line, and no entry says so.
  broken,  ///< The deliverable does not come from the beginning, or a succession leads nowhere.
};
const char* to_string(FindingKind kind);

struct Finding {
  FindingKind kind{};
  std::string commit;
  std::string text;  ///< For a person.
};

/// Empty: every commit is accounted for.
std::vector<Finding> audit(const Ledger& ledger, const GitFacts& git);

}  // namespace muster::actors::swarm
