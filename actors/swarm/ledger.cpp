#include "actors/swarm/ledger.hpp"

#include <algorithm>

namespace muster::actors::swarm {
namespace {

bool same_fate(const LedgerEntry& a, const LedgerEntry& b) {
  return a.fate == b.fate && a.merge == b.merge && a.resolved == b.resolved &&
         a.successor == b.successor && a.reason == b.reason;
}

/// Follows a succession to its end: a commit that is merged, rejected or open; nullptr when it
/// leads nowhere or round.
const LedgerEntry* last_of(const Ledger& ledger, const LedgerEntry& entry) {
  const LedgerEntry* at = &entry;
  for (std::size_t steps = 0; steps <= ledger.entries().size(); ++steps) {
    if (at->fate != Fate::superseded) return at;
    const LedgerEntry* next = ledger.find(at->successor);
    if (next == nullptr || next->facet != entry.facet) return nullptr;
    at = next;
  }
  return nullptr;
}

class Audit {
 public:
  Audit(const Ledger& ledger, const GitFacts& git) : ledger_(ledger), git_(git) {
    for (const LineCommit& commit : git.line) line_.emplace(commit.id, &commit);
  }

  std::vector<Finding> run() {
    if (!git_.descends)
      found(FindingKind::broken, "", "the deliverable does not come from the line's beginning");
    for (const auto& [commit, entry] : ledger_.entries()) judge(entry);
    for (const LineCommit& commit : git_.line) judge(commit);
    return std::move(findings_);
  }

 private:
  void found(FindingKind kind, const std::string& commit, std::string text) {
    findings_.push_back({kind, commit, std::move(text)});
  }

  void judge(const LedgerEntry& entry) {
    const bool there = git_.reachable.count(entry.commit) != 0;
    const std::string whose = whose_is(entry);
    if (entry.fate == Fate::open)
      return found(FindingKind::unaccounted, entry.commit, whose + "nothing became of this commit");
    if (entry.fate == Fate::merged) return judge_merged(entry, there);
    if (entry.fate == Fate::superseded && last_of(ledger_, entry) == nullptr)
      found(FindingKind::broken, entry.commit, whose + "what stands for it is not in the ledger");
    // A successor may be built on it, and then brings it along.
    const LedgerEntry* last = last_of(ledger_, entry);
    const bool brought =
        entry.fate == Fate::superseded && last != nullptr && last->fate == Fate::merged;
    if (there && !brought)
      found(FindingKind::unwanted, entry.commit,
            whose + to_string(entry.fate) + ", and yet in the deliverable");
  }

  void judge_merged(const LedgerEntry& entry, bool there) {
    const std::string whose = whose_is(entry);
    const auto line = line_.find(entry.merge);
    if (!there)
      return found(FindingKind::lost, entry.commit,
                   whose + "said to be merged, and not in the deliverable");
    if (!entry.remade.empty()) return judge_remade(entry);
    if (line == line_.end() || line->second->head != entry.commit)
      return found(FindingKind::lost, entry.commit,
                   whose + "the commit that should have merged it is not on the line");
    if (!line->second->as_made && !entry.resolved)
      found(FindingKind::altered, entry.commit,
            whose + "its merge holds something else than the two sides give");
  }

  void judge_remade(const LedgerEntry& entry) {
    const auto line = line_.find(entry.commit);
    if (line == line_.end() || !line->second->head.empty())
      return found(FindingKind::lost, entry.commit, whose_is(entry) + "it is not on the line");
    for (const std::string& path : line->second->changed)
      if (std::find(entry.remade.begin(), entry.remade.end(), path) == entry.remade.end())
        found(FindingKind::altered, entry.commit, whose_is(entry) + "it also changes " + path);
  }

  static std::string whose_is(const LedgerEntry& entry) {
    return entry.remade.empty() ? "facet " + entry.facet + ": " : "files made anew: ";
  }

