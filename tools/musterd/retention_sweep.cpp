// What nothing names any more: packs and artefacts, uploaded files, repositories.
#include <charconv>
#include <functional>

#include "actors/common.hpp"
#include "actors/repo/repo.hpp"
#include "engine/core/inspect.hpp"
#include "tools/musterd/retention.hpp"

namespace muster::musterd {
namespace {

/// Of one look; the next one goes on.
constexpr std::size_t kMostRepositories = 1'000;

const std::string& key_of(const std::string& name) {
  return name;
}
const std::string& key_of(const RunName& run) {
  return run.id;
}
const std::string& key_of(const PullName& pull) {
  return pull.id;
}

std::uint64_t beginning_of(std::string_view digest) {
  std::uint64_t number = 0;
  const std::string_view digits = digest.substr(0, 16);
  std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
  return number;
}

std::size_t hash_of_repository(std::string_view name) {
  return std::hash<std::string_view>()(name);
}

template <class T>
Result<void> unless_gone(const Result<T>& read) {
  if (read || read.error().code == Errc::not_found) return {};
  return tl::unexpected<Error>(read.error());
}

}  // namespace

/// All of a list, page by page: the journal is let go of before `each` reads more. Ends early when
/// musterd stops.
template <class Item, class List, class Each>
Result<void> Retention::in_pages(const List& list, const Each& each) const {
  std::string after;
  for (bool more = true; more && !stopping();) {
    std::vector<Item> page;
    const auto listed = list(after, [&](const Item& item) {
      page.push_back(item);
      return page.size() < kRetentionPage;
    });
    if (!listed) return listed;
    more = page.size() == kRetentionPage;
    for (const Item& item : page)
      if (auto done = each(item); !done) return done;
    if (!page.empty()) after = key_of(page.back());
  }
  return {};
}

// ---- what is named ----

/// Two that begin alike only keep one too many, as two names of one hash do.
void Retention::Names::digest(std::string_view digest) {
  if (!digest.empty()) digests.insert(beginning_of(digest));
}

void Retention::Names::repository(std::string_view repository) {
  repositories.insert(hash_of_repository(repository));
}

/// Swarms before runs: what one of them named when a run began is in here, or was kept since.
Result<Retention::Names> Retention::names() const {
  Names names;
  Result<void> read = name_swarms(names);
  if (read) read = name_fleets(names);
  if (read)
    read = in_pages<RunName>(
        [this](const std::string& after, const auto& each) { return view_.each_run(after, each); },
        [&](const RunName& run) { return name_run(run, names); });
  if (read)
    read = in_pages<PullName>(
        [this](const std::string& after, const auto& each) {
          return view_.each_pull("", after, each);
        },
        [&](const PullName& pull) {
          names.repository(std::string_view(pull.id).substr(0, pull.id.rfind('#')));
          return Result<void>{};
        });
  if (!read) return tl::unexpected<Error>(read.error());
  return names;
}

Result<void> Retention::name_swarms(Names& names) const {
  return in_pages<std::string>(
      [this](const std::string& after, const auto& each) { return view_.each_swarm(after, each); },
      [&](const std::string& name) {
        const auto head = view_.swarm(name);
        const auto create = view_.swarm_create(name);
        if (head) names.digest(head->plan_digest);
        if (create) names.digest(create->plan_digest);
        if (create) names.digest(create->agent_bundle);
        if (auto read = unless_gone(head); !read) return read;
        return unless_gone(create);
      });
}

Result<void> Retention::name_fleets(Names& names) const {
  return in_pages<std::string>(
      [this](const std::string& after, const auto& each) { return view_.each_fleet(after, each); },
      [&](const std::string& name) {
        const auto create = view_.fleet_create(name);
        if (create)
          for (const std::string* digest :
               {&create->spec_digest, &create->snapshot_digest, &create->agent_bundle})
            names.digest(*digest);
        return unless_gone(create);
      });
}

/// The packs and artefacts of its attempts as long as they are kept, and until its end what a host
/// is given.
Result<void> Retention::name_run(const RunName& run, Names& names) const {
  names.repository(run.repository);
  const auto fleet = view_.fleet(run.fleet);
  const auto row = fleet ? view_.row(run.fleet, run.id)
                         : Result<fbs::RunRowT>(tl::unexpected<Error>(fleet.error()));
  if (row && is_given_up(*row, fleet->removed_unix_ms)) return {};
  if (!row || !actors::is_end(row->state)) {
    const auto bytes = engine_.row(view_.actor("run", run.id), "create");
    if (!bytes) return tl::unexpected<Error>(bytes.error());
    const auto create =
        *bytes ? engine::decode_table<fbs::CreateRunT>(**bytes) : Result<fbs::CreateRunT>{};
    if (!create) return tl::unexpected<Error>(create.error());
    names.digest(create->spec_digest);
    names.digest(create->agent_bundle);
  }
  const auto attempts = view_.attempts(run.id);
  if (!attempts) return tl::unexpected<Error>(attempts.error());
  for (const auto& attempt : *attempts) {
    if (attempt.checkpoint) names.digest(attempt.checkpoint->digest);
    if (!attempt.report) continue;
    names.digest(attempt.report->pack_digest);
    names.digest(attempt.report->artifacts_digest);
    if (attempt.report->checkpoint) names.digest(attempt.report->checkpoint->digest);
  }
  return {};
}

// ---- what is not ----

Result<void> Retention::sweep() {
  const Instant before = wall_clock_now() - limits_.grace;  // A file's time is the wall's.
  const auto named = names();
  if (!named) return tl::unexpected<Error>(named.error());
  if (stopping()) return {};  // Not all were named.
  Result<void> first{};
  const auto and_then = [&first](Result<void> done) {
    if (!done && first) first = std::move(done);
  };
  and_then(sweep_blobs(packs_, *named, before, &RetentionCounts::packs_due,
                       &RetentionCounts::packs_removed));
  and_then(sweep_blobs(files_, *named, before, &RetentionCounts::files_due,
                       &RetentionCounts::files_removed));
  and_then(sweep_repositories(*named));
  if (!first) return first;
  // Runs of what was forgotten in this look had their names still.
  sweep_ = std::exchange(fading_, false);
  swept_ = engine_.now();
  return {};
}

Result<void> Retention::sweep_blobs(Blobs& blobs, const Names& names, Instant before,
                                    std::uint64_t RetentionCounts::*due,
                                    std::uint64_t RetentionCounts::*removed) {
  if (!limits_.dry_run)  // What writers, or an earlier look, left half done.
    if (auto cleaned = blobs.clean(limits_.grace); !cleaned)
      return tl::unexpected<Error>(cleaned.error());
  std::vector<std::string> unnamed;
  const auto listed = blobs.each([&](const std::string& digest, Instant arrived) {
    if (arrived < before && !names.digests.contains(beginning_of(digest)))
      unnamed.push_back(digest);
  });
  if (!listed) return listed;
  {
    const std::lock_guard lock(mutex_);
    counts_.*due = unnamed.size();
  }
  for (const std::string& digest : unnamed) {
    if (limits_.dry_run || stopping()) return {};
    const auto gone = blobs.remove_older(digest, before);
    if (!gone) return tl::unexpected<Error>(gone.error());
    if (*gone) count(removed);
  }
  return {};
}

/// Since nothing names them, whatever named them is gone, and so its time is over.
Result<void> Retention::sweep_repositories(const Names& names) {
  const auto* inside = dynamic_cast<engine::Inside*>(&engine_);
  if (inside == nullptr) return {};
  std::vector<std::string> unnamed;
  engine::ActorQuery query;
  query.org = view_.actor("repo", "").org;
  query.kind = actors::Repo::kName;
  for (bool more = true; more && !stopping();) {
    std::size_t read = 0;
    std::string last;
    const auto listed = engine::each_actor(
        inside->journals(), query,
        [&](const engine::ActorId& repo, std::string_view, const std::string& key) {
          last = key;
          if (!names.repositories.contains(hash_of_repository(repo.key))) unnamed.push_back(repo.key);
          return ++read < kRetentionPage && unnamed.size() < kMostRepositories;
        });
    if (!listed) return listed;
    query.after = std::move(last);
    more = read == kRetentionPage && unnamed.size() < kMostRepositories;
  }
  {
    const std::lock_guard lock(mutex_);
    counts_.repositories_due = unnamed.size();
  }
  for (const std::string& repository : unnamed) {
    if (limits_.dry_run || stopping()) return {};
    if (auto done = forget_repository(repository); !done) return done;
  }
  return {};
}

/// Somebody may want it again by now: then it stays.
Result<void> Retention::forget_repository(const std::string& repository) {
  auto asked = ask("repo", repository, actors::Repo::Messages::encode(fbs::ForgetRepoT{}));
  if (asked) count(&RetentionCounts::repositories_removed);
  if (!asked && asked.error().code != Errc::refused && asked.error().code != Errc::not_found)
    return asked;
  return {};
}

}  // namespace muster::musterd
