// What goes of what ended long ago. Of fleets first the files of their runs (logs, packs,
// artefacts) and their snapshots on the hosts, much later the fleets with their runs and pull requests; swarms as their fleets do,
// with theirs. What has an open pull request stays until that has ended. Hosts go when they have
// been unreachable for long; repositories, packs and uploaded files when nothing names them any
// more.
//
// Nothing here is remembered: what is to be done follows from the actors' own states, and each step
// is a message to one of them, which looks for itself whether it may go (actors/*/removal.cpp,
// Host, Repo). Of a fleet's files "given up" is durable before the first one goes, "gone" after the
// last, so that a look that was interrupted anywhere is repeated by the next one. Packs, artefacts
// and uploaded files are named by their content, which many may share: they go when nothing refers
// to them, and nobody has asked for them for a day.
//
//   Retention retention(*engine, logs, packs, files, limits);
//   retention.start();    // looks at once, and every hour
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "actors/ports/exec_calls.hpp"
#include "storage/base/blobs.hpp"
#include "storage/runlog/runlog.hpp"
#include "tools/musterd/metrics.hpp"
#include "tools/musterd/view.hpp"

namespace muster::musterd {

struct RetentionLimits {
  static constexpr Duration kDay{24LL * 3'600'000};
  /// Since the fleet's end; zero: for ever, or as long as the fleet.
  Duration contents = 90 * kDay;
  /// The same of the fleet itself, and of swarms; zero: for ever.
  Duration fleets = 400 * kDay;
  bool dry_run = false;  ///< Only counts.
  /// What nothing refers to may be of somebody who will say so soon.
  Duration grace = kDay;
  /// Since a host was reachable; zero: for ever.
  Duration hosts = 90 * kDay;
};

class Retention {
 public:
  Retention(engine::Engine& engine, storage::RunLog& logs, Blobs& packs, Blobs& files,
            RetentionLimits limits, actors::ExecPort* hosts = nullptr)
      : engine_(engine), view_(engine), logs_(logs), packs_(packs), files_(files), limits_(limits), hosts_(hosts) {}
  ~Retention() { stop(); }
  Retention(const Retention&) = delete;
  Retention& operator=(const Retention&) = delete;

  void start();
  /// A look that is going on ends soon.
  void stop();

  /// One look at everything; start() does it by itself. The first error, after which the others
  /// were still tried.
  Result<void> look();
  /// Thread-safe.
  [[nodiscard]] RetentionCounts counts() const;

 private:
  enum class What { contents, fleet, swarm, host };
  struct Due {
    What what = What::contents;
    std::string name;
    std::int64_t since_unix_ms = 0;  ///< Of its end, as it says itself.
    bool own_fleet = false;          ///< Of a swarm.
  };

  // retention.cpp
  [[nodiscard]] Result<std::vector<Due>> due() const;
  Result<void> due_fleets(std::vector<Due>& all) const;
  Result<void> due_swarms(std::vector<Due>& all) const;
  Result<void> due_hosts(std::vector<Due>& all) const;
  [[nodiscard]] bool is_over(std::int64_t since_unix_ms, Duration kept) const;
  [[nodiscard]] bool has_open_pull(const std::string& fleet) const;
  Result<void> remove(const Due& due);
  Result<void> remove_contents(const Due& fleet);
  Result<void> remove_logs(const std::string& fleet, std::int64_t given_up_unix_ms);
  Result<bool> remove_pulls(const std::string& fleet);
  Result<void> forget_fleet(const Due& fleet);
  Result<void> forget_swarm(const Due& swarm);
  Result<void> forget_host(const Due& host);
  void count(std::uint64_t RetentionCounts::*counter);
  Result<void> ask(const char* kind, const std::string& key, engine::Payload payload);
  [[nodiscard]] bool stopping() const;

  // retention_snapshots.cpp
  void remove_snapshots() const;
  void remove_snapshots_of(const std::string& host) const;
  [[nodiscard]] bool snapshot_is_over(const std::string& run) const;

  // retention_sweep.cpp
  struct Names {
    std::unordered_set<std::uint64_t> digests;  ///< Their beginnings, as numbers.
    std::unordered_set<std::size_t> repositories;
    void digest(std::string_view digest);
    void repository(std::string_view repository);
  };
  Result<void> sweep();
  [[nodiscard]] Result<Names> names() const;
  Result<void> name_swarms(Names& names) const;
  Result<void> name_fleets(Names& names) const;
  Result<void> name_run(const RunName& run, Names& names) const;
  template <class Item, class List, class Each>
  Result<void> in_pages(const List& list, const Each& each) const;
  Result<void> sweep_blobs(Blobs& blobs, const Names& names, Instant before,
                           std::uint64_t RetentionCounts::*due,
                           std::uint64_t RetentionCounts::*removed);
  Result<void> sweep_repositories(const Names& names);
  Result<void> forget_repository(const std::string& repository);

  engine::Engine& engine_;
  const View view_;
  storage::RunLog& logs_;
  Blobs& packs_;
  Blobs& files_;
  const RetentionLimits limits_;
  actors::ExecPort* const hosts_;  ///< Null: their snapshots are not looked at.
  bool sweep_ = true;   ///< Something may have lost its last name: at the start, too.
  bool fading_ = false; ///< Something goes by and by, and has its names until then.
  Instant swept_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  RetentionCounts counts_;
  std::thread thread_;
};

/// Rows and names read before the journal is let go of.
inline constexpr std::size_t kRetentionPage = 1'000;

/// Whether what that run left was given up at that time.
bool is_given_up(const fbs::RunRowT& row, std::int64_t given_up_unix_ms);

}  // namespace muster::musterd
