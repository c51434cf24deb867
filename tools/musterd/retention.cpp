#include "tools/musterd/retention.hpp"

#include <spdlog/spdlog.h>

#include <chrono>
#include <future>

#include "actors/common.hpp"
#include "actors/fleet/fleet.hpp"
#include "actors/host/host.hpp"
#include "actors/pull/pull.hpp"
#include "actors/swarm/swarm.hpp"
#include "storage/base/ids.hpp"

namespace muster::musterd {
namespace {

constexpr auto kBetweenLooks = std::chrono::hours(1);
/// Without anything that went: files may have been brought and never named.
constexpr Duration kBetweenSweeps = RetentionLimits::kDay;
constexpr auto kAnswer = std::chrono::seconds(10);
/// Of one look, of each sort; the next one goes on.
constexpr std::size_t kMostDue = 1'000;
constexpr std::size_t kMostPulls = 1'000;

bool fleet_ended(const fbs::FleetHeadT& fleet) {
  return fleet.state >= fbs::FleetState::completed && fleet.ended_unix_ms > 0 && !fleet.forgetting;
}

bool has_contents(const fbs::FleetHeadT& fleet) {
  return fleet.removed_unix_ms < fleet.ended_unix_ms || !fleet.contents_gone;
}

/// It went between the list and the look.
template <class T>
bool went(const Result<T>& looked) {
  return !looked && looked.error().code == Errc::not_found;
}

}  // namespace

bool is_given_up(const fbs::RunRowT& row, std::int64_t given_up_unix_ms) {
  return actors::is_end(row.state) && row.ended_unix_ms <= given_up_unix_ms;
}

// ---- when ----

void Retention::start() {
  thread_ = std::thread([this] {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      lock.unlock();
      if (auto done = look(); !done)
        spdlog::error("removing what ended long ago: {}", done.error().message);
      lock.lock();
      wake_.wait_for(lock, kBetweenLooks, [this] { return stopping_; });
    }
  });
}

void Retention::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Retention::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

RetentionCounts Retention::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void Retention::count(std::uint64_t RetentionCounts::*counter) {
  const std::lock_guard lock(mutex_);
  ++(counts_.*counter);
}

Result<void> Retention::look() {
  const auto found = due();
  if (!found) return tl::unexpected<Error>(found.error());
  {
    const std::lock_guard lock(mutex_);
    counts_.contents_due = counts_.fleets_due = counts_.swarms_due = counts_.hosts_due = 0;
    for (const Due& each : *found)
      ++(each.what == What::contents ? counts_.contents_due
         : each.what == What::fleet  ? counts_.fleets_due
         : each.what == What::swarm  ? counts_.swarms_due
                                     : counts_.hosts_due);
  }
  Result<void> first{};
  for (const Due& each : *found) {
    if (limits_.dry_run || stopping()) break;
    auto done = remove(each);
    // Somebody retried it since, or it is back: it has not ended any more.
    if (!done && done.error().code != Errc::refused && first) first = std::move(done);
  }
  if (!limits_.dry_run) remove_snapshots();
  const bool time = engine_.now() - swept_ >= kBetweenSweeps;
  if ((sweep_ || time) && !stopping())
    if (auto swept = sweep(); !swept && first) first = std::move(swept);
  return first;
}

bool Retention::is_over(std::int64_t since_unix_ms, Duration kept) const {
  return kept > Duration{0} && engine_.now() - Instant{since_unix_ms} >= kept;
}

Result<std::vector<Retention::Due>> Retention::due() const {
  std::vector<Due> all;
  for (auto part : {&Retention::due_fleets, &Retention::due_swarms, &Retention::due_hosts})
    if (auto read = (this->*part)(all); !read) return tl::unexpected<Error>(read.error());
  return all;
}

