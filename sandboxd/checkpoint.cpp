#include "sandboxd/checkpoint.hpp"

#include <sys/stat.h>

#include "sandboxd/pack.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPackBelow = "objects/pack/pack-muster.pack";

/// New, whatever an earlier daemon left there.
Result<void> make_empty(const fs::path& directory) {
  std::error_code error;
  fs::remove_all(directory, error);
  if (::mkdir(directory.c_str(), 0711) != 0) return fail_errno("mkdir " + directory.string(), errno);
  return {};
}

PackRequest checkpoint_request(const CheckpointJudge& judge, const fs::path& scratch) {
  PackRequest request;
  request.scratch = scratch;
  request.git_dir = judge.git_dir;
  request.mirror_objects = judge.mirror.objects;
  request.max_bytes = judge.spec.max_pack_bytes;
  request.manual = judge.spec.commit->manual;
  return request;
}

/// For the sandbox's user, who is nobody here.
Result<void> make_readable(const fs::path& objects) {
  for (const fs::path& directory : {objects, objects / "pack"})
    if (::chmod(directory.c_str(), 0755) != 0) return fail_errno("chmod " + directory.string(), errno);
  for (const char* name : {"pack-muster.pack", "pack-muster.idx"})
    if (::chmod((objects / "pack" / name).c_str(), 0444) != 0) return fail_errno("chmod " + std::string(name), errno);
  return {};
}

}  // namespace

fs::path checkpoint_directory(const Places& places, const std::string& commit) {
  return places.kept / ("checkpoint-" + commit.substr(0, 16));
}
fs::path checkpoint_pack(const Places& places, const std::string& commit) {
  return checkpoint_directory(places, commit) / kPackBelow;
}
fs::path last_checkpoint_pack(const Places& places) { return places.kept / "checkpoint-last" / kPackBelow; }

Result<wire::CheckpointT> take_checkpoint(const CheckpointJudge& judge, const SaidCheckpoint& said,
                                          const fs::path& directory) {
  if (!is_commit_id(said.head)) return fail(Errc::corrupt, "its name is not a commit id");
  if (auto made = make_empty(directory); !made) return tl::unexpected(made.error());
  PackRequest request = checkpoint_request(judge, directory);
  request.out = judge.places.out();
  request.relative = said.pack;
  request.base_sha = judge.mirror.base_sha;
  request.head_sha = said.head;
  const auto pack = check_pack(request);
  if (!pack) return tl::unexpected(pack.error());
  wire::CheckpointT checkpoint;
  checkpoint.commit = said.head;
  checkpoint.base = judge.mirror.base_sha;
  checkpoint.digest = pack->digest;
  checkpoint.bytes = pack->bytes;
  checkpoint.at_unix_ms = wall_clock_now().unix_ms;
  return checkpoint;
}

Result<fs::path> unpack_resume(const CheckpointJudge& judge, const Blobs& blobs) {
  const wire::CheckpointT& from = *judge.spec.resume;
  const fs::path directory = judge.places.kept / "resume";
  if (auto made = make_empty(directory); !made) return tl::unexpected(made.error());
  const fs::path blob = blobs.path(from.digest);
  PackRequest request = checkpoint_request(judge, directory);
  request.out = blob.parent_path();
  request.relative = blob.filename().string();
  request.base_sha = from.base;
  request.head_sha = from.commit;
  if (auto pack = check_pack(request); !pack) return tl::unexpected(pack.error());
  if (auto done = make_readable(directory / "objects"); !done) return tl::unexpected(done.error());
  return directory / "objects";
}

}  // namespace muster::sandbox
