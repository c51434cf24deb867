// The work of bench/sandbox (see there): makes sandboxes in three ways, and streams logs out of
// some.
//
//   bench-sandbox ROOT SANDBOXD MUSTER_INIT STAMP CYCLES LOG_MIB LOGS [PART]
//
// PART: ways, warm or logs; without it all of them.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/sandbox_engine.hpp"
#include "sandboxd/attempt.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "storage/base/log_frame.hpp"
#include "storage/base/packing.hpp"
#include "storage/base/process.hpp"

namespace muster::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr unsigned kAtATime = 16;
constexpr unsigned kMadeAhead = 2;
constexpr std::uint64_t kLeastPrinted = 8u << 20;  ///< The shorter of the two files that steps print over and over.

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "error: %s\n", why.c_str());
  std::exit(1);
}

double ms(Clock::duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

/// CLOCK_MONOTONIC in ns is what steady_clock counts.
Clock::time_point stamped(const std::string& text) {
  return Clock::time_point(std::chrono::nanoseconds(std::strtoll(text.c_str(), nullptr, 10)));
}

std::string run_or_give_up(std::vector<std::string> argv) {
  ProcessSpec spec;
  spec.argv = std::move(argv);
  spec.env = {{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
              {"GIT_AUTHOR_NAME", "b"},
              {"GIT_AUTHOR_EMAIL", "b@b"},
              {"GIT_COMMITTER_NAME", "b"},
              {"GIT_COMMITTER_EMAIL", "b@b"}};
  auto out = run_checked(spec);
  if (!out) give_up(out.error().message);
  return *out;
}

/// What one sandbox took.
struct Cycle {
  double first_ms = 0;  ///< Until its first instruction.
  double agent_ms = 0;  ///< Until the agent's first instruction, in its workspace.
  double all_ms = 0;    ///< Until nothing is left of it.
};

double percentile(std::vector<double> values, double part) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1,
                         static_cast<std::size_t>(part * static_cast<double>(values.size())))];
}

std::vector<double> column(const std::vector<Cycle>& cycles, double Cycle::*which) {
  std::vector<double> values;
  for (const Cycle& cycle : cycles) values.push_back(cycle.*which);
  return values;
}

/// `count` calls of `one` with their numbers, `threads` at a time.
std::vector<Cycle> repeat(unsigned count, unsigned threads,
                          const std::function<Cycle(unsigned)>& one) {
  std::vector<Cycle> cycles(count);
  std::atomic<unsigned> next{0};
  std::vector<std::thread> workers;
  for (unsigned t = 0; t < threads; ++t)
    workers.emplace_back([&] {
      for (unsigned n = next++; n < count; n = next++) cycles[n] = one(n);
    });
  for (auto& worker : workers) worker.join();
  return cycles;
}

/// Of this process, which is the engine's side while logs stream.
double own_cpu_ms() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto ms_of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_usec) / 1e3;
  };
  return ms_of(usage.ru_utime) + ms_of(usage.ru_stime);
}

/// Of another one, in steps of 10 ms: fields 14 and 15 of its stat.
double cpu_ms_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string word, name;
  std::getline(file, name, ')');
  double ticks = 0;
  for (int field = 3; field <= 15 && file >> word; ++field)
    if (field >= 14) ticks += std::strtod(word.c_str(), nullptr);
  return ticks * 1000 / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

/// What the steps of stream() print.
enum class Print { lines, noise };

class Bench {
 public:
  explicit Bench(char** argv)
      : root_(argv[1]),
        sandboxd_(argv[2]),
        init_(argv[3]),
        cycles_(static_cast<unsigned>(std::atoi(argv[5]))),
        log_bytes_(std::strtoull(argv[6], nullptr, 10) << 20),
        logs_(static_cast<unsigned>(std::atoi(argv[7]))) {
    make_repository();
    make_agent(argv[4]);
    sandbox::HostConfig config;
    config.paths = Paths{root_ / "host"};
    config.muster_init = init_;
    auto host = sandbox::Host::open(config);
    if (!host) give_up(host.error().message);
    host_ = std::move(*host);
    const auto image = host_->images.get("host");
    if (!image) give_up(image.error().message);
    rootfs_ = image->rootfs;
    auto store = storage::RunLog::open(root_ / "logs", {.max_bytes_per_attempt = 4ull << 30});
    if (!store) give_up(store.error().message);
    engine_ = std::make_unique<BenchEngine>(root_ / "ca", std::move(*store));
    start_daemon();
    engine_->wait_connected();
  }
  ~Bench() { end_daemon(); }

