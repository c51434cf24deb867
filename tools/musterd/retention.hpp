// What goes of fleets that ended long ago: first the files of their runs (logs, packs, artefacts),
// much later the fleets with their runs and pull requests. A fleet of a swarm keeps its records;
// one with an open pull request keeps them until that has ended.
//
// Nothing here is remembered: what is to be done follows from the fleets' own states, and each step
// is a message to the fleet (actors/fleet/removal.cpp). "Given up" is durable before the first file
// goes, "gone" after the last, so that a look that was interrupted anywhere is repeated by the next
// one. Packs and artefacts are named by their content, which two runs may share: they go when
// nothing refers to them any more.
//
//   Retention retention(*engine, logs, packs, limits);
//   retention.start();    // looks at once, and every hour
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "storage/base/blobs.hpp"
#include "storage/runlog/runlog.hpp"
#include "tools/musterd/metrics.hpp"
#include "tools/musterd/view.hpp"

namespace muster::musterd {

struct RetentionLimits {
  static constexpr Duration kDay{24LL * 3'600'000};
  /// Since the fleet's end; zero: for ever, or as long as the fleet.
  Duration contents = 90 * kDay;
  /// The same of the fleet itself; zero: for ever.
  Duration fleets = 400 * kDay;
  bool dry_run = false;  ///< Only counts.
  /// A pack that nothing refers to may be of a run that will say so soon.
  Duration pack_grace = kDay;
};

class Retention {
 public:
  Retention(engine::Engine& engine, storage::RunLog& logs, Blobs& packs, RetentionLimits limits)
      : engine_(engine), view_(engine), logs_(logs), packs_(packs), limits_(limits) {}
  ~Retention() { stop(); }
  Retention(const Retention&) = delete;
  Retention& operator=(const Retention&) = delete;

  void start();
  /// A look that is going on ends soon.
  void stop();

  /// One look at all fleets; start() does it by itself. The first error, after which the others
  /// were still tried.
  Result<void> look();
  /// Thread-safe.
  [[nodiscard]] RetentionCounts counts() const;

 private:
  struct Due {
    std::string name;
    std::int64_t ended_unix_ms = 0;
    bool contents = false;  ///< Else the fleet itself.
  };

  [[nodiscard]] Result<std::vector<Due>> due() const;
  [[nodiscard]] bool has_open_pull(const std::string& fleet) const;
  Result<void> remove_contents(const Due& fleet);
  Result<void> remove_logs(const std::string& fleet, std::int64_t given_up_unix_ms);
  Result<void> forget(const Due& fleet);
  template <template <class> class Traits, class M>
  Result<void> ask(const char* kind, const std::string& key, const M& message);

  using Named = std::unordered_set<std::uint64_t>;  ///< The beginnings of digests, as numbers.
  Result<Named> named_packs() const;
  Result<void> sweep_packs();
  [[nodiscard]] bool stopping() const;

  engine::Engine& engine_;
  const View view_;
  storage::RunLog& logs_;
  Blobs& packs_;
  const RetentionLimits limits_;
  bool sweep_ = true;  ///< Something may have lost its last name: at the start, too.
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  RetentionCounts counts_;
  std::thread thread_;
};

}  // namespace muster::musterd
