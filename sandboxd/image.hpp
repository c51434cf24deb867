// Root file systems. Image `host` is this machine's toolchain and nothing else of it: /usr and /opt are mounted into
// a small made root that has the links /bin /sbin /lib*, the mount points, muster-init and a made /etc.
//
// Made roots lie in images()/host-BOOT-KEY; the key follows what was copied (library cache, certificates, alternatives,
// muster-init), so that installing a package makes a new root and running sandboxes keep theirs. Thread-safe.
#pragma once

#include <filesystem>
#include <mutex>
#include <string>

#include "storage/base/error.hpp"
#include "storage/base/paths.hpp"

namespace muster::sandbox {

struct Image {
  std::filesystem::path rootfs;
  bool made = true;                    ///< Has our mount points.
  std::filesystem::path mount_points;  ///< To lay over it when it has not.
};

class Images {
 public:
  Images(Paths paths, std::filesystem::path muster_init)
      : paths_(std::move(paths)), init_(std::move(muster_init)) {}

  /// Made roots of earlier boots, which no sandbox can be using. Once, at the start.
  void remove_old();
  /// `name`: host | dir:/PATH | tar:/PATH. What has to be made is made once.
  Result<Image> get(const std::string& name);
  /// Unpacks a tar of the agent's script and files once; the directory is readable by every sandbox.
  Result<std::filesystem::path> agent_bundle(const std::string& digest, const std::filesystem::path& tar);

 private:
  Result<Image> host();
  Result<Image> over(const std::filesystem::path& rootfs);
  Result<std::filesystem::path> unpacked(const std::filesystem::path& tar, const std::string& name);

  Paths paths_;
  std::filesystem::path init_;
  std::mutex mutex_;
};

}  // namespace muster::sandbox