  void run(std::string_view part) {
    const auto wanted = [part](std::string_view one) { return part.empty() || part == one; };
    std::printf("%-24s %10s %10s %10s %10s %10s %10s\n", "ms", "first p50", "first p99",
                "agent p50", "agent p99", "all p50", "all p99");
    (void)repeat(2, 1, [this](unsigned n) { return cold(n); });  // warms caches for everybody
    if (wanted("ways")) ways();
    if (wanted("warm")) pooled();
    if (wanted("logs")) logs();
    std::printf("%s\n", json_.dump().c_str());
  }

 private:
  void ways() {
    for (const unsigned threads : {1u, kAtATime}) {
      const std::string suffix = threads == 1 ? "" : "_" + std::to_string(threads);
      measure("runc" + suffix, threads, [this](unsigned n) { return raw_runc(n); });
      if (::access("/usr/bin/bwrap", X_OK) == 0)
        measure("bwrap" + suffix, threads, [this](unsigned n) { return bwrap(n); });
      measure("cold" + suffix, threads, [this](unsigned n) { return cold(n); });
    }
    json_["cold_ratio"] = ratio("cold_first_p50_ms", "runc_first_p50_ms");
    json_["cold_all_ratio"] = ratio("cold_p50_ms", "runc_p50_ms");
  }
  void pooled() {
    const std::string ahead = std::to_string(kMadeAhead);
    restart("warm_pool: {max: " + ahead + ", per_environment: " + ahead + "}\n");
    for (; pooled_ < 3; ++pooled_) (void)cold(0);  // asked for, so that some are made ahead
    measure("warm", 1, [this](unsigned) { return warm(); });
    json_["warm_to_command_p50_ms"] = json_.value("warm_agent_p50_ms", 0.0);
    json_["warm_hits"] = static_cast<double>(hits_) / cycles_;
    restart("");
  }
  void logs() {
    json_["lines_ratio"] = lines_ratio();
    stream("log", Print::lines, 1, log_bytes_);
    stream("noise", Print::noise, 1, log_bytes_);
    stream("logs", Print::lines, logs_, log_bytes_ / logs_);
    json_["sandboxd_rss_mb"] = peak_mb();
  }

