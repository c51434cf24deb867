// How images are put on disk: beside their place, synced, and renamed, so that what is found is whole. Of image*.cpp.
#pragma once

#include <functional>

#include "sandboxd/image.hpp"

namespace muster::sandbox {

/// "oci:/PATH:TAG" taken apart; the tag may be missing, and only OCI images have one.
struct ImageName {
  std::string scheme, path, tag;
};
ImageName parse_image(const std::string& name);

/// `target`, made by `make` in a directory beside it unless it is there.
Result<std::filesystem::path> once(const std::filesystem::path& target,
                                   const std::function<Result<void>(const std::filesystem::path&)>& make);

/// Everything below is on disk when it returns.
Result<void> sync_all(const std::filesystem::path& directory);

/// Identifies a file's content for as long as nobody forges its times.
std::string stamp(const std::filesystem::path& path);

}  // namespace muster::sandbox
