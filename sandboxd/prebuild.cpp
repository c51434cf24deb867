#include "sandboxd/prebuild.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "sandboxd/caches.hpp"
#include "sandboxd/host_ops.hpp"
#include "sandboxd/image_build.hpp"
#include "sandboxd/repo_file.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "storage/base/process.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr Duration kCopyTimeout{600'000};
constexpr std::size_t kFamily = 16, kKey = 32;  // characters of each in a name
constexpr const char* kFormat = "prebuild 1";

/// Fields with their lengths: no two lists of fields give one text.
class Fields {
 public:
  void add(std::string_view field) { text_.append(std::to_string(field.size())).append(":").append(field); }
  [[nodiscard]] std::string digest(std::size_t size) const { return sha256_hex(text_).substr(0, size); }

 private:
  std::string text_;
};

Result<void> run_quietly(std::vector<std::string> argv) {
  ProcessSpec spec;
  spec.argv = std::move(argv);
  spec.env = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"LANG", "C.UTF-8"}};
  spec.timeout = kCopyTimeout;
  const auto done = run_checked(spec);
  if (!done) return tl::unexpected(done.error());
  return {};
}

/// Removes a file of the copy, never through a link: the tree is a sandbox's.
void remove_beneath(int top, const std::string& path) {
  const std::size_t slash = path.rfind('/');
  Fd parent;
  if (slash != std::string::npos) {
    open_how how{};
    how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
    parent = Fd(static_cast<int>(::syscall(SYS_openat2, top, path.substr(0, slash).c_str(), &how, sizeof how)));
    if (!parent.valid()) return;
  }
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  ::unlinkat(parent.valid() ? parent.get() : top, name.c_str(), 0);
}

/// What git checks out comes from the next checkout.
Result<void> strip_tracked(const fs::path& work, const fs::path& objects, const std::string& base_sha) {
  const auto tracked = tracked_files(objects, base_sha);
  if (!tracked) return tl::unexpected(tracked.error());
  const Fd top(::open(work.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!top.valid()) return fail_errno("open " + work.string(), errno);
  for (const auto& path : *tracked) remove_beneath(top.get(), path);
  return remove_tree(work / ".git");
}

std::int64_t seconds_of(const std::string& name) {
  return std::strtoll(name.c_str() + std::min(name.rfind('-') + 1, name.size()), nullptr, 10);
}

std::vector<std::string> names_below(const fs::path& directory, const std::string& prefix) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    if (std::string name = it->path().filename(); name.starts_with(prefix) && !name.ends_with(".half"))
      names.push_back(std::move(name));
  return names;
}

}  // namespace

PrebuildKey prebuild_key(const wire::SandboxSpecT& spec, const Environment& environment, const std::string& base_branch,
                         const std::string& image, const std::map<std::string, std::string>& secrets,
                         const std::vector<std::string>& locks) {
  Fields family, key;
  for (const auto& field : {std::string(kFormat), spec.url, base_branch, spec.image}) family.add(field);
  key.add(image);
  key.add(wire::EnumNameNetwork(spec.network));
  bool uses_bundle = false;
  const auto add_step = [&](const wire::StepT& step) {
    key.add("step");
    for (const auto& word : step.argv) {
      key.add(word);
      uses_bundle = uses_bundle || word.find("MUSTER_AGENT_DIR") != std::string::npos ||
                    word.find("/muster/agent") != std::string::npos;
    }
    key.add(step.if_exists);
  };
  for (const auto& step : environment.setup) add_step(step);
  for (const auto& step : spec.steps)
    if (step_kind(step->name) == StepKind::setup) add_step(*step);
  key.add("env");
  for (const auto& entry : environment.env) key.add(entry);
  for (const auto& entry : spec.env) key.add(entry->key + "=" + entry->value);
  key.add("secrets");  // what they left behind is for those who have them, too
  for (const auto& [name, value] : secrets) key.add(name + "=" + value);
  key.add("mounts");
  for (const auto& mount : environment.mounts) key.add(mount.source.string() + ":" + mount.target);
  key.add("locks");
  for (const auto& blob : locks) key.add(blob);
  if (uses_bundle) key.add(spec.agent_bundle);
  key.add(family.digest(kKey));
  return {family.digest(kFamily), key.digest(kKey)};
}

std::optional<fs::path> Prebuilds::take(const PrebuildKey& key, const Places& places, Instant now) {
  if (key.empty()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  std::string best;
  for (const auto& name : names_below(directory(), key.family + "-" + key.key + "-"))
    if (best.empty() || seconds_of(name) > seconds_of(best)) best = name;
  if (best.empty() || now.unix_ms / 1000 - seconds_of(best) > max_age_.count() / 1000) return std::nullopt;
  const fs::path link = places.run / "prebuild";
  ::unlink(link.c_str());
  if (::symlink(best.c_str(), link.c_str()) != 0) return std::nullopt;
  touch_cache(directory() / best);
  return directory() / best;
}

Result<bool> Prebuilds::keep(const PrebuildKey& key, const Places& places, const fs::path& objects,
                             const std::string& base_sha, Instant now, const std::function<bool()>& held) {
  {
    const std::lock_guard lock(mutex_);
    if (!making_.insert(key.key).second) return false;
  }
  const std::string name = key.family + "-" + key.key + "-" + std::to_string(now.unix_ms / 1000);
  const auto made = once(directory() / name, [&](const fs::path& half) -> Result<void> {
    for (const char* part : {"work", "home"}) {
      // The tree is a sandbox's, and still: nothing of it is followed, and what it owns becomes uid 1000's.
      if (auto done = run_quietly({"cp", "--archive", "--reflink=auto", "--", (places.writable() / part).string(),
                                   (half / part).string()});
          !done)
        return done;
    }
    if (!held()) return fail(Errc::conflict, "the sandbox ended meanwhile");
    if (auto done = strip_tracked(half / "work", objects, base_sha); !done) return done;
    const std::string owner = std::to_string(kAgentUid) + ":" + std::to_string(kAgentUid);
    if (auto done = run_quietly({"chown", "-hR", owner, "--", (half / "work").string(), (half / "home").string()}); !done)
      return done;
    return sync_all(half);
  });
  const std::lock_guard lock(mutex_);
  making_.erase(key.key);
  if (!made) return tl::unexpected(made.error());
  remove_replaced(key.family, name);
  return true;
}

std::set<std::string> Prebuilds::in_use() const {
  std::set<std::string> names;
  // Twice: a listing may miss what is renamed meanwhile, and a sandbox is, once, when it is handed over (warm.hpp).
  for (int pass = 0; pass < 2; ++pass) {
    std::error_code error;
    for (fs::directory_iterator it(paths_.runtime() / "s", error), end; !error && it != end; it.increment(error)) {
      std::error_code none;
      if (const fs::path name = fs::read_symlink(it->path() / "prebuild", none); !none) names.insert(name.string());
    }
  }
  return names;
}

/// Older ones of the family, as far as nobody uses them; the others go when the next one comes.
void Prebuilds::remove_replaced(const std::string& family, const std::string& newest) {
  const auto used = in_use();
  for (const auto& name : names_below(directory(), family + "-")) {
    if (name == newest || used.contains(name)) continue;
    if (auto done = remove_tree(directory() / name); !done) spdlog::error("{}", done.error().message);
  }
}

void Prebuilds::remove_halves() const {
  std::error_code error;
  for (fs::directory_iterator it(directory(), error), end; !error && it != end; it.increment(error))
    if (it->path().extension() == ".half") (void)remove_tree(it->path());
}

}  // namespace muster::sandbox
