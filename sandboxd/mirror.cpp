#include "sandboxd/mirror.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <git2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <sstream>

#include "sandboxd/caches.hpp"
#include "sandboxd/spec.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "storage/base/process.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr Duration kListTimeout{60'000};
constexpr Duration kFetchTimeout{30 * 60'000};
constexpr std::size_t kMaxRefBytes = 256u << 20;
constexpr int kLinkAttempts = 5;

constexpr const char* kMirrorConfig =
    "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
    "\tlogallrefupdates = false\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n";

/// The refs of a remote that matter: branches, and which of them HEAD names.
struct Refs {
  std::string head;                            // a branch's name
  std::map<std::string, std::string> branches; // name -> commit
};

constexpr std::string_view kHeads = "refs/heads/";

// ---- a repository on this machine, read without git ----

/// Where its HEAD and objects are: the path itself, or its .git.
Result<fs::path> git_directory(const fs::path& path) {
  std::error_code error;
  for (const fs::path& candidate : {path, path / ".git"})
    if (fs::is_regular_file(candidate / "HEAD", error) && fs::is_directory(candidate / "objects", error))
      return candidate;
  return fail(Errc::not_found, "no git repository at " + path.string());
}

/// Only what needs nothing but its own object files can be linked.
bool is_plain(const fs::path& git_dir) {
  std::error_code error;
  for (const char* special : {"objects/info/alternates", "shallow", "reftable", "commondir"})
    if (fs::exists(git_dir / special, error)) return false;
  // Through a link its owner could lend us the objects of somebody else.
  return !fs::is_symlink(git_dir / "objects", error) && !fs::is_symlink(git_dir / "objects/pack", error);
}

void read_packed_refs(const fs::path& git_dir, Refs& refs) {
  const auto text = read_file(git_dir / "packed-refs", kMaxRefBytes);
  if (!text) return;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    const std::string_view view = line;
    if (view.size() > 41 && view[40] == ' ' && is_commit_id(view.substr(0, 40)) &&
        view.substr(41).starts_with(kHeads))
      refs.branches[std::string(view.substr(41 + kHeads.size()))] = std::string(view.substr(0, 40));
  }
}

void read_loose_refs(const fs::path& git_dir, Refs& refs) {
  const fs::path top = git_dir / "refs/heads";
  std::error_code error;
  for (fs::recursive_directory_iterator it(top, error), end; !error && it != end; it.increment(error)) {
    if (it->is_symlink(error) || !it->is_regular_file(error)) continue;
    const auto text = read_file(it->path(), 4096);
    if (text && text->size() >= 40 && is_commit_id(text->substr(0, 40)))
      refs.branches[it->path().lexically_relative(top).string()] = text->substr(0, 40);
  }
}

Result<Refs> local_refs(const fs::path& git_dir) {
  const auto head = read_file(git_dir / "HEAD", 4096);
  if (!head) return fail(Errc::unreachable, "can't read " + (git_dir / "HEAD").string());
  Refs refs;
  const std::string prefix = "ref: " + std::string(kHeads);
  if (head->starts_with(prefix)) refs.head = head->substr(prefix.size(), head->find('\n') - prefix.size());
  read_packed_refs(git_dir, refs);
  read_loose_refs(git_dir, refs);  // loose ones win
  return refs;
}

/// Links one regular file; what else it may be is no object.
Result<void> link_object(int from, int to, const char* name, std::string_view what) {
  if (::linkat(from, name, to, name, 0) != 0) {
    if (errno == EEXIST) return {};
    if (errno == ENOENT) return fail(Errc::conflict, "objects move while they are read");
    return fail_errno("link " + std::string(what) + "/" + name, errno);
  }
  struct stat info{};
  if (::fstatat(to, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode) &&
      (info.st_mode & S_IROTH) != 0)
    return {};
  ::unlinkat(to, name, 0);
  return fail(Errc::refused, std::string(what) + "/" + name + " is not an object file that all may read");
}

