// Takes the packs of finished attempts, part by part, into the pack store. On its own strand,
// because the last part checks and syncs the whole. Events of the same session pass through after()
// so that they are looked at only when the packs sent before them are durable.
#pragma once

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
  /// More packs of one attempt are a host gone wrong.
  static constexpr unsigned kPacksPerAttempt = 4;

  explicit PackSink(Blobs& packs) : packs_(packs) {}

  /// `taken` is called when the pack is whole and durable, `refused` when the host broke the rules.
  /// Both on the sink's strand.
  void part(FramePtr frame, std::function<void(const std::string& digest)> taken,
            std::function<void(const std::string& why)> refused);
  /// Runs on the sink's strand when everything before it is done.
  void after(std::function<void()> task) { strand_.post(std::move(task)); }
  /// The attempt has ended.
  void forget(const std::string& run, std::uint32_t attempt);
  void stop() { strand_.stop(); }

 private:
  struct Progress {
    std::string digest;
    unsigned packs = 0;
  };

  Result<bool> append(const std::string& who, std::string_view frame, const std::string& digest);

  Blobs& packs_;
  std::map<std::string, Progress> progress_;  // by run-attempt, on the strand
  Strand strand_{"packs"};
};

}  // namespace muster::actors
