#include "tools/musterd/retention.hpp"

#include <spdlog/spdlog.h>

#include <charconv>
#include <chrono>
#include <future>

#include "actors/common.hpp"
#include "actors/fleet/fleet.hpp"
#include "actors/pull/pull.hpp"
#include "storage/base/ids.hpp"

namespace muster::musterd {
namespace {

constexpr auto kBetweenLooks = std::chrono::hours(1);
constexpr auto kAnswer = std::chrono::seconds(10);
/// Fleets of one look; the next one goes on.
constexpr std::size_t kMostDue = 1'000;
/// Rows read before the journal is let go of.
constexpr std::size_t kRowPage = 1'000;
constexpr std::size_t kMostPulls = 1'000;

bool fleet_ended(const fbs::FleetHeadT& fleet) {
  return fleet.state >= fbs::FleetState::completed && fleet.ended_unix_ms > 0 && !fleet.forgetting;
}

bool has_contents(const fbs::FleetHeadT& fleet) {
  return fleet.removed_unix_ms < fleet.ended_unix_ms || !fleet.contents_gone;
}

bool is_given_up(const fbs::RunRowT& row, std::int64_t given_up_unix_ms) {
  return actors::is_end(row.state) && row.ended_unix_ms <= given_up_unix_ms;
}

std::uint64_t beginning_of(std::string_view digest) {
  std::uint64_t number = 0;
  const std::string_view digits = digest.substr(0, 16);
  std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
  return number;
}

}  // namespace

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

Result<void> Retention::look() {
  const auto found = due();
  if (!found) return tl::unexpected<Error>(found.error());
  {
    const std::lock_guard lock(mutex_);
    counts_.contents_due = counts_.fleets_due = 0;
    for (const Due& each : *found) ++(each.contents ? counts_.contents_due : counts_.fleets_due);
  }
  if (limits_.dry_run) return {};
  Result<void> first{};
  for (const Due& each : *found) {
    if (stopping()) return first;
    auto done = each.contents ? remove_contents(each) : forget(each);
    // Somebody retried it since: it has not ended any more.
    if (!done && done.error().code != Errc::refused && first) first = std::move(done);
  }
  if (sweep_ && !stopping())
    if (auto swept = sweep_packs(); !swept && first) first = std::move(swept);
  return first;
}

/// The contents of a fleet go before it does, if only by one look.
Result<std::vector<Retention::Due>> Retention::due() const {
  const Instant now = engine_.now();
  const auto is_over = [&](std::int64_t ended, Duration kept) {
    return kept > Duration{0} && now - Instant{ended} >= kept;
  };
  std::vector<Due> all;
  Result<void> read{};
  const auto listed = view_.each_fleet("", [&](const std::string& name) {
    const auto fleet = view_.fleet(name);
    if (!fleet) {
      if (fleet.error().code == Errc::not_found) return true;  // It went meanwhile.
      read = tl::unexpected<Error>(fleet.error());
      return false;
    }
    if (!fleet_ended(*fleet)) return true;
    const bool ends = is_over(fleet->ended_unix_ms, limits_.fleets) && fleet->swarm.empty();
    if (has_contents(*fleet)) {
      if (ends || is_over(fleet->ended_unix_ms, limits_.contents))
        all.push_back({name, fleet->ended_unix_ms, true});
    } else if (ends && !has_open_pull(name)) {
      all.push_back({name, fleet->ended_unix_ms, false});
    }
    return all.size() < kMostDue;
  });
  if (!listed) return tl::unexpected<Error>(listed.error());
  if (!read) return tl::unexpected<Error>(read.error());
  return all;
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
template <template <class> class Traits, class M>
Result<void> Retention::ask(const char* kind, const std::string& key, const M& message) {
  engine::Call call;
  call.to = view_.actor(kind, key);
  call.payload = engine::MessageSet<Traits, M>::encode(message);
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

Result<void> Retention::remove_contents(const Due& fleet) {
  fbs::RemoveContentsT message;
  message.ended_unix_ms = fleet.ended_unix_ms;
  if (auto asked = ask<fbs::FleetBodyUnionTraits>("fleet", fleet.name, message); !asked)
    return asked;
  const auto given_up = view_.fleet(fleet.name);
  if (!given_up) return tl::unexpected<Error>(given_up.error());
  if (auto removed = remove_logs(fleet.name, given_up->removed_unix_ms); !removed) return removed;
  message.done = true;
  if (auto asked = ask<fbs::FleetBodyUnionTraits>("fleet", fleet.name, message); !asked)
    return asked;
  sweep_ = true;
  spdlog::info("fleet {}: its logs, packs and artefacts are removed", fleet.name);
  const std::lock_guard lock(mutex_);
  ++counts_.contents_removed;
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
      return ++rows < kRowPage;
    });
    if (!read) return read;
    more = rows == kRowPage;
    for (const std::string& run : runs) {
      if (stopping()) return fail(Errc::refused, "musterd stops");
      if (auto removed = logs_.remove(run); !removed) return removed;
    }
  }
  return {};
}

