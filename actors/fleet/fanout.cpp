// What concerns many runs, in pages: making them from the snapshot, opening a wave, cancelling, retrying.
#include <algorithm>
#include <chrono>

#include "actors/fleet/life.hpp"
#include "actors/run/run.hpp"
#include "storage/base/ids.hpp"

namespace muster::actors {

using fbs::FanOut;
using fbs::FleetState;
using fbs::RunState;

namespace {

constexpr std::uint32_t kSnapshotPage = 100;
constexpr Duration kSnapshotEffect = std::chrono::minutes(1);
/// Above the fields of a row and a CreateRun that differ between runs.
constexpr std::size_t kRunOverhead = 1024;

std::string row_key(const std::string& run) { return std::string(fleet::kRowPrefix) + run; }

bool wanted(const fbs::NextPageT& page, const fbs::RunRowT& row) {
  const bool cls = page.classes.empty() || std::find(page.classes.begin(), page.classes.end(),
                                                     row.class_) != page.classes.end();
  return cls && (page.repository_glob.empty() ||
                 glob_matches(page.repository_glob, row.repository));
}

}  // namespace

void FleetLife::read_snapshot() {
  fbs::ReadSnapshotT read;
  read.digest = created().snapshot_digest;
  read.first = s_.snapshot_next;
  read.count = std::min(kSnapshotPage, s_.wave_limits.back() - s_.snapshot_next);
  const std::string key = "snapshot/" + name() + "/" + std::to_string(s_.snapshot_next);
  ctx_.perform({"snapshot", key, encode_effect(std::move(read)), kSnapshotEffect,
                unknown<Fleet>(key)});
}

void FleetLife::on(const fbs::SnapshotPageT& m) {
  if (!exists() || ended() || all_made() || m.first != s_.snapshot_next) return;
  if (!m.error.empty() || m.entries.empty())
    return halt("the list of repositories can't be read: " +
                (m.error.empty() ? "it ends too early" : m.error));
  const fbs::CreateFleetT create = created();
  std::size_t bytes_left = fleet::kPageBytes;
  for (const auto& entry : m.entries) {
    if (all_made() || (entry && !make_run(create, *entry, bytes_left))) break;
    ++s_.snapshot_next;
  }
  if (!all_made()) return read_snapshot();
  settle();
}

/// False when it does not fit into this decision: the next page begins with it.
bool FleetLife::make_run(const fbs::CreateFleetT& create, const fbs::SnapshotEntryT& entry,
                         std::size_t& bytes_left) {
  const std::string& canonical = entry.canonical_url.empty() ? entry.url : entry.canonical_url;
  fbs::RunRowT row;
  row.run = run_id(name(), canonical, 1);
  if (ctx_.row(row_key(row.run))) {  // the same repository twice is one run
    --s_.total;
    return true;
  }
  row.repository = entry.repository;
  row.url = entry.url;
  row.canonical_url = canonical;
  row.base_branch = entry.base_branch;
  row.labels_json = entry.labels_json;
  row.wave = fleet::wave_of(s_.wave_limits, s_.snapshot_next);
  row.cancels = s_.cancels;
  row.created_unix_ms = row.changed_unix_ms = ctx_.now().unix_ms;
  const fbs::CreateRunT message = create_run(create, row);
  const std::size_t bytes = 2 * engine::encode_table(row).size() +
                            engine::encode_table(message).size() + kRunOverhead;
  if (bytes > bytes_left && bytes_left < fleet::kPageBytes) return false;
  bytes_left -= std::min(bytes, bytes_left);
  fleet::count(s_, row, 1);
  ctx_.put_row(row_key(row.run), engine::encode_table(row));
  ctx_.send<Run>(row.run, message);
  return true;
}

fbs::CreateRunT FleetLife::create_run(const fbs::CreateFleetT& create,
                                      const fbs::RunRowT& row) const {
  fbs::CreateRunT m;
  m.fleet = name();
  m.repository = row.repository;
  m.url = row.url;
  m.canonical_url = row.canonical_url;
  m.base_branch = row.base_branch;
  m.labels_json = row.labels_json;
  m.generation = row.generation;
  m.wave = row.wave;
  m.policy = std::make_unique<fbs::RunPolicyT>(*s_.policy);
  m.spec_digest = create.spec_digest;
  m.agent_bundle = create.agent_bundle;
  m.author = create.author;
  m.title = create.title;
  m.body = create.body;
  m.draft = create.draft;
  m.pull_labels = create.pull_labels;
  m.reviewers = create.reviewers;
  m.assignees = create.assignees;
  m.branch_is_ours = row.pushed;
  if (create.fork) m.fork = std::make_unique<fbs::ForkT>(*create.fork);
  return m;
}

void FleetLife::proceed(const std::string& run) { ctx_.send<Run>(run, fbs::ProceedT{}); }

void FleetLife::on(const fbs::NextPageT& m) {
  const bool opening = m.what == FanOut::open_wave || m.what == FanOut::retry;
  if (!exists() || (opening && s_.cancelling)) return;
  if (m.what == FanOut::cancel && !s_.cancelling && m.cancels == 0) return;  // written by 0.1: see cancel_row
  if (m.what == FanOut::forget && !s_.forgetting) return;
  page(m);
  settle();
}

bool FleetLife::page(const fbs::NextPageT& page) {
  const auto rows = ctx_.rows(page.from.empty() ? fleet::kRowPrefix : std::string_view(page.from),
                              fleet::kRowEnd, fleet::kScan);
  std::optional<fbs::CreateFleetT> create;
  if (page.what == FanOut::retry) create = created();
  const std::size_t create_bytes = create ? engine::encode_table(*create).size() : 0;
  std::size_t sent = 0, looked_at = 0;
  // A retried run takes three messages, and the bytes of a CreateRun.
  while (looked_at < rows.size() && sent + 3 <= fleet::kPage &&
         (sent + 3) / 3 * (create_bytes + 4 * kRunOverhead) <= fleet::kPageBytes) {
    const auto row = must_decode<fbs::RunRowT>(rows[looked_at++].second);
    if (page.what == FanOut::open_wave) sent += open_row(row, page.wave);
    if (page.what == FanOut::cancel) sent += cancel_row(row, page);
    if (page.what == FanOut::retry) sent += retry_row(*create, row, page);
    if (page.what == FanOut::forget) sent += forget_row(row);
  }
  const bool more = looked_at < rows.size() || rows.size() == fleet::kScan;
  if (more) {
    fbs::NextPageT next = page;
    next.from = rows[looked_at - 1].first + '\0';
    ctx_.send<Fleet>(name(), next);
  } else if (page.what == FanOut::forget) {
    gone_with_its_runs();
  }
  return sent > 0 || more;
}

std::size_t FleetLife::open_row(const fbs::RunRowT& row, std::uint32_t wave) {
  if (row.wave != wave || row.state != RunState::waiting) return 0;
  proceed(row.run);
  return 1;
}

/// A swarm's fleet may go on while the pages of a cancel are under way: they mean the runs that there were, and all of them.
std::size_t FleetLife::cancel_row(const fbs::RunRowT& row, const fbs::NextPageT& page) {
  if (is_end(row.state) || (page.cancels != 0 && row.cancels >= page.cancels)) return 0;
  fbs::CancelRunT cancel;
  cancel.reason = s_.reason.empty() ? "its fleet was cancelled" : s_.reason;
  ctx_.send<Run>(row.run, cancel);
  return 1;
}

/// The run goes, and with it the row: its counters stay true to the end.
std::size_t FleetLife::forget_row(const fbs::RunRowT& row) {
  ctx_.send<Run>(row.run, fbs::ForgetRunT{});
  fleet::count(s_, row, -1);
  ctx_.erase_row(row_key(row.run));
  return 1;
}

/// A new generation takes the failed run's place. Its own wave is open: it has run before.
std::size_t FleetLife::retry_row(const fbs::CreateFleetT& create, const fbs::RunRowT& row,
                                 const fbs::NextPageT& page) {
  if (row.state != RunState::failed || !wanted(page, row)) return 0;
  fbs::RunRowT next;
  next.generation = row.generation + 1;
  next.run = run_id(name(), row.canonical_url, next.generation);
  if (ctx_.row(row_key(next.run))) return 0;  // retried already, and not yet superseded
  reopen();
  next.repository = row.repository;
  next.url = row.url;
  next.canonical_url = row.canonical_url;
  next.base_branch = row.base_branch;
  next.labels_json = row.labels_json;
  next.wave = row.wave;
  next.pushed = row.pushed;
  next.cancels = s_.cancels;
  next.created_unix_ms = next.changed_unix_ms = ctx_.now().unix_ms;
  fleet::count(s_, next, 1);
  ctx_.put_row(row_key(next.run), engine::encode_table(next));
  ctx_.send<Run>(next.run, create_run(create, next));
  proceed(next.run);
  ctx_.send<Run>(row.run, fbs::SupersedeT{});
  return 3;
}

}  // namespace muster::actors
