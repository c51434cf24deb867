// Root file systems. Image `host` is this machine's toolchain and nothing else of it: /usr and /opt are mounted into
// a small made root that has the links /bin /sbin /lib*, the mount points, muster-init and a made /etc.
//
// Made roots lie in images()/host-BOOT-KEY; the key follows what was copied (library cache, certificates, alternatives,
// muster-init), so that installing a package makes a new root and running sandboxes keep theirs. An OCI image (a layout, an
// archive, or from a registry, by skopeo and umoci) lies unpacked in images()/oci-DIGEST, whatever name it came under.
// Thread-safe; what several attempts ask for at once is made by one of them, and nobody waits for another image.
#pragma once

#include <chrono>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "sandboxd/registry.hpp"
#include "storage/base/error.hpp"
#include "storage/base/paths.hpp"

namespace muster::sandbox {

struct Image {
  std::filesystem::path rootfs;
  bool made = true;                    ///< Has our mount points.
  std::filesystem::path mount_points;  ///< To lay over it when it has not.
  std::vector<std::string> env = {};   ///< NAME=VALUE, as an OCI image says.
  std::string digest = {};             ///< Of the manifest of an OCI image.
};

/// Whoever writes a fleet file or a devcontainer.json names images: from here they come and from nowhere else.
struct ImageSources {
  std::vector<std::filesystem::path> directories;
  std::vector<AllowedRegistry> registries;
  std::filesystem::path login;               ///< skopeo's authfile, where it exists.
  std::uint64_t max_bytes = 16ull << 30;     ///< Of one image, fetched and unpacked.
};

class Images {
 public:
  Images(Paths paths, std::filesystem::path muster_init, ImageSources sources)
      : paths_(std::move(paths)), init_(std::move(muster_init)), sources_(std::move(sources)) {}

  /// Made roots of earlier boots, which no sandbox can be using. Once, at the start.
  void remove_old();
  /// `name`: host | dir:/PATH | tar:/PATH | oci:/PATH[:TAG] | docker://HOST/NAME[:TAG][@sha256:DIGEST].
  Result<Image> get(const std::string& name);
  /// The same image under a name that will mean it for ever: a tag of a registry becomes its digest.
  Result<std::string> pin(const std::string& name);
  /// Unpacks a tar of the agent's script and files once; the directory is readable by every sandbox.
  Result<std::filesystem::path> agent_bundle(const std::string& digest, const std::filesystem::path& tar);

 private:
  using Make = std::function<Result<void>(const std::filesystem::path&)>;
  struct TagDigest {
    std::string digest;
    std::chrono::steady_clock::time_point at;
  };

  Result<Image> host();
  /// The real path of what `name` says after its scheme. Errc::refused: not below an allowed directory.
  [[nodiscard]] Result<std::filesystem::path> allowed_path(const std::string& name) const;
  Result<Image> over(const std::filesystem::path& rootfs);
  Result<Image> oci(const std::filesystem::path& path, const std::string& tag);
  Result<Image> registry(const ImageReference& reference);
  Result<std::string> digest_of(const ImageReference& reference);
  /// Unpacked in images()/oci-DIGEST, copied by skopeo from `from` when it is not there.
  Result<Image> unpacked_oci(const std::string& digest, const std::string& from,
                             const std::vector<std::string>& options);
  /// `target`, made by one caller while the others wait for it.
  Result<std::filesystem::path> made(const std::filesystem::path& target, const Make& make);
  std::shared_ptr<std::mutex> lock_of(const std::string& what);

  Paths paths_;
  std::filesystem::path init_;
  ImageSources sources_;
  std::mutex mutex_;                                         // of the maps, held for moments
  std::map<std::string, std::shared_ptr<std::mutex>> locks_; // one for each thing that is made
  std::map<std::string, std::string> digests_;               // of OCI images, by path, tag and time stamp
  std::map<std::string, TagDigest> tags_;                    // of registries
};

}  // namespace muster::sandbox