/// The contents of a fleet go before it does, if only by one look. A swarm's fleet goes with it.
Result<void> Retention::due_fleets(std::vector<Due>& all) const {
  Result<void> read{};
  const auto listed = view_.each_fleet("", [&](const std::string& name) {
    const auto fleet = view_.fleet(name);
    if (went(fleet)) return true;
    if (!fleet) {
      read = tl::unexpected<Error>(fleet.error());
      return false;
    }
    if (!fleet_ended(*fleet)) return true;
    const bool ends = is_over(fleet->ended_unix_ms, limits_.fleets);
    if (has_contents(*fleet)) {
      if (ends || is_over(fleet->ended_unix_ms, limits_.contents))
        all.push_back({What::contents, name, fleet->ended_unix_ms});
    } else if (ends && fleet->swarm.empty() && !has_open_pull(name)) {
      all.push_back({What::fleet, name, fleet->ended_unix_ms});
    }
    return all.size() < kMostDue;
  });
  return listed ? read : listed;
}

/// Its fleet may be another's, whose name it wanted.
Result<void> Retention::due_swarms(std::vector<Due>& all) const {
  const std::size_t most = all.size() + kMostDue;
  Result<void> read{};
  const auto listed = view_.each_swarm("", [&](const std::string& name) {
    const auto swarm = view_.swarm(name);
    if (went(swarm)) return true;
    const auto fleet = view_.fleet(name);
    if (!swarm || (!fleet && !went(fleet))) {
      read = tl::unexpected<Error>(swarm ? fleet.error() : swarm.error());
      return false;
    }
    if (!actors::swarm::is_end(swarm->state) || !is_over(swarm->ended_unix_ms, limits_.fleets))
      return true;
    const bool own = fleet && fleet->swarm == name;
    if (own && (!fleet_ended(*fleet) || has_contents(*fleet) || has_open_pull(name))) return true;
    all.push_back({What::swarm, name, swarm->ended_unix_ms, own});
    return all.size() < most;
  });
  return listed ? read : listed;
}

Result<void> Retention::due_hosts(std::vector<Due>& all) const {
  const std::size_t most = all.size() + kMostDue;
  Result<void> read{};
  const auto listed = view_.each_host([&](const std::string& name) {
    const auto host = view_.host(name);
    if (went(host)) return true;
    if (!host) {
      read = tl::unexpected<Error>(host.error());
      return false;
    }
    if (host->state == fbs::HostState::unreachable && host->used.empty() &&
        is_over(host->changed_unix_ms, limits_.hosts))
      all.push_back({What::host, name, host->changed_unix_ms});
    return all.size() < most;
  });
  return listed ? read : listed;
}

bool Retention::has_open_pull(const std::string& fleet) const {
  bool open = false;
  const auto listed = view_.each_pull(fleet, "", [&](const PullName& pull) {
    open = pull.state == fbs::EnumNamePullState(fbs::PullState::open);
    return !open;
  });
  return open || !listed;
}

// ---- what ----

/// A message and its answer. The key is new each time: what it asks for is the same when it comes
/// twice.
Result<void> Retention::ask(const char* kind, const std::string& key, engine::Payload payload) {
  engine::Call call;
  call.to = view_.actor(kind, key);
  call.payload = std::move(payload);
  call.lane = engine::Lane::normal;
  call.key = new_uuid_v7(engine_.now());
  call.digest = sha256_hex(call.payload.bytes);
  auto answer = std::make_shared<std::promise<Result<std::string>>>();
  auto answered = answer->get_future();
  engine_.call(std::move(call),
               [answer](Result<std::string> reply) { answer->set_value(std::move(reply)); });
  if (answered.wait_for(kAnswer) != std::future_status::ready)
    return fail(Errc::timed_out, "the engine did not answer");
  const auto reply = answered.get();
  if (!reply) return tl::unexpected<Error>(reply.error());
  return {};
}

Result<void> Retention::remove(const Due& due) {
  switch (due.what) {
    case What::contents:
      return remove_contents(due);
    case What::fleet:
      return forget_fleet(due);
    case What::swarm:
      return forget_swarm(due);
    case What::host:
      return forget_host(due);
  }
  return {};
}