Result<void> Retention::forget(const Due& fleet) {
  std::vector<std::string> pulls;
  const auto listed = view_.each_pull(fleet.name, "", [&](const PullName& pull) {
    pulls.push_back(pull.id);
    return pulls.size() < kMostPulls;
  });
  if (!listed) return listed;
  for (const std::string& pull : pulls) {
    if (stopping()) return {};
    if (auto asked = ask<fbs::PullBodyUnionTraits>("pull", pull, fbs::ForgetPullT{}); !asked)
      return asked;
  }
  if (pulls.size() == kMostPulls) return {};  // The next look goes on.
  fbs::ForgetFleetT message;
  message.ended_unix_ms = fleet.ended_unix_ms;
  if (auto asked = ask<fbs::FleetBodyUnionTraits>("fleet", fleet.name, message); !asked)
    return asked;
  spdlog::info("fleet {} is removed with its runs", fleet.name);
  const std::lock_guard lock(mutex_);
  ++counts_.fleets_removed;
  return {};
}

// ---- packs ----

/// Of every attempt whose contents are kept. Two digests that begin alike only keep one too many.
Result<Retention::Named> Retention::named_packs() const {
  Named named;
  std::string after;
  for (bool more = true; more && !stopping();) {
    std::vector<RunName> runs;
    const auto listed = view_.each_run(after, [&](const RunName& run) {
      runs.push_back(run);
      return runs.size() < kRowPage;
    });
    if (!listed) return tl::unexpected<Error>(listed.error());
    more = runs.size() == kRowPage;
    for (const RunName& run : runs) {
      after = run.id;
      const auto fleet = view_.fleet(run.fleet);
      const auto row = fleet ? view_.row(run.fleet, run.id)
                             : Result<fbs::RunRowT>(tl::unexpected<Error>(fleet.error()));
      if (row && is_given_up(*row, fleet->removed_unix_ms)) continue;
      const auto attempts = view_.attempts(run.id);
      if (!attempts) return tl::unexpected<Error>(attempts.error());
      for (const auto& attempt : *attempts) {
        if (!attempt.report) continue;
        for (const std::string& digest :
             {attempt.report->pack_digest, attempt.report->artifacts_digest})
          if (!digest.empty()) named.insert(beginning_of(digest));
      }
    }
  }
  return named;
}

Result<void> Retention::sweep_packs() {
  const Instant before = wall_clock_now() - limits_.pack_grace;  // A file's time is the wall's.
  const auto named = named_packs();
  if (!named) return tl::unexpected<Error>(named.error());
  if (stopping()) return {};  // Not all were named.
  std::vector<std::string> unnamed;
  const auto listed = packs_.each([&](const std::string& digest, Instant changed) {
    if (changed < before && !named->contains(beginning_of(digest))) unnamed.push_back(digest);
  });
  if (!listed) return listed;
  for (const std::string& digest : unnamed) {
    if (auto removed = packs_.remove(digest); !removed) return removed;
    const std::lock_guard lock(mutex_);
    ++counts_.packs_removed;
  }
  sweep_ = false;
  return {};
}

}  // namespace muster::musterd
