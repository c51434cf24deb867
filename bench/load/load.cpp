#include "bench/load/load.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/load/faults.hpp"
#include "bench/load/fleets.hpp"
#include "bench/load/pressure.hpp"
#include "bench/load/progress.hpp"
#include "bench/load/repositories.hpp"
#include "bench/load/target.hpp"
#include "tools/musterd/version.hpp"

namespace muster::load {

namespace {

constexpr std::size_t kStrands = 2;
constexpr std::chrono::milliseconds kLook{500};
constexpr std::chrono::seconds kConnectLimit{60}, kDrainLimit{15};
constexpr int kMaxMissedLooks = 20;

double seconds_between(Clock::time_point from, Clock::time_point until) {
  return std::chrono::duration<double>(until - from).count();
}

class Load {
 public:
  Load(const Options& options, const std::atomic<bool>& stop) : options_(options), stop_(stop) {}
  ~Load() { stop_hosts(); }

  Result<Report> run();

 private:
  Result<void> set_up();
  Result<void> connect_hosts();
  Result<void> play();
  Result<void> look();
  void note_half(std::uint64_t ended);
  void show(const Sample& sample) const;
  void drain();
  void stop_hosts();
  void settle(Report& report);
  void add_faults(Report& report);
  void add_fleets(Report& report);
  void add_metrics(Report& report);

  const Options& options_;
  const std::atomic<bool>& stop_;
  mutable Progress progress_;
  std::unique_ptr<Target> target_;
  HostsShared shared_;
  std::unique_ptr<Fleets> fleets_;
  std::vector<std::unique_ptr<actors::Strand>> strands_;
  std::vector<std::unique_ptr<SimulatedHost>> hosts_;
  std::unique_ptr<FaultMaker> faults_;
  std::unique_ptr<ApiPressure> pressure_;

