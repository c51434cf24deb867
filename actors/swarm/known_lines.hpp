// What is known of lines between their batches, so that a batch costs what its facets cost and not
// what the line is long. Any thread.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "actors/swarm/merge.hpp"

namespace muster::actors::swarm {

class KnownLines {
 public:
  /// Lines that are known at once; one more, and all are read anew when they go on.
  static constexpr std::size_t kMaxLines = 64;

  /// Tells the merger what is known of the line `name`, which began at `begin` and ends in `tip`:
  /// from memory when the line was there or came from a batch that was tried, else by reading it
  /// once. An empty `begin` is not known.
  Result<void> tell(Merger& merger, git_repository* repository, const std::string& name,
                    const std::string& begin, const std::string& tip);

  /// After a batch: what the merger knew, and where it got to, which may become green or be
  /// dropped.
  void keep(Merger& merger, const std::string& name, const std::string& tried);

 private:
  struct Kept {
    KnownLine line;
    std::string tried;           ///< A tip that the line may go on from …
    std::vector<git_oid> added;  ///< … and what that has beyond the line.
  };
  static bool reach(Kept& kept, git_repository* repository, const std::string& tip);

  std::mutex mutex_;
  std::map<std::string, Kept> lines_;
};

}  // namespace muster::actors::swarm
