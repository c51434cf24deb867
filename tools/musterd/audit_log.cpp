#include "tools/musterd/audit_log.hpp"

#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "storage/base/files.hpp"

namespace muster::musterd {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMaxDetail = 4u << 10;
constexpr std::size_t kMaxCursor = 64u << 10;
constexpr std::chrono::seconds kIdle{1};  // Between looks when nothing wakes the thread.

std::string one_line(const ordered_json& json) {
  // A detail may quote bytes from outside; JSON escapes line breaks.
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

/// Not what is empty: most entries have few fields.
void put(ordered_json& into, const char* key, const std::string& value) {
  if (!value.empty()) into[key] = value.substr(0, kMaxDetail);
}

std::string payload_of(const engine::DecidedAudit& decided) {
  ordered_json json = {{"at", to_rfc3339(decided.at)}};
  put(json, "who", decided.who);
  put(json, "action", decided.action);
  put(json, "target", decided.actor.to_string());
  json["outcome"] = "decided";
  put(json, "detail", decided.detail);
  put(json, "correlation", decided.correlation);
  json["decided"] = {decided.shard, decided.position, decided.ordinal};
  return one_line(json);
}

}  // namespace

std::string audit_payload(const AuditNote& note, Instant now) {
  ordered_json json = {{"at", to_rfc3339(now)}};
  put(json, "who", note.who);
  put(json, "how", note.how);
  put(json, "from", note.from);
  put(json, "action", note.action);
  put(json, "target", note.target);
  put(json, "outcome", note.outcome);
  put(json, "detail", note.detail);
  put(json, "correlation", note.correlation);
  return one_line(json);
}

AuditLog::AuditLog(AuditPlaces places, AuditLimits limits,
                   std::unique_ptr<storage::AuditChain> chain, storage::SigningKey key)
    : places_(std::move(places)), limits_(limits), chain_(std::move(chain)), key_(std::move(key)) {}

Result<std::unique_ptr<AuditLog>> AuditLog::open(AuditPlaces places, AuditLimits limits) {
  for (const auto& directory : {places.heads.parent_path(), places.key.parent_path()})
    if (auto made = make_directory(directory, 0700); !made)
      return tl::unexpected<Error>(made.error());
  auto key = storage::SigningKey::ensure(places.key);
  if (!key) return tl::unexpected<Error>(key.error());
  auto chain = storage::AuditChain::open(places.directory);
  if (!chain) return fail(chain.error(), "opening the audit log");
  std::unique_ptr<AuditLog> log(
      new AuditLog(std::move(places), limits, std::move(*chain), std::move(*key)));
  if (auto found = log->find_decided(); !found) return tl::unexpected<Error>(found.error());
  return log;
}

/// The cursor is a short cut: what was appended after it is read from the chain itself.
Result<void> AuditLog::find_decided() {
  std::uint64_t from = 0;
  const auto text = read_file(places_.directory / "cursor", kMaxCursor);
  const auto cursor = ordered_json::parse(text.value_or(""), nullptr, false);
  if (cursor.is_object() && cursor.contains("number") && cursor.contains("decided")) {
    from = cursor["number"].get<std::uint64_t>();
    for (const auto& each : cursor["decided"]) learn(one_line({{"decided", each}}));
  }
  return chain_->read(from, [&](const storage::AuditEntry& entry) {
    learn(entry.payload);
    return true;
  });
}

void AuditLog::learn(std::string_view payload) {
  // Most entries are notes; parsing all of a long chain would take seconds.
  if (payload.find("\"decided\":[") == std::string_view::npos) return;
  const auto json = ordered_json::parse(payload, nullptr, false);
  const auto found = json.is_object() ? json.find("decided") : json.end();
  if (!json.is_object() || found == json.end() || !found->is_array() || found->size() != 3) return;
  decided_[(*found)[0].get<std::uint32_t>()] = {(*found)[1].get<std::uint64_t>(),
                                                (*found)[2].get<std::uint32_t>()};
}

void AuditLog::follow(engine::Engine& engine) {
  engine_ = &engine;
  subscription_ = engine.subscribe([this](const std::vector<engine::Change>&) {
    const std::lock_guard lock(mutex_);
    commits_ = true;
    changed_.notify_one();
  });
  thread_ = std::thread([this] { run(); });
}

void AuditLog::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_one();
  }
  thread_.join();
  subscription_.reset();
}

void AuditLog::note(AuditNote note) {
  std::string payload = audit_payload(note, wall_clock_now());
  const std::lock_guard lock(mutex_);
  if (waiting_.size() >= limits_.waiting) {
    ++uncounted_;
    return;
  }
  waiting_.push_back(std::move(payload));
  changed_.notify_one();
}

Result<void> AuditLog::note_now(const AuditNote& note) {
  const auto head = chain_->append({audit_payload(note, wall_clock_now())});
  if (!head) return tl::unexpected<Error>(head.error());
  wakes_.wake("");
  return {};
}