Result<void> Retention::remove_contents(const Due& fleet) {
  fbs::RemoveContentsT message;
  message.ended_unix_ms = fleet.since_unix_ms;
  if (auto asked = ask("fleet", fleet.name, actors::Fleet::Messages::encode(message)); !asked)
    return asked;
  const auto given_up = view_.fleet(fleet.name);
  if (!given_up) return tl::unexpected<Error>(given_up.error());
  if (auto removed = remove_logs(fleet.name, given_up->removed_unix_ms); !removed) return removed;
  message.done = true;
  if (auto asked = ask("fleet", fleet.name, actors::Fleet::Messages::encode(message)); !asked)
    return asked;
  sweep_ = true;
  spdlog::info("fleet {}: its logs, packs and artefacts are removed", fleet.name);
  count(&RetentionCounts::contents_removed);
  return {};
}

Result<void> Retention::remove_logs(const std::string& fleet, std::int64_t given_up_unix_ms) {
  std::string after;
  for (bool more = true; more;) {
    std::vector<std::string> runs;
    std::size_t rows = 0;
    const auto read = view_.each_row(fleet, after, [&](const fbs::RunRowT& row) {
      after = row.run;
      if (is_given_up(row, given_up_unix_ms)) runs.push_back(row.run);
      return ++rows < kRetentionPage;
    });
    if (!read) return read;
    more = rows == kRetentionPage;
    for (const std::string& run : runs) {
      if (stopping()) return fail(Errc::refused, "musterd stops");
      if (auto removed = logs_.remove(run); !removed) return removed;
    }
  }
  return {};
}

/// False: not all of them yet, and the next look goes on.
Result<bool> Retention::remove_pulls(const std::string& fleet) {
  std::vector<std::string> pulls;
  const auto listed = view_.each_pull(fleet, "", [&](const PullName& pull) {
    pulls.push_back(pull.id);
    return pulls.size() < kMostPulls;
  });
  if (!listed) return tl::unexpected<Error>(listed.error());
  for (const std::string& pull : pulls) {
    if (stopping()) return false;
    if (auto asked = ask("pull", pull, actors::Pull::Messages::encode(fbs::ForgetPullT{})); !asked)
      return tl::unexpected<Error>(asked.error());
  }
  return pulls.size() < kMostPulls;
}

Result<void> Retention::forget_fleet(const Due& fleet) {
  const auto all = remove_pulls(fleet.name);
  if (!all) return tl::unexpected<Error>(all.error());
  if (!*all) return {};
  fbs::ForgetFleetT message;
  message.ended_unix_ms = fleet.since_unix_ms;
  if (auto asked = ask("fleet", fleet.name, actors::Fleet::Messages::encode(message)); !asked)
    return asked;
  fading_ = true;
  spdlog::info("fleet {} is removed with its runs", fleet.name);
  count(&RetentionCounts::fleets_removed);
  return {};
}

Result<void> Retention::forget_swarm(const Due& swarm) {
  if (swarm.own_fleet) {
    const auto all = remove_pulls(swarm.name);
    if (!all) return tl::unexpected<Error>(all.error());
    if (!*all) return {};
  }
  fbs::ForgetSwarmT message;
  message.ended_unix_ms = swarm.since_unix_ms;
  message.own_fleet = swarm.own_fleet;
  if (auto asked = ask("swarm", swarm.name, actors::Swarm::Messages::encode(message)); !asked)
    return asked;
  fading_ = true;
  spdlog::info("swarm {} is removed with its fleet", swarm.name);
  count(&RetentionCounts::swarms_removed);
  return {};
}

Result<void> Retention::forget_host(const Due& host) {
  fbs::ForgetHostT message;
  message.changed_unix_ms = host.since_unix_ms;
  if (auto asked = ask("host", host.name, actors::Host::Messages::encode(message)); !asked)
    return asked;
  spdlog::info("host {} is removed: it was not here any more", host.name);
  count(&RetentionCounts::hosts_removed);
  return {};
}

}  // namespace muster::musterd
