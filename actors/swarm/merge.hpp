// Merges the commits of facets into an integration line, in memory. Owned by one worker thread of a
// port; never called by a step.
//
//   auto merger = Merger::open(local.objects_path(), scratch);
//   auto merged = merger->merge({tip, head, "Merge facet docs", author, committer});
//   if (merged && merged->kind == MergeKind::merged) tip = merged->commit;      // ... and more of
//   them auto published = merger->publish(pack_directory);   // durable; now a ref may name the tip
//
// Each merge is a commit with the parents (tip, head), also where a fast-forward would do. The same
// task over the same objects gives the same commit, so whoever dies before publish() does it again.
// Until then nothing of the repository changes. How a merge is decided: merge_trees.hpp, then
// merge_git.hpp, then the drivers once more over what git calls a conflict.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "actors/swarm/merge_git.hpp"

namespace muster::actors::swarm {

struct Person {
  std::string name;
  std::string email;
  std::int64_t unix_seconds = 0;  ///< In UTC.
};

struct MergeTask {
  std::string tip;   ///< Of the integration line; a whole commit id.
  std::string head;  ///< The facet's commit, in the repository.
  std::string message;
  Person author;
  Person committer;
};

enum class MergeKind {
  merged,
  contained,  ///< The tip has that commit already; nothing was made.
  conflict,
};

struct MergeAnswer {
  MergeKind kind = MergeKind::conflict;
  std::string commit;  ///< merged: the line's new tip. contained: the tip.
  std::string tree;    ///< conflict: git's, with marked files; empty when git was not asked.
  std::string base;    ///< The merge base; empty when there are several, and git chose.
  bool by_git = false;
  std::vector<std::string> united;      ///< Paths that a driver united.
  std::vector<std::string> regenerate;  ///< Lock files that must be made anew.
  std::vector<Conflict> conflicts;      ///< conflict: every path that is not merged; can be empty.
  std::vector<MergeNote> notes;         ///< conflict: git's words about them.
};

/// What a line has beyond its beginning, and that beginning: there a facet's commit meets its base without a walk
/// over the line. It grows with the line, and is handed from one Merger of it to the next.
struct KnownLine {
  using Ids = std::unordered_set<git_oid, git::IdHash, git::IdEqual>;
  git_oid tip{};
  Ids ids;
};

class Merger {
 public:
  static Result<Merger> open(const std::string& objects, const std::filesystem::path& scratch,
                             Drivers drivers = usual_drivers());

  /// For a line that this Merger did not make from its beginning (after a restart, or an eviction):
  /// what `tip` has beyond `begin`. Without it merges are right too, but ask for each base anew.
  Result<void> resume(const std::string& begin, const std::string& tip);

  /// The line has one commit more, that no merge made.
  void advance(const git_oid& tip);
  /// The same as resume() from an earlier Merger of that line.
  void know(KnownLine line);
  /// What know() or resume() gave, and what the last merge's tip has beyond it. It knows nothing any more.
  std::pair<KnownLine, std::vector<git_oid>> give_back();

  /// Where a head left the line that ends in `tip`; nothing: in several places. Errors as merge().
  Result<std::optional<git_oid>> base_of(const std::string& tip, const std::string& head);

  /// Errc::invalid for a malformed task, Errc::not_found for a missing commit, Errc::refused for
  /// unrelated histories and for what git can't merge. `on_trial`: the line does not go on with it.
  Result<MergeAnswer> merge(const MergeTask& task, bool on_trial = false);

  /// After a conflict that git described: a commit of both sides whose conflicting files hold git's
  /// markers. Its parents are the task's. Empty when there is no such tree.
  Result<std::string> mark(const MergeTask& task, const MergeAnswer& conflict);

  /// Installs the new objects in the repository, whose objects/pack is `pack_directory`. Durable
  /// when it returns.
  Result<void> publish(int pack_directory);

  /// Instead of publish(), where the repository has the line that these merges only make again: its
  /// tip must be there.
  void forget() { objects_.forget(); }

  /// One version of a conflicting file, at most `limit` bytes of it; empty when absent.
  Result<std::string> content(const FileVersion& version, std::size_t limit) const;

 private:
  struct Bases {
    std::optional<git_oid> only;  ///< Nothing: several.
    bool contained = false;
    std::vector<git_oid> on_top;  ///< What the head has and the tip lacks.
  };
  explicit Merger(MergeObjects objects, Drivers drivers)
      : objects_(std::move(objects)), drivers_(std::move(drivers)) {}
  Result<Bases> find_base(const git_oid& tip, const git_oid& head);
  Result<Bases> ask_libgit2(const git_oid& tip, const git_oid& head) const;
  Result<TreeMerge> merge_in_memory(const git_oid& base, const git_oid& tip, const git_oid& head);
  Result<bool> decide_by_git(const git_oid& tip, const git_oid& head, MergeAnswer& answer,
                             git_oid& tree);
  Result<bool> apply_drivers(MergeAnswer& answer, git_oid& tree);
  Result<git_oid> write_commit(const MergeTask& task, const git_oid& tree);

  MergeObjects objects_;
  Drivers drivers_;
  /// The first tip seen, or what know() and resume() gave; and all that the line got since, up to last_tip_. A head
  /// without merges that is followed down meets its merge base as the first of these: a commit above it that the tip
  /// had too would have to lie below the first tip, and none of these does.
  KnownLine known_;
  KnownLine::Ids added_;
  git_oid last_tip_{};
};

}  // namespace muster::actors::swarm
