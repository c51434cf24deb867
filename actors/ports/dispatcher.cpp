#include "actors/ports/dispatcher.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <unordered_map>

#include "actors/host/host.hpp"
#include "actors/indexes.hpp"
#include "actors/ports/patience.hpp"
#include "actors/ports/queue_view.hpp"
#include "actors/ports/strand.hpp"
#include "actors/run/run.hpp"

namespace muster::actors {

using engine::WaitReason;

namespace {

using Clock = std::chrono::steady_clock;

/// A round takes at most this part of the dispatcher's time: 1 / (1 + kRest).
constexpr int kRest = 4;
constexpr Duration kOverloadedPause{200};
/// The reasons are copied out for readers at most so often, and for at most 1 / (1 + kPublishRest)
/// of the time.
constexpr Duration kPublishPause{200};
constexpr int kPublishRest = 20;

/// What a commit changed that the dispatcher follows.
struct Delta {
  std::vector<engine::IndexChange> indexes;
  std::vector<std::string> hosts;
  bool missed = false;

  [[nodiscard]] bool empty() const { return indexes.empty() && hosts.empty() && !missed; }
};

bool is_followed(std::string_view index) {
  return index == index::kQueued || index == index::kPlaced || index == index::kFleetHeld;
}

std::optional<fbs::QueuedRunT> decode_entry(std::string_view value) {
  auto entry = engine::decode_table<fbs::QueuedRunT>(value);
  if (!entry) return std::nullopt;
  return std::move(*entry);
}

}  // namespace

std::string explain(WaitReason reason) {
  switch (reason) {
    case WaitReason::none:
      return "it is being placed";
    case WaitReason::no_host:
      return "no host is connected and ready";
    case WaitReason::hosts_full:
      return "every host is full";
    case WaitReason::too_large:
      return "no host is large enough for its cpus and memory";
    case WaitReason::fleet_limit:
      return "its fleet runs as many at once as its concurrency allows";
    case WaitReason::fleet_held:
      return "its fleet is paused, halted or cancelled";
    case WaitReason::repository_limit:
      return "another run works on its repository";
    case WaitReason::total_limit:
      return "as many run as this installation allows";
    case WaitReason::next_round:
      return "its turn comes with the next round";
    case WaitReason::no_other_host:
      return "it was moved, and where it may go is no room";
    case WaitReason::bound_host:
      return "the host that has its snapshot is full, away or takes no runs";
  }
  return "it waits";
}

class Dispatcher::Impl {
 public:
  Impl(engine::Engine& engine, DispatcherConfig config)
      : engine_(engine),
        config_(std::move(config)),
        admission_(config_.limits),
        patience_(config_.repropose, config_.longest_repropose) {}
  ~Impl() { stop(); }

  void start();
  void stop();
  void set_limits(RunLimits limits);
  [[nodiscard]] std::string why(std::string_view run) const;
  [[nodiscard]] std::string cause(std::string_view run) const;
  [[nodiscard]] std::map<std::string, std::uint64_t> waiting(std::string_view fleet) const;
  [[nodiscard]] DispatcherStats stats() const;

 private:
  struct Reason {
    std::string fleet;
    WaitReason reason = WaitReason::next_round;
  };
  using Counts = std::map<std::string, std::uint64_t>;
  struct Reasons {
    std::unordered_map<std::string, Reason> by_run;
    std::unordered_map<std::string, Counts> by_fleet;
  };

  void changed(const std::vector<engine::Change>& changes);

  // The strand.
  void resync();
  void resync_later();
  void resync_regularly();
  void load_hosts();
  void load_index(std::string_view index);
  void apply(const Delta& delta);
  void apply_entry(std::string_view index, const std::string& key,
                   const std::optional<std::string>& value);
  void load_host(const std::string& name);
  const std::vector<std::string>& warm_of(const std::string& name, std::uint32_t changes);
  void round_after(Duration pause);
  void round();
  void propose(const engine::Proposal& proposal);
  void withdraw(const std::string& run, std::uint32_t attempt);
  void publish_later();
  void publish();

