#include "actors/ports/pack_sink.hpp"

#include "storage/schema/wire_generated.h"

namespace muster::actors {

void PackSink::part(const std::string& host, FramePtr frame,
                    std::function<void(const std::string&)> taken,
                    std::function<void(const std::string&)> refused) {
  Lane& lane = lane_of(host);
  lane.strand.post([this, &lane, frame = std::move(frame), taken = std::move(taken),
                    refused = std::move(refused)] {
    const auto* opened = wire::GetFrame(frame->data());
    const auto* pack = opened->body_as_CommitPack();
    const std::string run = opened->run() ? opened->run()->str() : "";
    std::string digest = pack->digest()->str();
    const auto whole = append(lane, run + "-" + std::to_string(opened->attempt()), *frame, digest);
    if (!whole) {
      refused(whole.error().message);
    } else if (*whole) {
      taken(digest);
    }
  });
}

Result<bool> PackSink::append(Lane& lane, const std::string& who, std::string_view frame,
                              const std::string& digest) {
  const auto* pack = wire::GetFrame(frame.data())->body_as_CommitPack();
  Progress& progress = lane.progress[who];
  if (progress.digest != digest) {
    if (!progress.digest.empty() && !packs_.has(progress.digest))
      (void)packs_.remove(progress.digest);  // begun and given up: nothing may pile up
    if (++progress.packs > kPacksPerAttempt) return fail(Errc::refused, "too many packs of " + who);
    progress.digest = digest;
  }
  std::string_view bytes;
  if (pack->bytes())
    bytes = {reinterpret_cast<const char*>(pack->bytes()->data()), pack->bytes()->size()};
  return packs_.append(digest, pack->offset(), pack->total(), bytes);
}

void PackSink::forget(const std::string& host, const std::string& run, std::uint32_t attempt) {
  Lane& lane = lane_of(host);
  lane.strand.post(
      [&lane, who = run + "-" + std::to_string(attempt)] { lane.progress.erase(who); });
}

void PackSink::stop() {
  for (Lane& lane : lanes_) lane.strand.stop();
}

}  // namespace muster::actors
