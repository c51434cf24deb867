#include "tools/musterd/embedded_host.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace muster::musterd {
namespace {

namespace fs = std::filesystem;

/// Who holds that lock; 0: nobody.
pid_t lock_holder(const fs::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid() || ::flock(fd.get(), LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK) return 0;
  const auto text = read_file(path, 64);
  return text ? static_cast<pid_t>(std::strtol(text->c_str(), nullptr, 10)) : 0;
}

Fd open_process(pid_t pid) {
  return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

int signal_process(const Fd& process, int signal) {
  return static_cast<int>(::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0));
}

bool has_ended(const Fd& process, Duration limit) {
  pollfd waited{process.get(), POLLIN, 0};
  return ::poll(&waited, 1, static_cast<int>(limit.count())) > 0;
}

/// PATH and nothing else of ours.
std::vector<std::string> environment() {
  const char* path = std::getenv("PATH");
  return {std::string("PATH=") + (path != nullptr ? path : "/usr/sbin:/usr/bin:/sbin:/bin"),
          "LANG=C.UTF-8"};
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

/// RAII over posix_spawn's two objects.
struct SpawnPlan {
  SpawnPlan() {
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
};

/// Its own session, no signal blocked or ignored, and no descriptor of ours: a listening socket in
/// its hands would make the next musterd believe that this one lives.
void prepare(SpawnPlan& plan, const fs::path& log) {
  ::posix_spawn_file_actions_addopen(&plan.files, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&plan.files, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                     0640);
  ::posix_spawn_file_actions_adddup2(&plan.files, 1, 2);
  ::posix_spawn_file_actions_addclosefrom_np(&plan.files, 3);
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&plan.attributes, &none);
  ::posix_spawnattr_setsigdefault(&plan.attributes, &all);
  ::posix_spawnattr_setflags(&plan.attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return "exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

EmbeddedHost::EmbeddedHost(EmbeddedHostOptions options)
    : options_(std::move(options)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

EmbeddedHost::~EmbeddedHost() {
  stop(true);
}

pid_t EmbeddedHost::pid() const {
  const std::lock_guard lock(mutex_);
  return pid_;
}

unsigned EmbeddedHost::starts() const {
  const std::lock_guard lock(mutex_);
  return starts_;
}

bool EmbeddedHost::wait_for_starts(unsigned count, Duration limit) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [&] { return starts_ >= count; });
}

Result<void> EmbeddedHost::start() {
  if (!wake_.valid()) return fail_errno("eventfd", errno);
  if (auto begun = find_or_spawn(); !begun) return begun;
  watcher_ = std::thread([this] { watch(); });
  return {};
}

Result<void> EmbeddedHost::find_or_spawn() {
  const pid_t holder = lock_holder(options_.lock);
  if (holder <= 0) return spawn();
  Fd process = open_process(holder);
  // It may have ended since: then the watcher sees so, and starts another.
  if (!process.valid() && errno != ESRCH) return fail_errno("pidfd_open", errno);
  if (!process.valid()) return spawn();
  if (is_outdated()) {
    spdlog::info("embedded host: sandboxd lives as process {} with other arguments: ending it",
                 holder);
    end_process(process);
    return spawn();
  }
  spdlog::info("embedded host: sandboxd lives as process {}", holder);
  const std::lock_guard lock(mutex_);
  process_ = std::move(process);
  pid_ = holder;
  ours_ = false;
  return {};
}

std::string EmbeddedHost::identity() const {
  std::string text = options_.program.string();
  for (const std::string& argument : options_.arguments) text += "\n" + argument;
  return text;
}

bool EmbeddedHost::is_outdated() const {
  const auto noted = read_file(options_.started, 64u << 10);
  return noted && *noted != identity();  // Without a note, a person started it: leave it alone.
}

void EmbeddedHost::end_process(const Fd& process) const {
  signal_process(process, SIGTERM);
  if (has_ended(process, options_.stop_limit)) return;
  spdlog::warn("embedded host: sandboxd did not end within {}, killing it",
               to_string(options_.stop_limit));
  signal_process(process, SIGKILL);
  has_ended(process, options_.stop_limit);
}

Result<void> EmbeddedHost::spawn() {
  std::error_code error;
  if (auto noted = write_file_durably(options_.started, identity(), 0600); !noted) return noted;
  if (fs::file_size(options_.log, error) > kMaxLog && !error)
    fs::rename(options_.log, options_.log.string() + ".1", error);
  const std::uintmax_t before = fs::file_size(options_.log, error);
  log_begin_ = error ? 0 : before;
  SpawnPlan plan;
  prepare(plan, options_.log);
  std::vector<std::string> arguments{options_.program.string()};
  arguments.insert(arguments.end(), options_.arguments.begin(), options_.arguments.end());
  std::vector<std::string> variables = environment();
  pid_t child = 0;
  const int failed = ::posix_spawn(&child, options_.program.c_str(), &plan.files, &plan.attributes,
                                   pointers(arguments).data(), pointers(variables).data());
  if (failed != 0) return fail_errno("starting " + options_.program.string(), failed);
  spdlog::info("embedded host: started sandboxd as process {}, its log is {}", child,
               options_.log.string());
  const std::lock_guard lock(mutex_);
  process_ = open_process(child);
  pid_ = child;
  ours_ = true;
  ++starts_;
  changed_.notify_all();
  return {};
}

bool EmbeddedHost::pause(Duration duration) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, duration, [this] { return stopping_; });
}

void EmbeddedHost::watch() {
  Duration next_pause = options_.first_pause;
  for (;;) {
    const auto since = std::chrono::steady_clock::now();
    pollfd waited[2] = {{process_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    while (::poll(waited, 2, -1) < 0 && errno == EINTR) {
    }
    if ((waited[1].revents & POLLIN) != 0) return;
    int status = 0;
    const bool known = ours_ && ::waitpid(pid_, &status, 0) == pid_;
    spdlog::warn("embedded host: sandboxd (process {}) ended{}", pid_,
                 known ? " with " + how_it_ended(status) : "");
    if (const auto words = known && status != 0 ? last_words(options_.log, log_begin_) : ""; !words.empty())
      spdlog::warn("embedded host: it said: {}", words);
    {
      const std::lock_guard lock(mutex_);
      pid_ = 0;
    }
    if (std::chrono::steady_clock::now() - since >= options_.healthy)
      next_pause = options_.first_pause;
    do {
      if (!pause(next_pause)) return;
      next_pause = std::min(next_pause * 2, options_.longest_pause);
      const auto again = find_or_spawn();
      if (!again) spdlog::error("embedded host: {}", again.error().message);
    } while (pid() == 0);
  }
}

void EmbeddedHost::stop(bool keep) {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
  if (watcher_.joinable()) watcher_.join();
  if (keep || pid_ == 0) return;
  end_process(process_);
  if (ours_) ::waitpid(pid_, nullptr, WNOHANG);
  pid_ = 0;
}

std::string last_words(const fs::path& log, std::uintmax_t from) {
  constexpr std::uintmax_t kMost = 1024;
  std::ifstream file(log, std::ios::binary | std::ios::ate);
  const std::streamoff size = file.tellg();
  const auto end = static_cast<std::uintmax_t>(std::max<std::streamoff>(size, 0));
  if (end <= from) return "";
  const std::uintmax_t begin = std::max(from, end - std::min(end, kMost));
  std::string text(end - begin, '\0');
  file.seekg(static_cast<std::streamoff>(begin)).read(text.data(), static_cast<std::streamsize>(text.size()));
  if (begin > from) text.erase(0, std::min(text.find('\n'), text.size() - 1) + 1);  // A part of a line.
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

fs::path find_sandboxd() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (!error && ::access((self.parent_path() / "sandboxd").c_str(), X_OK) == 0)
    return self.parent_path() / "sandboxd";
  std::string path = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "";
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    const fs::path candidate = fs::path(path.substr(begin, end - begin)) / "sandboxd";
    if (candidate.is_absolute() && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    begin = end + 1;
  }
  return {};
}

}  // namespace muster::musterd
