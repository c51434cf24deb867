// Root file systems. Image `host` is this machine's toolchain and nothing else of it: /usr and /opt are mounted into
// a small made root that has the links /bin /sbin /lib*, the mount points, muster-init and a made /etc.
//
// Made roots lie in images()/host-BOOT-KEY; the key follows what was copied (library cache, certificates, alternatives,
// muster-init), so that installing a package makes a new root and running sandboxes keep theirs. An OCI image (a layout or
// an archive, by skopeo and umoci) lies unpacked in images()/oci-DIGEST, whatever name it came under. Thread-safe.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/paths.hpp"

namespace muster::sandbox {

struct Image {
  std::filesystem::path rootfs;
  bool made = true;                    ///< Has our mount points.
  std::filesystem::path mount_points;  ///< To lay over it when it has not.
  std::vector<std::string> env = {};   ///< NAME=VALUE, as an OCI image says.
};

class Images {
 public:
  /// Images come from below `allowed` and from nowhere else: whoever writes a fleet file names them.
  Images(Paths paths, std::filesystem::path muster_init, std::vector<std::filesystem::path> allowed)
      : paths_(std::move(paths)), init_(std::move(muster_init)), allowed_(std::move(allowed)) {}

  /// Made roots of earlier boots, which no sandbox can be using. Once, at the start.
  void remove_old();
  /// `name`: host | dir:/PATH | tar:/PATH | oci:/PATH[:TAG]. What has to be made is made once.
  Result<Image> get(const std::string& name);
  /// Unpacks a tar of the agent's script and files once; the directory is readable by every sandbox.
  Result<std::filesystem::path> agent_bundle(const std::string& digest, const std::filesystem::path& tar);

 private:
  Result<Image> host();
  /// The real path of what `name` says after its scheme. Errc::refused: not below an allowed directory.
  [[nodiscard]] Result<std::filesystem::path> allowed_path(const std::string& name) const;
  Result<Image> over(const std::filesystem::path& rootfs);
  Result<Image> oci(const std::filesystem::path& path, const std::string& tag);
  Result<std::filesystem::path> unpacked(const std::filesystem::path& tar, const std::string& name);

  Paths paths_;
  std::filesystem::path init_;
  std::vector<std::filesystem::path> allowed_;
  std::map<std::string, std::string> digests_;  // of OCI images, by path, tag and time stamp
  std::mutex mutex_;
};

}  // namespace muster::sandbox
