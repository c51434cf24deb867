// Work in progress that a sandbox hands over before its end, and the begin of a later attempt with it. Both are packs
// of one commit on its base, judged as the last one is (pack.hpp).
//
// A taken one lies in data()/host/attempts/ID/checkpoint-NAME until the attempt is forgotten, or two newer ones are
// said; what an attempt begins with, in ID/resume, which its sandbox sees read-only.
#pragma once

#include <filesystem>
#include <string>

#include "sandboxd/mirror.hpp"
#include "sandboxd/plan.hpp"
#include "storage/base/blobs.hpp"

namespace muster::sandbox {

/// What muster-init said of one.
struct SaidCheckpoint {
  std::string head;
  std::string pack;  ///< Relative to the out directory.
};

/// Where the pack of a checkpoint lies that was said while the attempt ran, and of the last one, which its report names.
std::filesystem::path checkpoint_pack(const Places& places, const std::string& commit);
std::filesystem::path last_checkpoint_pack(const Places& places);
/// All that belongs to the former.
std::filesystem::path checkpoint_directory(const Places& places, const std::string& commit);

struct CheckpointJudge {
  const wire::SandboxSpecT& spec;
  const Places& places;
  std::filesystem::path git_dir;  ///< ensure_scratch_repository()
  const MirrorState& mirror;
};

/// Takes and judges it into `directory`. Errc::corrupt says what is wrong.
Result<wire::CheckpointT> take_checkpoint(const CheckpointJudge& judge, const SaidCheckpoint& said,
                                          const std::filesystem::path& directory);

/// Unpacks spec.resume where its sandbox will see it; then the attempt's base is the checkpoint's own. The objects.
Result<std::filesystem::path> unpack_resume(const CheckpointJudge& judge, const Blobs& blobs);

}  // namespace muster::sandbox
