#include "actors/swarm/known_lines.hpp"

#include "actors/ports/git_history.hpp"

namespace muster::actors::swarm {

/// True when `kept` knows the line up to `tip` after this.
bool KnownLines::reach(Kept& kept, git_repository* repository, const std::string& tip) {
  const git_oid to = git::parse_id(tip);
  if (git_oid_equal(&kept.line.tip, &to) != 0) return true;
  if (kept.tried.empty()) return false;
  if (kept.tried != tip) {  // perhaps one commit was put on top, with files made anew
    const auto commit = git::find_commit(repository, to);
    if (!commit || git_commit_parentcount(commit->get()) != 1 ||
        git::to_string(*git_commit_parent_id(commit->get(), 0)) != kept.tried)
      return false;
    kept.line.ids.insert(to);
  }
  kept.line.ids.insert(kept.added.begin(), kept.added.end());
  kept.line.tip = to;
  return true;
}

Result<void> KnownLines::tell(Merger& merger, git_repository* repository, const std::string& name,
                              const std::string& begin, const std::string& tip) {
  std::map<std::string, Kept>::node_type node;
  {
    const std::lock_guard lock(mutex_);
    node = lines_.extract(name);
  }
  if (node && reach(node.mapped(), repository, tip)) {
    merger.know(std::move(node.mapped().line));
    return {};
  }
  return begin.empty() ? Result<void>() : merger.resume(begin, tip);
}

void KnownLines::keep(Merger& merger, const std::string& name, const std::string& tried) {
  auto [line, added] = merger.give_back();
  const std::lock_guard lock(mutex_);
  if (lines_.size() >= kMaxLines) lines_.clear();
  lines_[name] = {std::move(line), tried, std::move(added)};
}

}  // namespace muster::actors::swarm
