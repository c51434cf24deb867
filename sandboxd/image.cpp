#include "sandboxd/image.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/caches.hpp"
#include "sandboxd/host_ops.hpp"
#include "sandboxd/image_build.hpp"
#include "sandboxd/spec.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "storage/base/process.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr Duration kUnpackTimeout{600'000};
constexpr std::size_t kMaxKnown = 10'000;  // names of images, which repositories choose

constexpr const char* kPasswd =
    "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
    "agent:x:1000:1000:agent:/home/agent:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
constexpr const char* kGroup = "root:x:0:\ntty:x:5:\nagent:x:1000:\nnogroup:x:65534:\n";
constexpr const char* kHosts = "127.0.0.1 localhost muster\n::1 localhost ip6-localhost muster\n";
constexpr const char* kNsswitch =
    "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n";

/// Copied from the host's /etc when they are there: without these, libraries, certificates and commands that are
/// links through /etc would be missing. Nothing here is secret on any system.
constexpr const char* kCopied[] = {"ld.so.cache", "alternatives",  "ssl/certs", "ca-certificates.conf",
                                   "services",    "protocols",     "mime.types", "ssl/openssl.cnf"};

// Nothing here is synced one by one: the root of image `host` is made anew after a boot, and what is unpacked is
// synced whole before it gets its name.

Result<void> make_plain_directory(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail(Errc::io, "mkdir " + path.string() + ": " + error.message());
  return {};
}

Result<void> write_text(const fs::path& path, std::string_view text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid() || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return fail_errno("write " + path.string(), errno);
  return {};
}


/// The first part of this boot's id: what was made and not synced in an earlier one is not trusted.
std::string boot() { return read_file("/proc/sys/kernel/random/boot_id", 64).value_or("boot").substr(0, 8); }

Result<void> make_etc(const fs::path& etc) {
  if (auto made = make_plain_directory(etc); !made) return made;
  for (const auto& [name, text] :
       {std::pair{"passwd", kPasswd}, {"group", kGroup}, {"hosts", kHosts}, {"nsswitch.conf", kNsswitch},
        {"hostname", "muster\n"}, {"resolv.conf", ""}})
    if (auto written = write_text(etc / name, text); !written) return written;
  for (const char* name : kCopied) {
    const fs::path from = fs::path("/etc") / name;
    std::error_code error;
    if (!fs::exists(from, error)) continue;
    if (auto made = make_plain_directory((etc / name).parent_path()); !made) return made;
    fs::copy(from, etc / name, fs::copy_options::recursive | fs::copy_options::copy_symlinks, error);
    if (error) return fail(Errc::io, "copy " + from.string() + ": " + error.message());
  }
  return {};
}

/// Directories that mounts of the OCI configuration cover, and muster-init.
Result<void> make_mount_points(const fs::path& root, const fs::path& init) {
  for (const char* name : {"proc", "sys", "dev", "tmp", "work", "home/agent", "muster/in",
                           "muster/out", "muster/objects", "muster/agent", "muster/checkpoint", "repositories"})
    if (auto made = make_plain_directory(root / name); !made) return made;
  for (std::size_t i = 0; i < kMaxOtherRepositories; ++i)
    if (auto made = make_plain_directory(root / "muster/others" / std::to_string(i)); !made) return made;
  std::error_code error;
  fs::copy_file(init, root / "muster/init", fs::copy_options::overwrite_existing, error);
  if (error) return fail(Errc::io, "copy " + init.string() + ": " + error.message());
  fs::permissions(root / "muster/init", fs::perms(0555), error);
  return {};
}

Result<void> make_host_root(const fs::path& root, const fs::path& init) {
  if (auto made = make_mount_points(root, init); !made) return made;
  for (const char* name : {"usr", "opt", "run", "var", "root", "mnt"})
    if (auto made = make_plain_directory(root / name); !made) return made;
  std::error_code error;
  fs::create_symlink("/tmp", root / "var/tmp", error);
  for (const char* name : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}) {
    const fs::path link = fs::path("/") / name;
    if (fs::is_symlink(link, error)) fs::create_symlink(fs::read_symlink(link), root / name, error);
  }
  if (!fs::is_symlink(root / "bin", error))
    return fail(Errc::refused, "/bin is not a link into /usr on this machine: image host needs a merged "
                               "/usr (Debian: install usrmerge)");
  return make_etc(root / "etc");
}

/// Everybody may read; what was executable stays so. Links are not followed.
Result<void> open_to_all(const fs::path& top) {
  std::error_code error;
  for (fs::recursive_directory_iterator it(top, error), end; !error && it != end; it.increment(error)) {
    if (it->is_symlink(error)) continue;
    const bool run = it->is_directory(error) ||
                     (it->status(error).permissions() & fs::perms::owner_exec) != fs::perms::none;
    fs::permissions(it->path(), run ? fs::perms(0755) : fs::perms(0644), error);
  }
  if (error) return fail(Errc::io, "open " + top.string() + ": " + error.message());
  return {};
}

Result<void> untar(const fs::path& tar, const fs::path& into) {
  ProcessSpec spec;
  spec.argv = {"tar", "--extract", "--file", tar.string(), "--directory", into.string(),
               "--no-same-owner", "--delay-directory-restore"};
  spec.env = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"LANG", "C.UTF-8"}};
  spec.timeout = kUnpackTimeout;
  if (auto done = run_checked(spec); !done) return fail(done.error(), "unpack " + tar.string());
  return sync_all(into);
}

}  // namespace

