#include "bench/load/target.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "storage/base/files.hpp"
#include "storage/base/paths.hpp"

namespace muster::load {

namespace fs = std::filesystem;

namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kStartLimit{60}, kStopLimit{40};
constexpr std::chrono::milliseconds kTargetLook{20};

/// Beside this program.
std::string find_musterd() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const fs::path beside = self.parent_path() / "musterd";
  return !error && fs::exists(beside, error) ? beside.string() : "musterd";
}

Result<fs::path> make_own_directory() {
  std::string name = "/var/tmp/muster-load.XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) return fail_errno("making " + name, errno);
  return fs::path(name);
}

[[noreturn]] void become(const std::vector<std::string>& command, const fs::path& log) {
  // It must not outlive us, however we end; and our Ctrl-C is ours.
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  ::setpgid(0, 0);
  const int in = ::open("/dev/null", O_RDONLY);
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(out, 2);
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

std::string last_lines(const fs::path& log) {
  constexpr std::size_t kShown = 2'000;
  const auto text = read_file(log);
  if (!text) return "";
  return text->size() > kShown ? text->substr(text->size() - kShown) : *text;
}

std::string how_it_ended(int status) {
  return WIFSIGNALED(status) ? "was ended by signal " + std::to_string(WTERMSIG(status))
                             : "ended with status " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

Result<std::unique_ptr<Target>> Target::open(const Options& options) {
  std::unique_ptr<Target> target(new Target());
  target->keep_ = options.keep;
  if (options.own_engine()) {
    if (auto launched = target->launch(options); !launched)
      return tl::unexpected<Error>(launched.error());
  } else if (!options.root.empty()) {
    if (auto found = target->find(fs::absolute(options.root), options); !found)
      return tl::unexpected<Error>(found.error());
  } else {
    const auto endpoint = cli::find_endpoint("", options.url);
    if (!endpoint) return fail(endpoint.error().code, endpoint.error().message);
    target->endpoint_ = *endpoint;
    target->link_ = options.link;
    target->ca_ = options.tls;
  }
  if (!options.link.empty()) target->link_ = options.link;
  if (!options.tls.empty()) {
    target->ca_ = options.tls;
    target->makes_certificates_ = false;
  }
  if (auto ready = target->wait_until_ready(); !ready) return tl::unexpected<Error>(ready.error());
  return target;
}

Result<void> Target::launch(const Options& options) {
  auto directory = make_own_directory();
  if (!directory) return tl::unexpected<Error>(directory.error());
  directory_ = *directory;
  const fs::path root = directory_ / "r", log = directory_ / "musterd.log";
  const std::string program = options.musterd.empty() ? find_musterd() : options.musterd;
  own_ = ::fork();
  if (own_ < 0) return fail_errno("fork", errno);
  if (own_ == 0)
    become(
        {program, "--root", root.string(), "--link-address", "127.0.0.1:0", "--log-level", "warn"},
        log);
  const auto deadline = SteadyClock::now() + kStartLimit;
  while (SteadyClock::now() < deadline) {
    if (const std::string dead = death(); !dead.empty()) return fail(Errc::unreachable, dead);
    if (fs::exists(Paths{root}.runtime() / "musterd.json")) return find(root, options);
    std::this_thread::sleep_for(kTargetLook);
  }
  return fail(Errc::timed_out, program + " does not come up: " + last_lines(log));
}

Result<void> Target::find(const fs::path& root, const Options&) {
  const Paths paths{root.lexically_normal()};
  const auto text = read_file(paths.runtime() / "musterd.json");
  if (!text)
    return fail(Errc::unreachable,
                "no musterd runs below " + root.string() + ": " + text.error().message);
  const auto where = nlohmann::json::parse(*text, nullptr, false);
  if (!where.is_object()) return fail(Errc::corrupt, "musterd.json is not what musterd writes");
  endpoint_.socket = where.value("socket", "");
  endpoint_.described = endpoint_.socket;
  if (const char* token = std::getenv("MUSTER_TOKEN")) endpoint_.token = token;
  link_ = "127.0.0.1:" + std::to_string(where.value("link_port", 0));
  pid_ = where.value("pid", 0);
  ca_ = paths.ca();
  makes_certificates_ = true;
  return {};
}

Result<void> Target::wait_until_ready() {
  const auto deadline = SteadyClock::now() + kStartLimit;
  for (;;) {
    cli::Client client(endpoint_);
    const auto answer = client.get("/healthz/ready");
    if (answer) return {};
    if (const std::string dead = death(); !dead.empty()) return fail(Errc::unreachable, dead);
    if (SteadyClock::now() > deadline || own_ == 0)
      return fail(answer.error().code, answer.error().message);
    std::this_thread::sleep_for(kTargetLook);
  }
}

Result<storage::TlsFiles> Target::certificate(const std::string& host) const {
  if (makes_certificates_) return storage::ensure_host_certificate(ca_.string(), host);
  storage::TlsFiles files{ca_ / "ca.pem", ca_ / "hosts" / (host + ".pem"),
                          ca_ / "hosts" / (host + ".key")};
  for (const std::string* file : {&files.ca, &files.certificate, &files.key})
    if (::access(file->c_str(), R_OK) != 0)
      return fail(Errc::not_found,
                  *file + " can't be read: make it with `musterd host add " + host + "`");
  return files;
}

Result<fs::path> Target::repositories_directory() {
  if (directory_.empty()) {
    auto made = make_own_directory();
    if (!made) return made;
    directory_ = *made;
  }
  return directory_ / "repositories";
}

Resources Target::resources() const {
  Resources now;
  if (pid_ == 0) return now;
  const std::string proc = "/proc/" + std::to_string(pid_);
  std::ifstream status(proc + "/status");
  for (std::string line; std::getline(status, line);) {
    const auto kib = [&] { return std::strtod(line.c_str() + line.find(':') + 1, nullptr); };
    if (line.starts_with("VmRSS:")) now.memory = kib() * 1'024;
    if (line.starts_with("VmHWM:")) now.memory_peak = kib() * 1'024;
  }
  std::ifstream stat(proc + "/stat");
  std::string text;
  std::getline(stat, text);
  // After the name, which may hold anything: state, then numbers; user and system time are the
  // 12th and 13th of what follows.
  std::istringstream fields(text.substr(std::min(text.rfind(')') + 2, text.size())));
  std::string field;
  double ticks = 0;
  int at = 1;
  for (; at <= 13 && fields >> field; ++at)
    if (at >= 12) ticks += std::strtod(field.c_str(), nullptr);
  if (at > 13) now.cpu_s = ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return now;
}

std::string Target::death() {
  if (own_ <= 0) return "";
  int status = 0;
  if (::waitpid(own_, &status, WNOHANG) != own_) return "";
  own_ = 0;
  return "musterd " + how_it_ended(status) + ": " + last_lines(directory_ / "musterd.log");
}

Target::~Target() {
  if (own_ > 0) {
    ::kill(own_, SIGTERM);
    const auto deadline = SteadyClock::now() + kStopLimit;
    while (death().empty() && own_ > 0) {
      if (SteadyClock::now() > deadline) {
        ::kill(own_, SIGKILL);
        ::waitpid(own_, nullptr, 0);
        break;
      }
      std::this_thread::sleep_for(kTargetLook);
    }
  }
  std::error_code ignored;
  if (!directory_.empty() && !keep_) fs::remove_all(directory_, ignored);
}

}  // namespace muster::load
