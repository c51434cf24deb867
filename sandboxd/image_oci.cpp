// OCI images: skopeo finds, checks and copies (every blob against its digest), umoci unpacks the layers. Both are watched:
// an image that grows beyond its bound on disk, or takes the rest of the disk, is given up and removed.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include <nlohmann/json.hpp>

#include "sandboxd/caches.hpp"
#include "sandboxd/host_ops.hpp"
#include "sandboxd/image_build.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "storage/base/process.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr Duration kInspectTimeout{60'000};
constexpr Duration kOciUnpackTimeout{600'000};
constexpr std::size_t kMaxManifest = 4u << 20;

constexpr std::chrono::seconds kTagAge{60};  // a tag is asked for again after that
constexpr std::size_t kMaxTags = 10'000;
constexpr std::uint64_t kMinFree = 512u << 20;

std::map<std::string, std::string> tool_environment() {
  std::map<std::string, std::string> env = {
      {"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"LANG", "C.UTF-8"}, {"HOME", "/nonexistent"}};
  for (const char* name : {"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy",
                           "SSL_CERT_FILE", "SSL_CERT_DIR"})
    if (const char* value = std::getenv(name); value != nullptr) env[name] = value;
  return env;
}

Result<std::string> run_tool(std::vector<std::string> argv, Duration timeout,
                             std::function<bool()> give_up = {}) {
  ProcessSpec spec;
  spec.argv = std::move(argv);
  spec.env = tool_environment();
  spec.timeout = timeout;
  spec.max_output = kMaxManifest;
  spec.give_up = std::move(give_up);
  auto out = run_checked(spec);
  if (!out && out.error().code == Errc::not_found)
    return fail(Errc::refused,
                spec.argv[0] + " is not installed on this host: apt-get install " + spec.argv[0]);
  return out;
}

/// What is being made in one directory, and how large it may grow.
struct Growth {
  fs::path directory;
  std::uint64_t max_bytes;

  [[nodiscard]] bool too_large() const {
    return tree_bytes(directory, max_bytes) > max_bytes || free_bytes(directory) < kMinFree;
  }
  Result<std::string> run(std::vector<std::string> argv) const {
    bool over = false;
    auto done = run_tool(std::move(argv), kOciUnpackTimeout, [&] { return over = over || too_large(); });
    if (over || (done && too_large()))
      return fail(Errc::io, "it takes more than " + std::to_string(max_bytes) +
                                " bytes (max_image_bytes in sandboxd.yaml), or than this disk has");
    return done;
  }
};

/// As skopeo names it. The path has no colon: allowed directories and parse_image see to that.
std::string reference(const fs::path& path, const std::string& tag) {
  std::error_code error;
  const bool layout = fs::is_directory(path, error);
  return (layout ? "oci:" : "oci-archive:") + path.string() + (tag.empty() ? "" : ":" + tag);
}

Result<void> unpack(const std::string& from, const std::vector<std::string>& options, const fs::path& into,
                    std::uint64_t max_bytes) {
  const Growth growth{into, max_bytes};
  const std::string layout = (into / "layout").string() + ":image";
  std::vector<std::string> copy = {"skopeo", "--tmpdir", into.string()};
  // Who may put images into a directory is said by its permissions; a policy of signatures is for registries.
  std::error_code error;
  if (options.empty() || !fs::exists("/etc/containers/policy.json", error)) copy.emplace_back("--insecure-policy");
  copy.insert(copy.end(), {"copy", "--quiet"});
  copy.insert(copy.end(), options.begin(), options.end());
  copy.insert(copy.end(), {from, "oci:" + layout});
  if (auto copied = growth.run(std::move(copy)); !copied) return fail(copied.error(), "copy " + from);
  auto config = run_tool({"skopeo", "inspect", "--config", "oci:" + layout}, kInspectTimeout);
  if (!config) return fail(config.error(), "read " + from);
  if (auto written = write_file_durably(into / "config.json", *config, 0600); !written)
    return written;
  if (auto done = growth.run({"umoci", "raw", "unpack", "--image", layout, (into / "rootfs").string()}); !done)
    return fail(done.error(), "unpack " + from);
  if (auto removed = remove_tree(into / "layout"); !removed) return removed;
  return sync_all(into);
}

std::vector<std::string> env_of_config(const fs::path& config) {
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
  const auto one = lock_of("inspect " + key);
  const std::lock_guard lock(*one);
  std::string digest;
  {
    const std::lock_guard maps(mutex_);
    digest = digests_[key];
  }
  if (digest.empty()) {
    auto manifest = run_tool({"skopeo", "inspect", "--raw", from}, kInspectTimeout);
    if (!manifest) return fail(manifest.error(), "image " + from);
    digest = sha256_hex(*manifest);
    const std::lock_guard maps(mutex_);
    digests_[key] = digest;
  }
  return unpacked_oci(digest, from, {});
}

Result<Image> Images::unpacked_oci(const std::string& digest, const std::string& from,
                                   const std::vector<std::string>& options) {
  const auto directory = made(paths_.images() / ("oci-" + digest), [&](const fs::path& half) {
    return unpack(from, options, half, sources_.max_bytes);
  });
  if (!directory) return tl::unexpected(directory.error());
  auto image = over(*directory / "rootfs");
  if (!image) return image;
  image->env = env_of_config(*directory / "config.json");
  image->digest = digest;
  return image;
}

// ---- registries ----

Result<std::string> Images::digest_of(const ImageReference& reference) {
  if (!reference.digest.empty()) return reference.digest;
  const AllowedRegistry* allowed = allows(sources_.registries, reference);
  if (allowed == nullptr)
    return fail(Errc::refused, "image " + reference.text() + ": this host may fetch nothing from there "
                                                             "(registries in sandboxd.yaml)");
  const std::string name = reference.skopeo();
  const auto one = lock_of("inspect " + name);
  const std::lock_guard lock(*one);
  {
    const std::lock_guard maps(mutex_);
    const auto known = tags_.find(name);
    if (known != tags_.end() && std::chrono::steady_clock::now() - known->second.at < kTagAge)
      return known->second.digest;
  }
  std::vector<std::string> inspect = {"skopeo", "inspect", "--raw"};
  if (!allowed->tls) inspect.emplace_back("--tls-verify=false");
  std::error_code error;
  if (fs::exists(sources_.login, error)) inspect.insert(inspect.end(), {"--authfile", sources_.login.string()});
  inspect.push_back(name);
  const auto manifest = run_tool(std::move(inspect), kInspectTimeout);
  if (!manifest) return fail(manifest.error(), "image " + reference.text());
  const std::lock_guard maps(mutex_);
  if (tags_.size() > kMaxTags) tags_.clear();
  tags_[name] = {sha256_hex(*manifest), std::chrono::steady_clock::now()};
  return tags_[name].digest;
}

Result<std::string> Images::pin(const std::string& name) {
  auto reference = parse_reference(name);
  if (!reference) return name;
  auto digest = digest_of(*reference);
  if (!digest) return digest;
  reference->digest = std::move(*digest);
  return reference->text();
}

Result<Image> Images::registry(const ImageReference& reference) {
  auto digest = digest_of(reference);
  if (!digest) return tl::unexpected(digest.error());
  const AllowedRegistry* allowed = allows(sources_.registries, reference);
  if (allowed == nullptr)
    return fail(Errc::refused, "image " + reference.text() + ": this host may fetch nothing from there "
                                                             "(registries in sandboxd.yaml)");
  ImageReference exact = reference;
  exact.digest = *digest;
  std::vector<std::string> options = {allowed->tls ? "--src-tls-verify=true" : "--src-tls-verify=false"};
  std::error_code error;
  if (fs::exists(sources_.login, error)) options.insert(options.end(), {"--src-authfile", sources_.login.string()});
  return unpacked_oci(*digest, exact.skopeo(), options);
}

}  // namespace muster::sandbox
