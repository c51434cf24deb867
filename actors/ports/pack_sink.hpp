// Takes the packs of finished attempts, and the tars of their artefacts, part by part, into the pack store. On strands of its own,
// because the last part checks and syncs the whole; one host's always on the same. Events of that
// host pass through after() so that they are looked at only when the packs sent before them are
// durable.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "actors/ports/inflow.hpp"
#include "actors/ports/strand.hpp"
#include "storage/base/blobs.hpp"

namespace muster::actors {

class PackSink {
 public:
  /// Two of one attempt are usual, and again after each new session; many more are a host gone wrong.
  static constexpr unsigned kPacksPerAttempt = 16;
  static constexpr std::size_t kLanes = 4;

  explicit PackSink(Blobs& packs) : packs_(packs) {}

  /// `taken` is called when the pack is whole and durable, `refused` when the host broke the rules.
  /// Both on a strand of the sink.
  void part(const std::string& host, FramePtr frame,
            std::function<void(const std::string& digest)> taken,
            std::function<void(const std::string& why)> refused);
  /// Runs on a strand of the sink when everything of that host before it is done.
  void after(const std::string& host, std::function<void()> task) {
    lane_of(host).strand.post(std::move(task));
  }
  /// The attempt has ended on that host.
  void forget(const std::string& host, const std::string& run, std::uint32_t attempt);
  void stop();

 private:
  struct Progress {
    std::string digest;
    unsigned packs = 0;
  };

  struct Lane {
    std::map<std::string, Progress> progress;  // by run-attempt, on the strand
    Strand strand{"packs"};
  };

  Lane& lane_of(const std::string& host) { return lanes_[std::hash<std::string>()(host) % kLanes]; }
  Result<bool> append(Lane& lane, const std::string& who, std::string_view frame,
                      const std::string& digest);

  Blobs& packs_;
  std::array<Lane, kLanes> lanes_;
};

}  // namespace muster::actors