std::string stamp(const fs::path& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return "-";
  return std::to_string(info.st_size) + "." + std::to_string(info.st_mtim.tv_sec) + "." +
         std::to_string(info.st_mtim.tv_nsec);
}

Result<void> sync_all(const fs::path& directory) {
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::syncfs(fd.get()) != 0) return fail_errno("sync " + directory.string(), errno);
  return {};
}

Result<fs::path> once(const fs::path& target, const std::function<Result<void>(const fs::path&)>& make) {
  std::error_code error;
  if (fs::is_directory(target, error)) {
    touch_cache(target);
    return target;
  }
  const fs::path half = target.string() + ".half";
  if (auto removed = remove_tree(half); !removed) return tl::unexpected(removed.error());
  if (auto made = make_plain_directory(half); !made) return tl::unexpected(made.error());
  if (Result<void> made = make(half); !made) {
    (void)remove_tree(half);
    return tl::unexpected(made.error());
  }
  if (::rename(half.c_str(), target.c_str()) != 0)
    return fail_errno("rename to " + target.string(), errno);
  return target;
}

void Images::remove_old() {
  std::error_code error;
  for (fs::directory_iterator it(paths_.images(), error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    const bool of_boots = name.starts_with("host-") || name.starts_with("points-");
    if ((of_boots && name.find("-" + boot() + "-") == std::string::npos) || name.ends_with(".half"))
      (void)remove_tree(it->path());
  }
}

std::shared_ptr<std::mutex> Images::lock_of(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (locks_.size() > kMaxKnown)
    std::erase_if(locks_, [](const auto& known) { return known.second.use_count() == 1; });
  auto& entry = locks_[what];
  if (!entry) entry = std::make_shared<std::mutex>();
  return entry;
}

Result<fs::path> Images::made(const fs::path& target, const Make& make) {
  const auto one = lock_of(target.string());
  const std::lock_guard lock(*one);
  return once(target, make);
}

Result<Image> Images::get(const std::string& name) {
  if (name == "host") return host();
  if (const auto reference = parse_reference(name)) return registry(*reference);
  const ImageName asked = parse_image(name);
  const auto path = allowed_path(asked.path);
  if (!path) return tl::unexpected(path.error());
  std::error_code error;
  if (asked.scheme == "oci") return oci(*path, asked.tag);
  if (name.starts_with("dir:")) {
    if (!fs::is_directory(*path, error))
      return fail(Errc::not_found, "image " + name + ": no such directory on this host");
    return over(*path);
  }
  if (name.starts_with("tar:")) {
    if (!fs::is_regular_file(*path, error))
      return fail(Errc::not_found, "image " + name + ": no such file on this host");
    const std::string key = "tar-" + sha256_hex(path->string() + stamp(*path)).substr(0, 16);
    auto rootfs = made(paths_.images() / key, [&](const fs::path& half) { return untar(*path, half); });
    if (!rootfs) return tl::unexpected(rootfs.error());
    return over(*rootfs);
  }
  return fail(Errc::refused, "image " + name + " is not supported");
}

ImageName parse_image(const std::string& name) {
  const std::size_t colon = name.find(':');
  ImageName parsed{name.substr(0, colon), colon == std::string::npos ? "" : name.substr(colon + 1), ""};
  const std::size_t tag = parsed.path.rfind(':');
  if (parsed.scheme != "oci" || tag == std::string::npos || parsed.path.find('/', tag) != std::string::npos)
    return parsed;
  parsed.tag = parsed.path.substr(tag + 1);
  parsed.path.resize(tag);
  return parsed;
}

Result<fs::path> Images::allowed_path(const std::string& name) const {
  std::error_code error;
  const fs::path path = fs::weakly_canonical(name, error);
  std::string directories;
  for (const auto& allowed : sources_.directories) {
    const fs::path inner = path.lexically_relative(fs::weakly_canonical(allowed, error));
    if (!inner.empty() && *inner.begin() != ".." && inner != ".") return path;
    directories += (directories.empty() ? "" : ", ") + allowed.string();
  }
  return fail(Errc::refused, "image " + name + " is not below one of this host's image_directories (" +
                                 directories + ")");
}

Result<Image> Images::host() {
  std::string key = stamp(init_);
  for (const char* name : kCopied) key += "," + stamp(fs::path("/etc") / name);
  auto root = made(paths_.images() / ("host-" + boot() + "-" + sha256_hex(key).substr(0, 16)),
                   [&](const fs::path& half) { return make_host_root(half, init_); });
  if (!root) return fail(root.error(), "make the image of this host");
  return Image{*root, true, {}};
}

Result<Image> Images::over(const fs::path& rootfs) {
  auto points = made(paths_.images() / ("points-" + boot() + "-" + sha256_hex(stamp(init_)).substr(0, 16)),
                     [&](const fs::path& half) { return make_mount_points(half, init_); });
  if (!points) return fail(points.error(), "make mount points");
  return Image{rootfs, false, *points};
}

Result<fs::path> Images::agent_bundle(const std::string& digest, const fs::path& tar) {
  return made(paths_.host() / "bundles" / digest, [&](const fs::path& half) -> Result<void> {
    if (auto done = untar(tar, half); !done) return done;
    return open_to_all(half);
  });
}

}  // namespace muster::sandbox