  std::string started_at_;
  std::int64_t began_unix_ms_ = 0;
  Clock::time_point began_, ended_;
  Resources at_start_;
  double messages_at_start_ = 0, messages_ = 0, memory_peak_ = 0;
  std::vector<FleetProgress> seen_;
  std::map<std::string, double> at_half_;
  Timeline timeline_;
  int missed_looks_ = 0;
  std::string incomplete_;
};

Result<void> Load::set_up() {
  progress_.say(options_.own_engine() ? "Starting a musterd ..." : "Looking for musterd ...");
  auto target = Target::open(options_);
  if (!target) return tl::unexpected<Error>(target.error());
  target_ = std::move(*target);
  shared_.workload = options_.workload;
  shared_.commit = invented_commit();
  std::string repositories;
  if (options_.delivery != "none") {
    const auto directory = target_->repositories_directory();
    if (!directory) return tl::unexpected<Error>(directory.error());
    progress_.say("Making " + std::to_string(options_.runs()) + " repositories below " +
                  directory->string() + " ...");
    auto made = make_repositories(*directory, options_.fleets, options_.repositories);
    if (!made) return fail(made.error(), "making repositories");
    shared_.commit = std::move(*made);
    repositories = directory->string();
  }
  fleets_ = std::make_unique<Fleets>(target_->endpoint(), options_, repositories, shared_.meters);
  return {};
}

Result<void> Load::connect_hosts() {
  for (std::size_t i = 0; i < kStrands; ++i)
    strands_.push_back(std::make_unique<actors::Strand>("hosts-" + std::to_string(i)));
  for (std::uint32_t i = 1; i <= options_.hosts; ++i) {
    HostSetup setup;
    setup.name = "load-" + std::to_string(i);
    setup.address = target_->link_address();
    setup.slots = options_.slots;
    auto tls = target_->certificate(setup.name);
    if (!tls) return tl::unexpected<Error>(tls.error());
    setup.tls = std::move(*tls);
    hosts_.push_back(
        std::make_unique<SimulatedHost>(std::move(setup), *strands_[i % kStrands], shared_));
  }
  for (const auto& host : hosts_) host->start();
  const auto deadline = Clock::now() + kConnectLimit;
  while (shared_.meters.connected < options_.hosts) {
    if (stop_) return fail(Errc::refused, "stopped");
    if (Clock::now() > deadline)
      return fail(Errc::unreachable, "only " + std::to_string(shared_.meters.connected) +
                                         " hosts were welcomed at " + target_->link_address());
    progress_.show("connecting hosts: " + std::to_string(shared_.meters.connected) + " of " +
                   std::to_string(options_.hosts));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return {};
}

Result<void> Load::play() {
  started_at_ = to_rfc3339(wall_clock_now());
  began_unix_ms_ = wall_clock_now().unix_ms;
  began_ = Clock::now();
  at_start_ = target_->resources();
  messages_at_start_ = fleets_->messages();
  faults_ =
      std::make_unique<FaultMaker>(options_.faults, options_.workload.seed, hosts_, shared_.meters);
  faults_->start();
  pressure_ = std::make_unique<ApiPressure>(target_->endpoint(), options_, shared_.meters);
  pressure_->start();
  const auto deadline = began_ + options_.timeout;
  auto next_fleet = began_, next_look = began_;
  for (;;) {
    const auto now = Clock::now();
    const bool all_made = fleets_->made() == options_.fleets;
    if (!all_made && now >= next_fleet) {
      if (auto made = fleets_->make_next(); !made && made.error().code != Errc::overloaded)
        return made;
      next_fleet = std::max(next_fleet + options_.every, began_);
    }
    if (now >= next_look) {
      next_look = now + kLook;
      if (auto looked = look(); !looked) return looked;
      if (all_made &&
          std::all_of(seen_.begin(), seen_.end(), [](const auto& f) { return f.over(); }))
        return {};
    }
    if (stop_) return fail(Errc::refused, "it was interrupted");
    if (now > deadline)
      return fail(Errc::timed_out, "it took longer than " + muster::to_string(options_.timeout));
    const auto until = all_made ? next_look : std::min(next_look, next_fleet);
    std::this_thread::sleep_until(std::min(until, now + kLook));
  }
}

/// A single look may fail while musterd has trouble; many in a row end the load.
Result<void> Load::look() {
  if (const std::string dead = target_->death(); !dead.empty())
    return fail(Errc::unreachable, dead);
  auto seen = fleets_->look();
  if (!seen && seen.error().code == Errc::overloaded) return {};
  if (!seen) {
    shared_.meters.error("looking at the fleets: " + seen.error().message);
    if (++missed_looks_ > kMaxMissedLooks) return tl::unexpected<Error>(seen.error());
    return {};
  }
  missed_looks_ = 0;
  seen_ = std::move(*seen);
  const Resources resources = target_->resources();
  Sample sample;
  sample.at_s = seconds_between(began_, Clock::now());
  for (const FleetProgress& fleet : seen_) {
    sample.ended += static_cast<double>(fleet.ended);
    const auto count = [&](const char* state) {
      const auto found = fleet.counts.find(state);
      return found == fleet.counts.end() ? 0.0 : static_cast<double>(found->second);
    };
    sample.queued += count("queued");
    sample.waiting += count("waiting");
  }
  sample.running = static_cast<double>(shared_.meters.running);
  sample.hosts = static_cast<double>(shared_.meters.connected);
  sample.memory = resources.memory;
  sample.cpu_s = std::max(0.0, resources.cpu_s - at_start_.cpu_s);
  messages_ = std::max(messages_, fleets_->messages());  // none while musterd is overloaded
  sample.messages = std::max(0.0, messages_ - messages_at_start_);
  memory_peak_ = std::max({memory_peak_, resources.memory, resources.memory_peak});
  timeline_.add(sample);
  std::vector<std::string> running;
  for (const FleetProgress& fleet : seen_)
    if (!fleet.over()) running.push_back(fleet.name);
  pressure_->running(std::move(running));
  note_half(static_cast<std::uint64_t>(sample.ended));
  show(sample);
  ended_ = Clock::now();
  return {};
}

/// How far each fleet is once half of all runs have ended: then all still compete.
void Load::note_half(std::uint64_t ended) {
  if (!at_half_.empty() || ended * 2 < options_.runs()) return;
  for (const FleetProgress& fleet : seen_)
    at_half_[fleet.name] = static_cast<double>(fleet.ended) / options_.repositories;
}

void Load::show(const Sample& sample) const {
  const auto number = [](double value) { return amount_text(Unit::number, std::round(value)); };
  progress_.show(number(sample.at_s) + "s  ended " + number(sample.ended) + "/" +
                 std::to_string(options_.runs()) + "  " +
                 number(sample.at_s > 0 ? sample.ended / sample.at_s : 0) + " runs/s  on hosts " +
                 number(sample.running) + "  queued " + number(sample.queued) + "  waiting " +
                 number(sample.waiting) + "  hosts " + number(sample.hosts) + "  musterd " +
                 amount_text(Unit::size, sample.memory) + "  errors " +
                 std::to_string(shared_.meters.errors()));
}

/// Events and logs that hosts still hold become durable; what does not is an error.
void Load::drain() {
  const auto deadline = Clock::now() + kDrainLimit;
  const auto held = [&] {
    return shared_.meters.events_held.load() + shared_.meters.logs_held.load();
  };
  while (held() > 0 && Clock::now() < deadline && !stop_)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  if (options_.faults.lose_every.count() > 0) return;  // some are away, with what they hold
  if (held() > 0)
    shared_.meters.error(std::to_string(shared_.meters.events_held) + " events and " +
                         std::to_string(shared_.meters.logs_held) +
                         " logs were not acknowledged in the end");
}

void Load::stop_hosts() {
  if (faults_) faults_->stop();
  for (const auto& host : hosts_) host->stop();
  for (const auto& strand : strands_) strand->stop();
}

Result<Report> Load::run() {
  if (auto ready = set_up(); !ready) return tl::unexpected<Error>(ready.error());
  if (auto connected = connect_hosts(); !connected) return tl::unexpected<Error>(connected.error());
  if (auto played = play(); !played) incomplete_ = played.error().message;
  progress_.close();
  if (pressure_) pressure_->stop();
  if (faults_) faults_->stop();
  if (incomplete_.empty()) {
    drain();
    progress_.say("Reading what became of " + std::to_string(options_.runs()) + " runs ...");
    if (auto read = fleets_->read_runs(seen_); !read) incomplete_ = read.error().message;
  }
  Report report;
  settle(report);
  stop_hosts();
  return report;
}

void Load::settle(Report& report) {
  report.command = options_.command;
  report.version = std::string(musterd::kVersion);
  report.started_at = started_at_;
  report.incomplete = incomplete_;
  report.duration_s = seconds_between(began_, ended_);
  report.setting = {
      {"seed", std::to_string(options_.workload.seed)},
      {"fleets", std::to_string(options_.fleets) + " of " + std::to_string(options_.repositories)},
      {"hosts",
       std::to_string(options_.hosts) + " with " + std::to_string(options_.slots) + " slots"},
      {"provision", options_.workload.provision.text()},
      {"agent", options_.workload.agent.text()},
      {"verify", options_.workload.verify.text()},
      {"log", options_.workload.log.text()},
      {"unchanged", amount_text(Unit::share, options_.workload.unchanged)},
      {"failed", amount_text(Unit::share, options_.workload.failed)},
      {"delivery", options_.delivery},
      {"processors here", std::to_string(std::thread::hardware_concurrency())}};
  for (const FleetProgress& fleet : seen_)
    for (const auto& [state, count] : fleet.counts) report.states[state] += count;
  add_faults(report);
  add_fleets(report);
  report.timeline = timeline_;
  report.phases = shared_.meters.phases();
  add_metrics(report);
  report.errors = shared_.meters.errors();
  report.error_texts = shared_.meters.error_texts();
  report.verdicts = judge(options_.expected, report.metrics);
}

void Load::add_faults(Report& report) {
  const Meters& m = shared_.meters;
  report.faults = {{"hosts lost", m.hosts_lost},
                   {"reconnect storms", m.storms},
                   {"slow reads", m.slow_reads},
                   {"sessions", m.sessions},
                   {"leases lost", m.lease_losses},
                   {"attempts started", m.starts},
                   {"attempts stopped", m.stops},
                   {"clients answered", m.flood_answered},
                   {"clients refused, 429", m.flood_refused},
                   {"operator's orders", m.operations}};
  for (const auto& [how, count] : m.failures())
    report.faults.emplace_back("of the sample, " + how, count);
}

void Load::add_fleets(Report& report) {
  for (const FleetProgress& fleet : seen_) {
    FleetLine line;
    line.name = fleet.name;
    line.state = fleet.state;
    line.began_s = static_cast<double>(fleet.created_unix_ms - began_unix_ms_) / 1'000;
    if (fleet.over())
      line.took_s = static_cast<double>(fleet.ended_unix_ms - fleet.created_unix_ms) / 1'000;
    if (const auto half = at_half_.find(fleet.name); half != at_half_.end())
      line.at_half = half->second;
    report.fleets.push_back(std::move(line));
  }
}

void Load::add_metrics(Report& report) {
  Metrics& to = report.metrics;
  const Meters& m = shared_.meters;
  const double seconds = std::max(report.duration_s, 1e-3);
  double ended = 0;
  for (const FleetProgress& fleet : seen_) ended += static_cast<double>(fleet.ended);
  to["errors"] = static_cast<double>(m.errors());
  to["ended"] = ended;
  for (const char* state : {"delivered", "unchanged", "failed"})
    to[state] = static_cast<double>(report.states[state]);
  to["duration"] = seconds * 1'000;
  to["runs_per_s"] = ended / seconds;
  if (messages_ >= 0 && messages_at_start_ >= 0)
    to["messages_per_s"] = (messages_ - messages_at_start_) / seconds;
  to["frames_per_s"] = static_cast<double>(m.frames_in + m.frames_out) / seconds;
  to["log_bytes_per_s"] = static_cast<double>(m.log_bytes) / seconds;
  to["overload_answers"] = static_cast<double>(m.flood_refused);
  to["lease_losses"] = static_cast<double>(m.lease_losses);
  to["reconnects"] = static_cast<double>(m.sessions) - static_cast<double>(options_.hosts);
  const Resources now = target_->resources();
  if (now.memory > 0) {
    to["memory_end"] = now.memory;
    to["memory_peak"] = std::max(memory_peak_, now.memory_peak);
  }
  if (now.cpu_s >= 0) to["cpu"] = (now.cpu_s - at_start_.cpu_s) * 1'000;
  std::vector<double> shares;
  for (const auto& [fleet, share] : at_half_) shares.push_back(share);
  if (!shares.empty()) to["fairness"] = jain_index(shares);
  add_phases(to, report.phases);
}

}  // namespace

Result<Report> run_load(const Options& options, const std::atomic<bool>& stop) {
  return Load(options, stop).run();
}

}  // namespace muster::load