  void judge(const LineCommit& commit) {
    const LedgerEntry* entry = ledger_.find(commit.head.empty() ? commit.id : commit.head);
    const bool known = entry != nullptr && entry->remade.empty() != commit.head.empty();
    if (!known || entry->fate != Fate::merged || entry->merge != commit.id)
      found(FindingKind::stranger, commit.id, "on the line, and neither a facet's merge nor files made anew");
  }

  const Ledger& ledger_;
  const GitFacts& git_;
  std::map<std::string, const LineCommit*> line_;
  std::vector<Finding> findings_;
};

}  // namespace

const char* to_string(Fate fate) {
  switch (fate) {
    case Fate::open:
      return "open";
    case Fate::merged:
      return "merged";
    case Fate::superseded:
      return "superseded";
    case Fate::rejected:
      return "rejected";
  }
  return "?";
}

const char* to_string(FindingKind kind) {
  switch (kind) {
    case FindingKind::unaccounted:
      return "unaccounted";
    case FindingKind::lost:
      return "lost";
    case FindingKind::altered:
      return "altered";
    case FindingKind::unwanted:
      return "unwanted";
    case FindingKind::stranger:
      return "stranger";
    case FindingKind::broken:
      return "broken";
  }
  return "?";
}

Result<void> Ledger::received(const std::string& facet, const std::string& commit) {
  if (facet.empty() || commit.empty()) return fail(Errc::invalid, "a commit and its facet");
  const auto [at, added] = entries_.try_emplace(commit);
  if (added) at->second = {facet, commit, Fate::open, {}, false, {}, {}};
  if (at->second.facet != facet)
    return fail(Errc::conflict, "commit " + commit + " is of facet " + at->second.facet);
  return {};
}

Result<void> Ledger::remade(const std::string& commit, const std::vector<std::string>& files) {
  if (commit.empty() || files.empty()) return fail(Errc::invalid, "a commit and its files");
  const auto [at, added] = entries_.try_emplace(commit);
  if (added) at->second = {{}, commit, Fate::open, {}, false, {}, {}, files};
  if (at->second.remade != files)
    return fail(Errc::conflict, "commit " + commit + " is another's");
  return {};
}

Result<void> Ledger::settle(const std::string& commit, const LedgerEntry& fate) {
  const auto at = entries_.find(commit);
  if (at == entries_.end()) return fail(Errc::not_found, "commit " + commit + " was not handed in");
  LedgerEntry& entry = at->second;
  if (entry.fate != Fate::open && !same_fate(entry, fate))
    return fail(Errc::conflict, "commit " + commit + " is " + to_string(entry.fate) + " already");
  LedgerEntry settled = fate;
  settled.facet = entry.facet;
  settled.commit = commit;
  settled.remade = entry.remade;
  entry = std::move(settled);
  return {};
}

Result<void> Ledger::merged(const std::string& commit, const std::string& merge, bool resolved) {
  if (merge.empty()) return fail(Errc::invalid, "a merge commit");
  return settle(commit, {{}, {}, Fate::merged, merge, resolved, {}, {}});
}

Result<void> Ledger::superseded(const std::string& commit, const std::string& successor) {
  if (successor.empty() || successor == commit)
    return fail(Errc::invalid, "what supersedes a commit is another");
  return settle(commit, {{}, {}, Fate::superseded, {}, false, successor, {}});
}

Result<void> Ledger::rejected(const std::string& commit, const std::string& reason) {
  if (reason.empty()) return fail(Errc::invalid, "a rejection needs its reason");
  return settle(commit, {{}, {}, Fate::rejected, {}, false, {}, reason});
}

const LedgerEntry* Ledger::find(const std::string& commit) const {
  const auto at = entries_.find(commit);
  return at == entries_.end() ? nullptr : &at->second;
}

std::vector<Finding> audit(const Ledger& ledger, const GitFacts& git) {
  return Audit(ledger, git).run();
}

}  // namespace muster::actors::swarm
