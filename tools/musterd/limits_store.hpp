// The limits and weights that operators set at run time: kept in one small file, applied at once,
// and again at each start.
//
//   auto store = LimitsStore::open(file, [&](const RunLimits& set) { dispatcher.set_limits(set); });
//   (*store)->change({.fleet = "web-1", .concurrency = 10}, /*dry_run=*/false);
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "actors/ports/run_limits.hpp"
#include "storage/base/error.hpp"

namespace muster::musterd {

inline constexpr std::size_t kMaxLimitedFleets = 1'000;
inline constexpr std::uint32_t kMaxConcurrency = 100'000;
inline constexpr std::uint32_t kMaxWeight = 1'000;

/// What an operator says; what is absent stays as it is.
struct LimitsChange {
  std::optional<std::uint32_t> total;
  std::string fleet;  ///< Whose concurrency and weight.
  std::optional<std::uint32_t> concurrency;
  std::optional<std::uint32_t> weight;
  bool clear = false;  ///< The fleet gets what its file says again.
};

class LimitsStore {
 public:
  using Apply = std::function<void(const actors::RunLimits&)>;

  /// Reads the file, which may be missing, and applies it. Errc::corrupt says what is wrong in it.
  static Result<std::unique_ptr<LimitsStore>> open(std::filesystem::path file, Apply apply);

  struct State {
    actors::RunLimits limits;
    std::string revision;  ///< Of these limits: the same again is the same again.
  };
  [[nodiscard]] State state() const;

  struct Changed {
    State state;                     ///< As it is, or would be.
    std::vector<std::string> words;  ///< "fleet web-1: concurrency 10, was as its file says"
  };
  /// On disk, then in force. With `expected` not empty: Errc::conflict unless it lists the
  /// revision.
  Result<Changed> change(const LimitsChange& change, bool dry_run,
                         const std::function<bool(const std::string& revision)>& expected = {});

 private:
  LimitsStore(std::filesystem::path file, Apply apply)
      : file_(std::move(file)), apply_(std::move(apply)) {}

  const std::filesystem::path file_;
  const Apply apply_;
  mutable std::mutex mutex_;
  actors::RunLimits limits_;
};

}  // namespace muster::musterd
