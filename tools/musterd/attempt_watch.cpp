#include "tools/musterd/attempt_watch.hpp"

#include <algorithm>

#include "actors/indexes.hpp"
#include "engine/core/selected_changes.hpp"
#include "storage/base/ids.hpp"
#include "tools/musterd/render.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kMaxWaiting = 4'096;
constexpr std::size_t kRemembered = 8'192;

std::string hex_of(const std::string& text, std::size_t digits) {
  return sha256_hex(text).substr(0, digits);
}

/// Whether an attempt may have ended with it: the run left its host, or was told what becomes of it
/// afterwards. A run is read for no other change, of which there are many.
bool may_end_attempt(const engine::Change& change) {
  if (change.actor.kind != "run") return false;
  for (const fbs::RunBody last :
       {fbs::RunBody::PushDone, fbs::RunBody::PullOpened, fbs::RunBody::EffectUnknown,
        fbs::RunBody::CancelRun, fbs::RunBody::Supersede, fbs::RunBody::StateTimeout})
    if (change.message_type == static_cast<std::uint16_t>(last)) return true;
  return std::any_of(change.indexes.begin(), change.indexes.end(), [](const auto& index) {
    return index.index == actors::index::kPlaced && !index.value;
  });
}

}  // namespace

std::vector<PhaseSpan> phases_of(const fbs::AttemptRowT& a) {
  std::vector<PhaseSpan> phases;
  const auto add = [&](const char* name, std::int64_t begin, std::int64_t end) {
    if (begin != 0 && end >= begin) phases.push_back({name, {begin}, {end}});
  };
  add("queue", a.queued_unix_ms, a.placed_unix_ms);
  add("start", a.placed_unix_ms, a.running_unix_ms);
  add("agent", a.running_unix_ms,
      a.verifying_unix_ms != 0 ? a.verifying_unix_ms : a.finished_unix_ms);
  add("verify", a.verifying_unix_ms, a.finished_unix_ms);
  add("deliver", a.finished_unix_ms, a.delivered_unix_ms);
  return phases;
}

std::vector<Span> spans_of(const std::string& run, const fbs::RunHeadT& head,
                           const fbs::AttemptRowT& attempt) {
  constexpr std::size_t kTrace = 32;
  constexpr std::size_t kSpan = 16;
  const std::string name = run + "-" + std::to_string(attempt.attempt);
  const auto phases = phases_of(attempt);
  if (phases.empty()) return {};
  Span whole;
  whole.trace_id = hex_of("run/" + run, kTrace);
  whole.span_id = hex_of("attempt/" + name, kSpan);
  whole.name = "attempt";
  whole.begin = phases.front().begin;
  whole.end = phases.back().end;
  whole.failed = attempt.class_ != fbs::FailureClass::none;
  whole.attributes = {{"muster.run", run},
                      {"muster.attempt", std::to_string(attempt.attempt)},
                      {"muster.fleet", head.fleet},
                      {"muster.repository", head.repository},
                      {"muster.host", attempt.host},
                      {"muster.class", std::string(name_of(attempt.class_))},
                      {"muster.reason", attempt.reason}};
  std::vector<Span> spans{whole};
  for (const PhaseSpan& phase : phases) {
    Span span;
    span.trace_id = whole.trace_id;
    span.span_id = hex_of("attempt/" + name + "/" + phase.name, kSpan);
    span.parent = whole.span_id;
    span.name = phase.name;
    span.begin = phase.begin;
    span.end = phase.end;
    spans.push_back(std::move(span));
  }
  return spans;
}

AttemptWatch::AttemptWatch(engine::Engine& engine, View view, Sinks sinks)
    : view_(std::move(view)),
      inside_(dynamic_cast<engine::Inside*>(&engine)),
      sinks_(std::move(sinks)) {
  const auto each = [this](const std::vector<engine::Change>& ends) {
    const std::lock_guard lock(mutex_);
    for (const engine::Change& change : ends)
      if (waiting_.size() < kMaxWaiting) waiting_.insert(change.actor.key);
    changed_.notify_one();
  };
  // Selected where they are told: of all other commits nothing is copied, and nobody is woken.
  subscription_ = engine::subscribe_selected(engine, may_end_attempt, each);
  thread_ = std::thread([this] { run(); });
}

AttemptWatch::~AttemptWatch() {
  subscription_.reset();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_one();
  }
  thread_.join();
}

void AttemptWatch::run() {
  for (;;) {
    std::set<std::string> runs;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      runs.swap(waiting_);
    }
    for (const std::string& run : runs) look(run);
  }
}

/// An attempt is measured when nothing more happens to it: the run has ended, waits again, or is on
/// another one.
void AttemptWatch::look(const std::string& run) {
  const auto head = view_.run_head(run);
  if (!head || head->attempt == 0) return;
  const bool over = is_end(head->state) || head->state == fbs::RunState::waiting ||
                    head->state == fbs::RunState::queued;
  const std::string name = run + "-" + std::to_string(head->attempt);
  if (!over || measured_.contains(name)) return;
  const auto attempt = view_.attempt(run, head->attempt);
  if (!attempt || attempt->placed_unix_ms == 0) return;
  measured_.insert(name);
  measured_order_.push_back(name);
  if (measured_order_.size() > kRemembered) {
    measured_.erase(measured_order_.front());
    measured_order_.pop_front();
  }
  constexpr double kMillisecond = 1e-3;
  for (const PhaseSpan& phase : phases_of(*attempt))
    sinks_.phase(phase.name, static_cast<double>((phase.end - phase.begin).count()) * kMillisecond);
  if (attempt->report)  // What the host measured itself; fetch and create are within start.
    for (const auto& [phase, ms] : {std::pair{"fetch", attempt->report->fetch_ms},
                                    std::pair{"create", attempt->report->create_ms},
                                    std::pair{"teardown", attempt->report->teardown_ms}})
      if (ms > 0) sinks_.phase(phase, static_cast<double>(ms) * kMillisecond);
  if (sinks_.reuse && attempt->report)
    for (const auto& [what, found] : {std::pair{"warm_sandbox", attempt->report->warm_sandbox},
                                      std::pair{"prebuild", attempt->report->prebuild}})
      if (found != wire::Reuse::none) sinks_.reuse(what, found == wire::Reuse::hit);
  if (sinks_.traces == nullptr) return;
  for (Span& span : spans_of(run, *head, *attempt)) {
    if (span.parent.empty()) span.attributes[kCorrelation] = made_by(run);
    sinks_.traces->add(std::move(span));
  }
}

/// The key of the request that the run comes of; "" when its first message is no longer kept.
std::string AttemptWatch::made_by(const std::string& run) const {
  if (inside_ == nullptr) return "";
  const engine::Journals journals = inside_->journals();
  const engine::ActorId id = view_.actor("run", run);
  const auto actor = engine::look_at(journals, id);
  if (!actor || !*actor) return "";
  const auto first =
      engine::read_message(*journals[engine::shard_of(journals, id)], (*actor)->incarnation);
  return first && *first ? (*first)->correlation : "";
}

}  // namespace muster::musterd