  void make_repository() {
    run_or_give_up({"bash", "-ec",
                    "mkdir -p " + root_.string() + "/work && cd " + root_.string() +
                        "/work && git init -q -b main . && for i in $(seq 50); do mkdir -p d$i && "
                        "seq 200 > d$i/file; done && git add . && git commit -qm first && "
                        "git clone -q --bare . " +
                        root_.string() + "/acme.git"});
  }
  /// A bundle with the stamp and a piece of log to print.
  void make_agent(const std::string& stamp) {
    const fs::path agent = root_ / "agent";
    fs::create_directories(agent);
    fs::copy_file(stamp, agent / "stamp");
    std::ofstream lines(agent / "lines");
    for (std::uint64_t i = 0; i < 160'000; ++i)
      lines << "[" << i << "/160000] Building CXX object lib/target_" << i * 7919 % 10007
            << ".dir/src/module_" << i * 104729 % 65537 << ".cpp.o\n";
    lines.close();
    run_or_give_up(
        {"tar", "-C", agent.string(), "-cf", (root_ / "agent.tar").string(), "stamp", "lines"});
    const auto bytes = read_file(root_ / "agent.tar", 64u << 20);
    const fs::path blobs = root_ / "host/var/lib/muster/host/blobs";
    fs::create_directories(blobs);
    bundle_ = sha256_hex(*bytes);
    if (auto put = Blobs(blobs).put(bundle_, *bytes); !put) give_up(put.error().message);
  }
  void end_daemon() {
    ::kill(daemon_, SIGTERM);
    ::waitpid(daemon_, nullptr, 0);
  }
  void restart(const std::string& settings) {
    engine_->expect_another();
    end_daemon();
    fs::create_directories(root_ / "host/etc/muster");
    std::ofstream(root_ / "host/etc/muster/sandboxd.yaml") << settings;
    start_daemon();
    engine_->wait_connected();
  }
  void start_daemon() {
    const auto tls = storage::ensure_host_certificate((root_ / "ca").string(), "bench");
    if (!tls) give_up(tls.error().message);
    std::vector<std::string> args = {sandboxd_,
                                     "--root",
                                     (root_ / "host").string(),
                                     "--name",
                                     "bench",
                                     "--engine",
                                     "127.0.0.1:" + std::to_string(engine_->port()),
                                     "--slots",
                                     std::to_string(std::max(logs_, kAtATime) + 4),
                                     "--tls-ca",
                                     tls->ca,
                                     "--tls-cert",
                                     tls->certificate,
                                     "--tls-key",
                                     tls->key,
                                     "--init",
                                     init_};
    daemon_ = ::fork();
    if (daemon_ != 0) return;
    const int log = ::open((root_ / "sandboxd.log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    ::dup2(log, 1);
    ::dup2(log, 2);
    std::vector<char*> pointers;
    for (auto& arg : args) pointers.push_back(arg.data());
    pointers.push_back(nullptr);
    ::execv(pointers[0], pointers.data());
    ::_exit(127);
  }

  wire::SandboxSpecT spec(std::vector<std::string> argv, std::uint64_t max_log) {
    wire::SandboxSpecT spec;
    spec.run = "BENCH" + std::to_string(++numbers_);
    spec.attempt = 1;
    spec.fleet = "bench";
    spec.repository = "bench/acme";
    spec.url = (root_ / "acme.git").string();
    spec.branch = "muster/bench";
    spec.image = "host";
    spec.memory_bytes = 1u << 30;
    spec.disk_bytes = 4ull << 30;
    spec.context_json = "{}";
    spec.agent_bundle = bundle_;
    spec.max_log_bytes = max_log;
    spec.max_pack_bytes = 16u << 20;
    spec.commit = std::make_unique<wire::CommitT>();
    spec.commit->message = "Bench\n";
    spec.commit->author_name = "Muster";
    spec.commit->author_email = "muster@localhost";
    auto step = std::make_unique<wire::StepT>();
    step->name = "agent";
    step->argv = std::move(argv);
    spec.steps.push_back(std::move(step));
    return spec;
  }

  void measure(const std::string& name, unsigned threads,
               const std::function<Cycle(unsigned)>& one) {
    const auto cycles = repeat(cycles_, threads, one);
    std::printf("%-24s", name.c_str());
    for (const auto& [which, key] : {std::pair{&Cycle::first_ms, "_first"},
                                     {&Cycle::agent_ms, "_agent"},
                                     {&Cycle::all_ms, ""}})
      for (const auto& [part, p] : {std::pair{0.5, "_p50_ms"}, {0.99, "_p99_ms"}}) {
        const double value = percentile(column(cycles, which), part);
        std::printf(" %10.1f", value);
        if (value > 0) json_[name + key + p] = rounded(value);
      }
    std::printf("\n");
    std::fflush(stdout);
  }
  static double rounded(double value) { return std::round(value * 100) / 100; }
  double ratio(const char* a, const char* b) {
    return rounded(json_[a].get<double>() / json_[b].get<double>());
  }

  // ---- the three ways ----

  /// `runc run` under the configuration that sandboxd writes; its directories are made beforehand,
  /// and not counted.
  Cycle raw_runc(unsigned) {
    const auto wanted = spec({"/muster/agent/stamp"}, 1u << 20);
    const std::string id = sandbox::sandbox_id(wanted.run, 1);
    const sandbox::Places places(Paths{root_ / "raw"}, id);
    sandbox::PlanFacts facts;
    facts.paths = Paths{root_ / "raw"};
    facts.cgroup_parent = "muster-bench";
    facts.uid_base = 1u << 30;
    facts.rootfs = rootfs_;
    facts.objects = root_ / "acme.git/objects";
    facts.agent_dir = root_ / "agent";
    facts.has_opt = fs::is_directory("/opt");
    fs::create_directories(places.in());
    for (const char* name : {"work", "home", "tmp", "out"})
      fs::create_directories(places.writable() / name);
    auto config = nlohmann::ordered_json::parse(sandbox::oci_config(wanted, facts));
    config["process"]["args"] = {"/muster/agent/stamp"};
    std::ofstream(places.config()) << config.dump();
    const auto begin = Clock::now();
    const std::string said = run_or_give_up({"runc", "--root", (root_ / "raw/runc").string(), "run",
                                             "--bundle", places.run.string(), id});
    Cycle cycle{ms(stamped(said) - begin), 0, ms(Clock::now() - begin)};
    fs::remove_all(places.run);
    fs::remove_all(places.kept);
    return cycle;
  }

  Cycle bwrap(unsigned) {
    const auto begin = Clock::now();
    const std::string said =
        run_or_give_up({"bwrap",     "--unshare-all", "--die-with-parent",
                        "--ro-bind", "/usr",          "/usr",
                        "--symlink", "usr/bin",       "/bin",
                        "--symlink", "usr/lib",       "/lib",
                        "--symlink", "usr/lib64",     "/lib64",
                        "--proc",    "/proc",         "--dev",
                        "/dev",      "--ro-bind",     (root_ / "agent").string(),
                        "/agent",    "/agent/stamp"});
    return {ms(stamped(said) - begin), 0, ms(Clock::now() - begin)};
  }

  /// A whole attempt, from the Start frame to the finished event: mirror, workspace, stamp, commit,
  /// teardown.
  Cycle cold(unsigned) {
    const auto wanted = spec({"/muster/agent/stamp"}, 1u << 20);
    const auto begin = Clock::now();
    const auto begin_wall = wall_clock_now().unix_ms;
    engine_->start(wanted);
    const auto [report, at] = engine_->wait_report(wanted.run);
    if (report->outcome != wire::Outcome::unchanged)
      give_up("an attempt ended otherwise: " + report->reason + " " + report->message);
    const auto& agent = *report->steps.at(0);
    return {static_cast<double>(first_instruction(wanted.run) - begin_wall),
            ms(stamped(agent.tail) - begin), ms(at - begin)};
  }
  /// As cold, with the daemon's pool full again before.
  Cycle warm() {
    engine_->wait_warm(pooled_++, kMadeAhead);
    const Cycle cycle = cold(0);
    const auto [report, at] = engine_->wait_report("BENCH" + std::to_string(numbers_.load()));
    if (report->warm_sandbox == wire::Reuse::hit) ++hits_;
    return cycle;
  }
  /// When process 1 of that sandbox began, by its first word in the log (wall clock, ms).
  std::int64_t first_instruction(const std::string& run) {
    for (int i = 0; i < 1000; ++i) {
      const auto log = engine_->logs.read({run, 1}, 0, 1u << 20).value_or("");
      std::string_view rest = log;
      LogFrame frame;
      if (take_log_frame(rest, frame).value_or(false))
        return nlohmann::json::parse(frame.bytes).value("started_ms", std::int64_t{0});
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    give_up("the log of " + run + " does not come");
  }

  static void wait_for(const fs::path& file) {
    for (int i = 0; i < 12'000; ++i) {
      if (fs::exists(file)) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    give_up("no " + file.string() + " after a minute");
  }

  // ---- logs ----

  /// How many times smaller the lines become.
  double lines_ratio() const {
    const auto lines = read_file(root_ / "agent/lines", 64u << 20);
    std::size_t packed = 0;
    for (std::size_t at = 0; at < lines->size(); at += kMaxPacked)
      packed += pack(std::string_view(*lines).substr(at, kMaxPacked))->size();
    return rounded(static_cast<double>(lines->size()) / static_cast<double>(packed));
  }

  /// `count` sandboxes print `bytes` each, all from one moment on.
  void stream(const std::string& name, Print what, unsigned count, std::uint64_t bytes) {
    const bool is_noise = what == Print::noise;
    const std::string file = is_noise ? "/tmp/noise" : "/muster/agent/lines";
    const std::string make =
        is_noise ? "head -c " + std::to_string(kLeastPrinted) + " /dev/urandom >" + file + "; " : "";
    const std::string times = std::to_string(bytes / kLeastPrinted + 1);
    std::vector<wire::SandboxSpecT> specs;
    for (unsigned i = 0; i < count; ++i)
      specs.push_back(spec({"bash", "-ec",
                            make + ": > \"$MUSTER_OUTPUT/here\"; until [ -e \"$MUSTER_OUTPUT/go\" ]; do sleep 0.05; done; yes " + file +
                                " | head -n " + times + " | xargs cat | head -c " +
                                std::to_string(bytes)},
                           bytes + (64u << 20)));
    for (const auto& spec : specs) engine_->start(spec);
    std::vector<fs::path> gates;
    for (const auto& spec : specs)
      gates.push_back(sandbox::Places(Paths{root_ / "host"}, spec.run + "-1").out() / "output");
    for (const auto& gate : gates) wait_for(gate / "here");
    const auto begin = Clock::now();
    const double host_before = cpu_ms_of(daemon_), engine_before = own_cpu_ms();
    for (const auto& gate : gates) std::ofstream(gate / "go").close();
    std::map<std::string, std::uint64_t> at_quarter, at_half, middle;
    while (true) {
      std::uint64_t total = 0;
      Clock::time_point last;
      std::map<std::string, std::uint64_t> now;
      for (const auto& [run, durable] : engine_->logs.durable())
        if (std::any_of(specs.begin(), specs.end(),
                        [&, &name = run](const auto& spec) { return spec.run == name; })) {
          now[run] = durable.first;
          total += durable.first;
          last = std::max(last, durable.second);
        }
      if (at_quarter.empty() && total >= count * bytes / 4) at_quarter = now;
      if (at_half.empty() && total >= count * bytes / 2) at_half = now;
      if (middle.empty() && total >= count * bytes / 4 * 3)
        for (const auto& [run, stored] : now) middle[run] = stored - at_quarter[run];
      if (total >= count * bytes) {
        const double mb = static_cast<double>(total) / 1e6;
        const double rate = std::round(mb / (ms(last - begin) / 1000));
        const double host = rounded((cpu_ms_of(daemon_) - host_before) / mb);
        const double engine = rounded((own_cpu_ms() - engine_before) / mb);
        const double fair = rounded(fairness(at_half)), fair_middle = rounded(fairness(middle));
        std::printf("%u of %.0f MB of %s: %.0f MB/s, processor ms/MB %.2f host %.2f engine, fairness %.2f, in the middle %.2f\n",
                    count, static_cast<double>(bytes) / 1e6, is_noise ? "noise" : "lines",
                    rate, host, engine, fair, fair_middle);
        std::fflush(stdout);
        json_[name + "_mb_s"] = rate;
        json_[name + "_host_cpu_ms_mb"] = host;
        json_[name + "_engine_cpu_ms_mb"] = engine;
        if (count > 1) json_[name + "_fairness"] = fair;
        if (count > 1) json_[name + "_fairness_middle"] = fair_middle;
        for (const auto& spec : specs) (void)engine_->wait_report(spec.run);
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  /// The smallest share, of what an equal one would be.
  static double fairness(const std::map<std::string, std::uint64_t>& shares) {
    std::uint64_t sum = 0, least = UINT64_MAX;
    for (const auto& [run, bytes] : shares) {
      sum += bytes;
      least = std::min(least, bytes);
    }
    return static_cast<double>(least) * static_cast<double>(shares.size()) /
           static_cast<double>(std::max<std::uint64_t>(sum, 1));
  }
  double peak_mb() const {
    std::ifstream status("/proc/" + std::to_string(daemon_) + "/status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("VmHWM:"))
        return std::round(std::strtod(line.c_str() + 6, nullptr) / 1024);
    return 0;
  }

  const fs::path root_;
  const std::string sandboxd_, init_;
  const unsigned cycles_;
  const std::uint64_t log_bytes_;
  const unsigned logs_;
  fs::path rootfs_;
  std::string bundle_;
  std::unique_ptr<sandbox::Host> host_;
  std::unique_ptr<BenchEngine> engine_;
  pid_t daemon_ = 0;
  std::atomic<unsigned> numbers_{0};
  unsigned pooled_ = 0;  ///< Attempts since there is a pool, …
  unsigned hits_ = 0;    ///< … and those of warm() that got one of it.
  nlohmann::ordered_json json_;
};

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  const std::string_view part = argc == 9 ? argv[8] : "";
  if ((argc != 8 && argc != 9) || !(part.empty() || part == "ways" || part == "warm" || part == "logs")) {
    std::fprintf(stderr,
                 "usage: bench-sandbox ROOT SANDBOXD MUSTER_INIT STAMP CYCLES LOG_MIB LOGS [ways|warm|logs]\n");
    return 2;
  }
  ::signal(SIGPIPE, SIG_IGN);
  muster::bench::Bench(argv).run(part);
}