bool is_object_name(std::string_view directory, std::string_view name) {
  if (directory == "pack") return name.ends_with(".pack") || name.ends_with(".idx");
  return name.size() == 38 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Result<void> link_directory(int from_objects, int to_objects, const std::string& name) {
  const Fd from(::openat(from_objects, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!from.valid()) return {};
  ::mkdirat(to_objects, name.c_str(), 0755);
  const Fd to(::openat(to_objects, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!to.valid()) return fail_errno("open the mirror's " + name, errno);
  DIR* listing = ::fdopendir(::openat(from.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (listing == nullptr) return fail_errno("list " + name, errno);
  Result<void> linked;
  // A pack is found by its index: link packs before indexes, by two passes.
  for (const bool indexes : {false, true}) {
    ::rewinddir(listing);
    while (const dirent* entry = ::readdir(listing)) {
      const std::string_view file = entry->d_name;
      if (!is_object_name(name, file) || file.ends_with(".idx") != indexes || !linked) continue;
      linked = link_object(from.get(), to.get(), entry->d_name, name);
    }
    if (name != "pack") break;
  }
  ::closedir(listing);
  return linked;
}

Result<void> link_objects(const fs::path& from, const fs::path& to) {
  const Fd from_fd(::open(from.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Fd to_fd(::open(to.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!from_fd.valid() || !to_fd.valid()) return fail_errno("open " + from.string(), errno);
  static constexpr char kHex[] = "0123456789abcdef";
  for (const char high : std::string_view(kHex))
    for (const char low : std::string_view(kHex))
      if (auto linked = link_directory(from_fd.get(), to_fd.get(), {high, low}); !linked) return linked;
  return link_directory(from_fd.get(), to_fd.get(), "pack");
}

// ---- any other repository, by git ----

std::map<std::string, std::string> fetch_environment(const Paths& paths) {
  auto env = git_environment();
  // upload-pack of a local repository forgets our -c options, but not the global file (safe.directory).
  env["GIT_CONFIG_GLOBAL"] = (paths.host() / "gitconfig").string();
  for (const char* name : {"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy",
                           "SSL_CERT_FILE", "SSL_CERT_DIR"})
    if (const char* value = std::getenv(name); value != nullptr) env[name] = value;
  return env;
}

Error unreachable(Error error, const std::string& url) {
  return {Errc::unreachable, "fetch " + url + ": " + error.message};
}

Result<Refs> remote_refs(const Paths& paths, const std::string& url) {
  ProcessSpec spec;
  spec.argv = git_command();
  for (const char* arg : {"ls-remote", "--symref", "--", url.c_str(), "HEAD", "refs/heads/*"})
    spec.argv.push_back(arg);
  spec.env = fetch_environment(paths);
  spec.timeout = kListTimeout;
  spec.max_output = kMaxRefBytes;
  const auto said = run_checked(spec);
  if (!said) return tl::unexpected(unreachable(said.error(), url));
  Refs refs;
  std::istringstream lines(*said);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    const std::string left = line.substr(0, tab), name = line.substr(tab + 1);
    if (left.starts_with("ref: refs/heads/") && name == "HEAD") refs.head = left.substr(16);
    if (is_commit_id(left) && name.starts_with(kHeads)) refs.branches[name.substr(kHeads.size())] = left;
  }
  return refs;
}

/// Always into a pack (unpackLimit): git syncs packs, and not loose objects.
Result<void> git_fetch(const Paths& paths, const fs::path& mirror, const std::string& url) {
  ProcessSpec spec;
  spec.argv = git_command();
  // Findings of fsck that are old sins and not attacks don't stop a fetch.
  for (const char* old : {"zeroPaddedFilemode", "missingSpaceBeforeDate", "badTimezone", "missingEmail",
                          "badDate", "badDateOverflow", "missingNameBeforeEmail"})
    spec.argv.insert(spec.argv.end(), {"-c", "fetch.fsck." + std::string(old) + "=warn"});
  for (const char* arg : {"-c", "fetch.fsckObjects=true", "-c", "fetch.unpackLimit=1", "fetch", "--quiet",
                          "--no-tags", "--no-write-fetch-head", "--force", "--no-recurse-submodules",
                          "--no-auto-maintenance", "--", url.c_str(), "+refs/heads/*:refs/heads/*"})
    spec.argv.push_back(arg);
  spec.env = fetch_environment(paths);
  spec.env["GIT_DIR"] = mirror.string();
  spec.timeout = kFetchTimeout;
  const auto done = run_checked(spec);
  if (!done) return tl::unexpected(unreachable(done.error(), url));
  return {};
}

constexpr const char* kMirrorHead = "ref: refs/heads/muster-none\n";

Result<void> write_plainly(const fs::path& path, std::string_view text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd.valid() || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return fail_errno("write " + path.string(), errno);
  return {};
}

/// Whole; what a power failure left of one is made again around the same objects.
bool is_mirror(const fs::path& directory) {
  return read_file(directory / "HEAD", 256).value_or("") == kMirrorHead &&
         read_file(directory / "config", 4096).value_or("") == kMirrorConfig;
}

Result<void> make_mirror(const fs::path& directory, const std::string& canonical) {
  std::error_code error;
  for (const char* name : {"objects/info", "objects/pack", "refs/heads"}) {
    fs::create_directories(directory / name, error);
    if (error) return fail(Errc::io, "mkdir " + (directory / name).string() + ": " + error.message());
  }
  if (auto done = write_plainly(directory / "config", kMirrorConfig); !done) return done;
  if (auto done = write_plainly(directory / "url", canonical + "\n"); !done) return done;
  return write_plainly(directory / "HEAD", kMirrorHead);
}

bool has_commit(const fs::path& objects, const std::string& sha) {
  git_odb* odb = nullptr;
  git_oid id{};
  if (git_oid_fromstr(&id, sha.c_str()) != 0 || git_odb_open(&odb, objects.c_str()) != 0) return false;
  const bool found = git_odb_exists(odb, &id) == 1;
  git_odb_free(odb);
  return found;
}

Result<void> link_or_fetch(const Paths& paths, const fs::path& directory, const std::string& url,
                           const fs::path& local) {
  if (!local.empty()) {
    Result<void> linked;
    for (int attempt = 0; attempt < kLinkAttempts; ++attempt) {
      linked = link_objects(local / "objects", directory / "objects");
      if (linked || linked.error().code != Errc::conflict) break;
    }
    if (linked) return {};  // else: another file system, or objects that not all may read
  }
  return git_fetch(paths, directory, url);
}

}  // namespace

Mirrors::Mirrors(Paths paths, unsigned concurrent_fetches)
    : paths_(std::move(paths)), free_fetches_(std::max(1u, concurrent_fetches)) {}

std::shared_ptr<Mirrors::Mirror> Mirrors::mirror(const std::string& key) {
  const std::lock_guard lock(mutex_);
  auto& entry = mirrors_[key];
  if (!entry) entry = std::make_shared<Mirror>();
  return entry;
}

Result<MirrorState> Mirrors::update(const std::string& url, const std::string& base_branch) {
  const auto name = parse_repository(url, "/");
  if (!name) return fail(Errc::invalid, name.error().message);
  const std::string key = sha256_hex(name->canonical_url);
  const auto entry = mirror(key);
  const std::lock_guard one_at_a_time(entry->mutex);
  return fetch(paths_.mirrors() / key, name->fetch_url, name->canonical_url, base_branch);
}

Result<MirrorState> Mirrors::fetch(const fs::path& directory, const std::string& url,
                                   const std::string& canonical, const std::string& base_branch) {
  fs::path local;
  if (url.starts_with("/"))
    if (const auto git_dir = git_directory(url); git_dir && is_plain(*git_dir)) local = *git_dir;
  auto refs = local.empty() ? remote_refs(paths_, url) : local_refs(local);
  if (!refs) return tl::unexpected(refs.error());

  MirrorState state;
  state.objects = directory / "objects";
  state.base_branch = base_branch.empty() ? refs->head : base_branch;
  const auto branch = refs->branches.find(state.base_branch);
  if (branch == refs->branches.end())
    return fail(Errc::not_found, refs->branches.empty() ? url + " has no commit yet"
                                 : state.base_branch.empty()
                                     ? url + ": its HEAD names no branch"
                                     : url + " has no branch " + state.base_branch);
  state.base_sha = branch->second;

  // `updating` stands while objects come in: whoever finds it knows that some may be missing.
  const fs::path updating = directory / "updating";
  std::error_code error;
  if (!is_mirror(directory))
    if (auto made = make_mirror(directory, canonical); !made) return tl::unexpected(made.error());
  touch_cache(directory);
  state.hit = !fs::exists(updating, error) && has_commit(state.objects, state.base_sha);
  if (state.hit) return state;

  if (auto marked = write_plainly(updating, ""); !marked) return tl::unexpected(marked.error());
  {
    std::unique_lock lock(mutex_);
    fetch_free_.wait(lock, [&] { return free_fetches_ > 0; });
    --free_fetches_;
  }
  auto fetched = link_or_fetch(paths_, directory, url, local);
  {
    const std::lock_guard lock(mutex_);
    ++free_fetches_;
  }
  fetch_free_.notify_one();
  if (!fetched) return tl::unexpected(fetched.error());
  if (!has_commit(state.objects, state.base_sha))
    return fail(Errc::unreachable, url + ": the commit " + state.base_sha + " did not arrive");
  ::unlink(updating.c_str());
  return state;
}

std::string Mirrors::key(const std::string& url) {
  const auto name = parse_repository(url, "/");
  return name ? sha256_hex(name->canonical_url) : "";
}

std::vector<std::string> Mirrors::warm(std::size_t limit) const {
  std::vector<std::pair<fs::file_time_type, std::string>> found;
  std::error_code error;
  for (fs::directory_iterator it(paths_.mirrors(), error), end; !error && it != end; it.increment(error))
    if (auto url = read_file(it->path() / "url", 8192); url && !url->empty())
      found.emplace_back(fs::last_write_time(it->path(), error), url->substr(0, url->size() - 1));
  std::sort(found.rbegin(), found.rend());
  std::vector<std::string> urls;
  for (auto& [time, url] : found)
    if (urls.size() < limit) urls.push_back(std::move(url));
  return urls;
}

}  // namespace muster::sandbox