  engine::Engine& engine_;
  const DispatcherConfig config_;
  std::shared_ptr<void> subscription_;
  engine::Sequence last_position_ = 0;  // on the engine's thread
  std::atomic<std::uint64_t> rounds_{0}, proposals_{0}, repeated_{0}, resyncs_{0};

  RunLimits limits_;
  engine::AdmissionLimits admission_;  ///< With the operator's word.
  QueueView view_;
  std::vector<engine::Waiting> last_waiting_;
  std::optional<Clock::time_point> round_due_;
  bool resync_planned_ = false;
  bool publish_planned_ = false;
  bool had_room_ = true;
  Duration rest_{}, publish_rest_{};
  struct Warm {
    std::uint32_t changes = 0;
    std::vector<std::string> urls;
  };
  std::map<std::string, Warm> warm_;  ///< By host.
  Patience patience_;

  mutable std::mutex reasons_mutex_;
  std::shared_ptr<const Reasons> reasons_ = std::make_shared<Reasons>();
  // An answer of the engine may outlive the dispatcher.
  const std::shared_ptr<Strand> strand_ = std::make_shared<Strand>("dispatcher");
};

void Dispatcher::Impl::start() {
  // Followed before it is read: what changes in between comes twice, which is harmless, and never
  // not at all.
  subscription_ =
      engine_.subscribe([this](const std::vector<engine::Change>& changes) { changed(changes); });
  strand_->post([this] { resync(); });
  strand_->after(config_.resync, [this] { resync_regularly(); });
}

void Dispatcher::Impl::stop() {
  subscription_.reset();
  strand_->stop();
}

void Dispatcher::Impl::set_limits(RunLimits limits) {
  strand_->post([this, limits = std::move(limits)] {
    limits_ = limits;
    admission_.running_total = limits.total;
    round_after(config_.pause);
  });
}

// ---- following the engine ----

void Dispatcher::Impl::changed(const std::vector<engine::Change>& changes) {
  Delta delta;
  for (const engine::Change& change : changes) {
    if (last_position_ != 0 && change.position != last_position_ + 1) delta.missed = true;
    last_position_ = change.position;
    for (const engine::IndexChange& entry : change.indexes)
      if (is_followed(entry.index)) delta.indexes.push_back(entry);
    if (change.actor.kind == Host::kName && change.actor.org == config_.org)
      delta.hosts.push_back(change.actor.key);
  }
  if (delta.empty()) return;
  strand_->post([this, delta = std::move(delta)] { apply(delta); });
}

void Dispatcher::Impl::apply(const Delta& delta) {
  for (const engine::IndexChange& entry : delta.indexes)
    apply_entry(entry.index, entry.key, entry.value);
  for (const std::string& name : std::set<std::string>(delta.hosts.begin(), delta.hosts.end()))
    load_host(name);
  if (delta.missed) resync_later();
  round_after(had_room_ || !delta.hosts.empty() ? config_.pause : config_.full_pause);
}

void Dispatcher::Impl::apply_entry(std::string_view index, const std::string& key,
                                   const std::optional<std::string>& value) {
  if (index == index::kFleetHeld) {
    view_.held(key, value.has_value());
    return;
  }
  const auto entry = value ? decode_entry(*value) : std::nullopt;
  if (index == index::kQueued) {
    if (!entry) patience_.answered(key, Clock::now());
    view_.queued(key, entry);
  } else {
    view_.placed(key, entry);
  }
}

void Dispatcher::Impl::load_host(const std::string& name) {
  const auto bytes = engine_.head({config_.org, std::string(Host::kName), name});
  if (!bytes || !*bytes) return;
  auto head = engine::decode_table<fbs::HostHeadT>(**bytes);
  if (!head) return;
  if (head->warm_changes != 0) head->warm = warm_of(name, head->warm_changes);
  view_.host(name, *head);
}

/// The row is long and seldom changes. One that is newer than the head that was read is as good a
/// hint.
const std::vector<std::string>& Dispatcher::Impl::warm_of(const std::string& name,
                                                          std::uint32_t changes) {
  Warm& warm = warm_[name];
  if (warm.changes == changes) return warm.urls;
  const auto bytes = engine_.row({config_.org, std::string(Host::kName), name}, Host::kWarmRow);
  const auto row = bytes && *bytes ? engine::decode_table<fbs::WarmRowT>(**bytes)
                                   : Result<fbs::WarmRowT>(fail(Errc::not_found, "no such row"));
  if (!row) return warm.urls;
  warm = {changes, row->urls};
  return warm.urls;
}

void Dispatcher::Impl::load_index(std::string_view index) {
  const auto listed = engine_.list(
      index, "", "\xff", [&](std::string_view key, const engine::ActorId&, std::string_view value) {
        apply_entry(index, std::string(key), std::string(value));
        return true;
      });
  if (!listed) spdlog::error("dispatcher: {}: {}", index, listed.error().message);
}

void Dispatcher::Impl::load_hosts() {
  std::vector<std::string> names;
  (void)engine_.list(index::kHost, "", "\xff",
                     [&](std::string_view key, const engine::ActorId&, std::string_view) {
                       names.emplace_back(key);
                       return true;
                     });
  for (const std::string& name : names) load_host(name);
}

void Dispatcher::Impl::resync() {
  ++resyncs_;
  // What is proposed is forgotten too: at worst it is proposed twice, and the host takes one.
  view_.clear();
  patience_.clear();
  for (const std::string_view index : {index::kFleetHeld, index::kPlaced, index::kQueued})
    load_index(index);
  load_hosts();
  round_after(config_.pause);
}

void Dispatcher::Impl::resync_later() {
  if (std::exchange(resync_planned_, true)) return;
  strand_->after(config_.resync_pause, [this] {
    resync_planned_ = false;
    resync();
  });
}

void Dispatcher::Impl::resync_regularly() {
  resync();
  strand_->after(config_.resync, [this] { resync_regularly(); });
}

// ---- rounds ----

/// The earliest time that anybody asked for counts.
void Dispatcher::Impl::round_after(Duration pause) {
  const Duration delay = std::max(pause, rest_);
  const auto due = Clock::now() + delay;
  if (round_due_ && *round_due_ <= due) return;
  round_due_ = due;
  strand_->after(delay, [this, due] {
    if (round_due_ != due) return;
    round_due_.reset();
    round();
  });
}

void Dispatcher::Impl::round() {
  const auto begun = Clock::now();
  ++rounds_;
  const auto hosts = view_.hosts();
  had_room_ = std::any_of(hosts.begin(), hosts.end(), [](const engine::Supply& host) {
    return host.accepts && host.used < host.slots;
  });
  auto fleets = view_.fleets();
  actors::apply(limits_, fleets);
  engine::Round made = admit(view_.demand(), fleets, hosts, view_.repositories(), admission_);
  last_waiting_ = std::move(made.waiting);
  for (const engine::Proposal& proposal : made.proposals) propose(proposal);
  publish_later();
  rest_ = std::chrono::duration_cast<Duration>(Clock::now() - begun) * kRest;
  // A full round may have more to propose; nothing else would say so.
  if (made.proposals.size() >= admission_.proposals) round_after(config_.pause);
}

void Dispatcher::Impl::propose(const engine::Proposal& proposal) {
  const engine::Demand* demand = view_.find(proposal.run);
  if (!demand) return;
  fbs::ProposeT message;
  message.run = proposal.run;
  message.fleet = demand->fleet;
  message.repository = demand->repository;
  message.attempt = proposal.attempt;
  message.session = proposal.session;
  message.cpus_milli = demand->cpus_milli;
  message.memory_bytes = demand->memory_bytes;
  message.canonical_url = demand->canonical_url;
  engine_.tell_then(
      {config_.org, std::string(Host::kName), proposal.host}, Host::Messages::encode(message),
      [this, strand = strand_, run = proposal.run,
       attempt = proposal.attempt](const Result<void>& told) {
        if (told) return;
        spdlog::warn("dispatcher: {} was not proposed: {}", run, told.error().message);
        strand->after(kOverloadedPause, [this, run, attempt] { withdraw(run, attempt); });
      });
  ++proposals_;
  view_.propose(proposal);
  strand_->after(
      patience_.asked(proposal.run, Clock::now()),
      [this, run = proposal.run, attempt = proposal.attempt] { withdraw(run, attempt); });
}

void Dispatcher::Impl::withdraw(const std::string& run, std::uint32_t attempt) {
  if (!view_.withdraw(run, attempt)) return;
  patience_.in_vain(run);
  ++repeated_;
  round_after(config_.pause);
}

// ---- for readers ----

void Dispatcher::Impl::publish_later() {
  if (std::exchange(publish_planned_, true)) return;
  strand_->after(std::max(kPublishPause, publish_rest_), [this] {
    publish_planned_ = false;
    const auto begun = Clock::now();
    publish();
    publish_rest_ = std::chrono::duration_cast<Duration>(Clock::now() - begun) * kPublishRest;
  });
}

namespace {

/// As a label of a metric.
std::string name_of(WaitReason reason) {
  return reason == WaitReason::none ? "being_placed" : std::string(to_string(reason));
}

}  // namespace

void Dispatcher::Impl::publish() {
  auto reasons = std::make_shared<Reasons>();
  auto& by_run = reasons->by_run;
  by_run.reserve(view_.demand().size() + view_.proposed().size());
  for (const engine::Demand& demand : view_.demand())
    by_run.emplace(demand.run, Reason{demand.fleet});
  for (const auto& [run, entry] : view_.proposed())
    by_run.emplace(run, Reason{entry.first.fleet, WaitReason::none});
  for (const engine::Waiting& waiting : last_waiting_)
    if (const auto found = by_run.find(waiting.run);
        found != by_run.end() && found->second.reason != WaitReason::none)
      found->second.reason = waiting.reason;
  // Whoever scrapes asks for every fleet: each asking must not go over every run.
  for (const auto& [run, reason] : by_run)
    ++reasons->by_fleet[reason.fleet][name_of(reason.reason)];
  const std::lock_guard lock(reasons_mutex_);
  reasons_ = std::move(reasons);
}

std::string Dispatcher::Impl::why(std::string_view run) const {
  const std::lock_guard lock(reasons_mutex_);
  const auto found = reasons_->by_run.find(std::string(run));
  return found == reasons_->by_run.end() ? "" : explain(found->second.reason);
}

std::map<std::string, std::uint64_t> Dispatcher::Impl::waiting(std::string_view fleet) const {
  std::shared_ptr<const Reasons> reasons;
  {
    const std::lock_guard lock(reasons_mutex_);
    reasons = reasons_;
  }
  const auto found = reasons->by_fleet.find(std::string(fleet));
  return found == reasons->by_fleet.end() ? Counts() : found->second;
}

std::string Dispatcher::Impl::cause(std::string_view run) const {
  const std::lock_guard lock(reasons_mutex_);
  const auto found = reasons_->by_run.find(std::string(run));
  return name_of(found == reasons_->by_run.end() ? WaitReason::next_round : found->second.reason);
}

DispatcherStats Dispatcher::Impl::stats() const {
  return {rounds_, proposals_, repeated_, resyncs_};
}

// ---- the outside ----

Dispatcher::Dispatcher(engine::Engine& engine, DispatcherConfig config)
    : impl_(std::make_unique<Impl>(engine, std::move(config))) {}
Dispatcher::~Dispatcher() = default;
void Dispatcher::start() {
  impl_->start();
}
void Dispatcher::stop() {
  impl_->stop();
}
void Dispatcher::set_limits(RunLimits limits) {
  impl_->set_limits(std::move(limits));
}
std::string Dispatcher::why(std::string_view run) const {
  return impl_->why(run);
}
std::string Dispatcher::cause(std::string_view run) const {
  return impl_->cause(run);
}
std::map<std::string, std::uint64_t> Dispatcher::waiting(std::string_view fleet) const {
  return impl_->waiting(fleet);
}
DispatcherStats Dispatcher::stats() const {
  return impl_->stats();
}

}  // namespace muster::actors
