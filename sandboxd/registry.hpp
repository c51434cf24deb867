// Names of images in registries: docker://HOST[:PORT]/NAME[:TAG][@sha256:DIGEST], and what this host allows of them.
// Pure; fetching is images' work (image_oci.cpp).
#pragma once

#include <string>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::sandbox {

struct ImageReference {
  std::string host;    ///< registry.acme.dev:5000
  std::string name;    ///< team/image
  std::string tag;     ///< Counts only without a digest.
  std::string digest;  ///< 64 hexadecimal digits; empty: whatever the tag says.

  /// As skopeo takes it, which refuses tag and digest together.
  [[nodiscard]] std::string skopeo() const;
  [[nodiscard]] std::string text() const;
};

/// Errc::invalid for what is no reference; an absent tag is `latest`.
Result<ImageReference> parse_reference(std::string_view text);

/// What people write after FROM ("node:20", "ghcr.io/acme/x") with scheme, host and name as above.
std::string docker_reference(std::string_view name);

/// A registry, or a part of one, that this host may fetch from: HOST[:PORT][/PREFIX]; http://… without TLS.
struct AllowedRegistry {
  std::string host, prefix;
  bool tls = true;
};
Result<AllowedRegistry> parse_registry(std::string_view text);

/// The entry that allows the image, or nullptr. A prefix covers whole parts of a name.
const AllowedRegistry* allows(const std::vector<AllowedRegistry>& allowed, const ImageReference& image);

}  // namespace muster::sandbox
