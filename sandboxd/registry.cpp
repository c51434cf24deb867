#include "sandboxd/registry.hpp"

#include <algorithm>

#include "storage/base/ids.hpp"

namespace muster::sandbox {

namespace {

constexpr std::string_view kScheme = "docker://", kDigest = "@sha256:", kPlain = "http://";
constexpr std::size_t kMaxHost = 255, kMaxRepository = 255, kMaxTag = 128;

bool is_lower(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

/// A DNS name or an IPv4 address, and perhaps a port.
bool is_host(std::string_view text) {
  const std::string_view name = text.substr(0, text.find(':'));
  const std::string_view port = text.substr(std::min(name.size() + 1, text.size()));
  if (name.empty() || text.size() > kMaxHost || !(is_lower(name.front()) || is_upper(name.front()))) return false;
  if (text.size() > name.size() && (port.empty() || port.size() > 5)) return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return is_lower(c) || is_upper(c) || c == '.' || c == '-'; }) &&
         std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Parts of lower-case letters, digits and single separators between them.
bool is_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxRepository || !is_lower(name.back())) return false;
  char before = '/';
  for (const char c : name) {
    if (!is_lower(c) && std::string_view("._-/").find(c) == std::string_view::npos) return false;
    if (before == '/' && !is_lower(c)) return false;
    if ((c == '/' || c == '.') && !is_lower(before)) return false;
    before = c;
  }
  return true;
}

bool is_tag(std::string_view tag) {
  return !tag.empty() && tag.size() <= kMaxTag && tag[0] != '.' && tag[0] != '-' &&
         std::all_of(tag.begin(), tag.end(), [](char c) {
           return is_lower(c) || is_upper(c) || c == '.' || c == '-' || c == '_';
         });
}

}  // namespace

std::string ImageReference::skopeo() const {
  return std::string(kScheme) + host + "/" + name + (digest.empty() ? ":" + tag : std::string(kDigest) + digest);
}

std::string ImageReference::text() const {
  return std::string(kScheme) + host + "/" + name + (tag.empty() ? "" : ":" + tag) +
         (digest.empty() ? "" : std::string(kDigest) + digest);
}

Result<ImageReference> parse_reference(std::string_view text) {
  const auto wrong = [&] {
    return fail(Errc::invalid, "\"" + std::string(text.substr(0, 300)) +
                                   "\" is not docker://HOST/NAME[:TAG][@sha256:DIGEST]");
  };
  if (!text.starts_with(kScheme)) return wrong();
  std::string_view rest = text.substr(kScheme.size());
  ImageReference image;
  if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
    if (!rest.substr(at).starts_with(kDigest)) return wrong();
    image.digest = rest.substr(at + kDigest.size());
    if (!is_sha256_hex(image.digest)) return wrong();
    rest = rest.substr(0, at);
  }
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return wrong();
  image.host = rest.substr(0, slash);
  rest.remove_prefix(slash + 1);
  const std::size_t colon = rest.find(':');
  image.name = rest.substr(0, colon);
  if (colon != std::string_view::npos) {
    image.tag = rest.substr(colon + 1);
    if (!is_tag(image.tag)) return wrong();
  } else if (image.digest.empty()) {
    image.tag = "latest";
  }
  if (!is_host(image.host) || !is_name(image.name)) return wrong();
  return image;
}

std::string docker_reference(std::string_view name) {
  const std::string_view first = name.substr(0, name.find('/'));
  const bool has_host = first.size() < name.size() &&
                        (first.find('.') != std::string_view::npos ||
                         first.find(':') != std::string_view::npos || first == "localhost");
  const bool official = first.size() == name.size();
  return std::string(kScheme) + (has_host ? "" : official ? "docker.io/library/" : "docker.io/") +
         std::string(name);
}

Result<AllowedRegistry> parse_registry(std::string_view text) {
  AllowedRegistry registry;
  std::string_view rest = text;
  if (rest.starts_with(kPlain)) {
    registry.tls = false;
    rest.remove_prefix(kPlain.size());
  }
  registry.host = rest.substr(0, rest.find('/'));
  registry.prefix = rest.substr(std::min(registry.host.size() + 1, rest.size()));
  if (is_host(registry.host) && (registry.prefix.empty() || is_name(registry.prefix))) return registry;
  return fail(Errc::invalid, "\"" + std::string(text) + "\" is not HOST[:PORT][/PREFIX], or http:// before it");
}

const AllowedRegistry* allows(const std::vector<AllowedRegistry>& allowed, const ImageReference& image) {
  const auto found = std::find_if(allowed.begin(), allowed.end(), [&](const AllowedRegistry& registry) {
    return registry.host == image.host &&
           (registry.prefix.empty() || image.name == registry.prefix ||
            image.name.starts_with(registry.prefix + "/"));
  });
  return found == allowed.end() ? nullptr : &*found;
}

}  // namespace muster::sandbox