void AuditLog::run() {
  for (;;) {
    bool stopping = false;
    bool commits = false;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, kIdle, [this] { return stopping_ || commits_ || !waiting_.empty(); });
      stopping = stopping_;
      commits = std::exchange(commits_, false) || stopping;
    }
    Result<void> done = write_notes();
    for (std::uint32_t shard = 0; done && commits && shard < engine_->shards(); ++shard)
      done = write_decided(shard);
    if (done) done = sign_if_due(stopping);
    std::string before;
    {
      const std::lock_guard lock(mutex_);
      before = std::exchange(trouble_, done ? "" : done.error().message);
      if (!done) commits_ = true;  // Once more, after a while.
    }
    if (!done && before != done.error().message)
      spdlog::error("audit log: {}", done.error().message);
    if (stopping) return;
    if (done) continue;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kIdle, [this] { return stopping_; });
  }
}

/// Notes leave memory only once they are written.
Result<void> AuditLog::write_notes() {
  for (;;) {
    std::vector<std::string> batch;
    std::uint64_t uncounted = 0;
    {
      const std::lock_guard lock(mutex_);
      const std::size_t count = std::min(waiting_.size(), limits_.batch);
      batch.assign(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
      uncounted = uncounted_;
    }
    const std::size_t taken = batch.size();
    if (uncounted > 0)
      batch.push_back(
          audit_payload({"", "", "", "audit.overloaded", "", "not kept",
                         std::to_string(uncounted) + " notes came when there was no room", ""},
                        wall_clock_now()));
    if (batch.empty()) return {};
    if (auto done = append(batch); !done) return done;
    const std::lock_guard lock(mutex_);
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(taken));
    uncounted_ -= uncounted;
  }
}

Result<void> AuditLog::write_decided(std::uint32_t shard) {
  for (bool more = true; more;) {
    std::vector<std::string> batch;
    Decided reached = decided_[shard];
    more = false;
    // A decision may have several entries: the one that was reached is read once more, for those
    // after it.
    const auto read = engine_->audits(shard, reached.position == 0 ? 0 : reached.position - 1,
                                      [&](const engine::DecidedAudit& decided) {
                                        const Decided& before = decided_[shard];
                                        if (std::pair(decided.position, decided.ordinal) <=
                                                std::pair(before.position, before.ordinal) &&
                                            before.position != 0)
                                          return true;
                                        more = batch.size() >= limits_.batch;
                                        if (more) return false;
                                        batch.push_back(payload_of(decided));
                                        reached = {decided.position, decided.ordinal};
                                        return true;
                                      });
    if (!read) return read;
    if (batch.empty()) return {};
    if (auto done = append(batch); !done) return done;
    decided_[shard] = reached;
  }
  return {};
}

Result<void> AuditLog::append(const std::vector<std::string>& payloads) {
  const auto head = chain_->append(payloads);
  if (!head) return tl::unexpected<Error>(head.error());
  wakes_.wake("");
  return {};
}

Result<void> AuditLog::sign_if_due(bool now) {
  const auto clock = std::chrono::steady_clock::now();
  if (!now && clock - signed_at_ < limits_.signing) return {};
  signed_at_ = clock;
  const auto head = chain_->head();
  if (!head) return tl::unexpected<Error>(head.error());
  if (*head == signed_ || head->number == 0) return {};
  if (auto done = storage::append_head(places_.heads, *head, key_, wall_clock_now()); !done)
    return done;
  signed_ = *head;
  return write_cursor(*head);
}

Result<void> AuditLog::write_cursor(const storage::AuditHead& head) const {
  ordered_json decided = ordered_json::array();
  for (const auto& [shard, at] : decided_)
    if (at.position > 0) decided.push_back({shard, at.position, at.ordinal});
  return write_file_durably(places_.directory / "cursor",
                            one_line({{"number", head.number}, {"decided", decided}}), 0600);
}

Result<std::vector<AuditRecord>> AuditLog::after(std::uint64_t number, std::size_t limit) const {
  std::vector<AuditRecord> records;
  const auto read = chain_->read(number, [&](const storage::AuditEntry& entry) {
    records.push_back({entry.number, std::string(entry.hash), std::string(entry.payload)});
    return records.size() < limit;
  });
  if (!read) return tl::unexpected<Error>(read.error());
  return records;
}

Result<storage::AuditReport> AuditLog::verify() const {
  const std::lock_guard lock(pruning_);
  const auto key = storage::VerifyingKey::read(places_.key.string() + ".pub");
  if (!key) return tl::unexpected<Error>(key.error());
  return storage::verify_audit(places_.directory, places_.heads, *key);
}

Result<storage::AuditCheckpoint> AuditLog::prune(std::uint64_t upto,
                                                 const std::string& export_sha256) {
  const std::lock_guard lock(pruning_);
  return chain_->prune(upto, export_sha256, key_, wall_clock_now());
}

std::string AuditLog::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_.empty() ? "" : "the audit log can't be written: " + trouble_;
}

}  // namespace muster::musterd
