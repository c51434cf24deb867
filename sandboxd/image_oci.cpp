// OCI images: skopeo finds, checks and copies (every blob against its digest), umoci unpacks the
// layers.
#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "sandboxd/host_ops.hpp"
#include "sandboxd/image_build.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "storage/base/process.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr Duration kInspectTimeout{60'000};
constexpr Duration kUnpackTimeout{600'000};
constexpr std::size_t kMaxManifest = 4u << 20;

Result<std::string> run_tool(std::vector<std::string> argv, Duration timeout) {
  ProcessSpec spec;
  spec.argv = std::move(argv);
  spec.env = {
      {"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"LANG", "C.UTF-8"}, {"HOME", "/nonexistent"}};
  spec.timeout = timeout;
  spec.max_output = kMaxManifest;
  auto out = run_checked(spec);
  if (!out && out.error().code == Errc::not_found)
    return fail(Errc::refused,
                spec.argv[0] + " is not installed on this host: apt-get install " + spec.argv[0]);
  return out;
}

/// As skopeo names it. The path has no colon: allowed directories and parse_image see to that.
std::string reference(const fs::path& path, const std::string& tag) {
  std::error_code error;
  const bool layout = fs::is_directory(path, error);
  return (layout ? "oci:" : "oci-archive:") + path.string() + (tag.empty() ? "" : ":" + tag);
}

Result<void> unpack(const std::string& from, const fs::path& into) {
  // --insecure-policy: a policy of signatures is for registries; who may put images here is said by
  // permissions.
  const std::string layout = (into / "layout").string() + ":image";
  if (auto copied =
          run_tool({"skopeo", "--insecure-policy", "copy", "--quiet", from, "oci:" + layout},
                   kUnpackTimeout);
      !copied)
    return fail(copied.error(), "copy " + from);
  auto config = run_tool({"skopeo", "inspect", "--config", "oci:" + layout}, kInspectTimeout);
  if (!config) return fail(config.error(), "read " + from);
  if (auto written = write_file_durably(into / "config.json", *config, 0600); !written)
    return written;
  if (auto done =
          run_tool({"umoci", "raw", "unpack", "--image", layout, (into / "rootfs").string()},
                   kUnpackTimeout);
      !done)
    return fail(done.error(), "unpack " + from);
  if (auto removed = remove_tree(into / "layout"); !removed) return removed;
  return sync_all(into);
}

std::vector<std::string> environment_of(const fs::path& config) {
  std::vector<std::string> env;
  const auto text = read_file(config, kMaxManifest);
  const auto json = nlohmann::json::parse(text.value_or(""), nullptr, false);
  const auto pointer = nlohmann::json::json_pointer("/config/Env");
  if (!json.is_object() || !json.contains(pointer) || !json[pointer].is_array()) return env;
  for (const auto& entry : json[pointer])
    if (entry.is_string()) env.push_back(entry.get<std::string>());
  return env;
}

}  // namespace

Result<Image> Images::oci(const fs::path& path, const std::string& tag) {
  const std::string from = reference(path, tag);
  std::error_code error;
  if (!fs::exists(path, error))
    return fail(Errc::not_found, "image " + from + ": not on this host");
  const std::string key =
      from + " " + stamp(fs::is_directory(path, error) ? path / "index.json" : path);
  std::string& digest = digests_[key];
  if (digest.empty()) {
    auto manifest = run_tool({"skopeo", "inspect", "--raw", from}, kInspectTimeout);
    if (!manifest) return fail(manifest.error(), "image " + from);
    digest = sha256_hex(*manifest);
  }
  const auto made = once(paths_.images() / ("oci-" + digest),
                         [&](const fs::path& half) { return unpack(from, half); });
  if (!made) return tl::unexpected(made.error());
  auto image = over(*made / "rootfs");
  if (image) image->env = environment_of(*made / "config.json");
  return image;
}

}  // namespace muster::sandbox
