// One shard on a bench: the test decides when the strand, the writer and the clock move.
#pragma once

#include <catch2/catch.hpp>

#include <deque>
#include <map>

#include "engine/core/keys.hpp"
#include "engine/core/records.hpp"
#include "engine/core/shard.hpp"
#include "storage/base/ids.hpp"
#include "storage/journal/memory_journal.hpp"
#include "tests/unit/engine/counter.hpp"

namespace muster::test {

using storage::Family;
using storage::MemoryJournal;

inline engine::ActorId counter_id(const std::string& key) { return {"test", "counter", key}; }

class ShardBench : engine::Executor, engine::Clock, engine::Link, engine::Outside {
 public:
  explicit ShardBench(engine::ShardLimits limits = {}) : limits_(limits) { start(); }

  // ---- life ----

  /// A new process on the same disk.
  void restart() {
    kill();
    start();
  }
  void kill() {
    strand_.clear();
    writer_.clear();
    later_.clear();
    effects.clear();
    shard.reset();
    journal->crash(MemoryJournal::Outcome::lost);
  }
  void start() {
    open();
    run();
  }
  /// As start(), and nothing has moved yet.
  void open() {
    journal = std::make_unique<MemoryJournal>(disk);
    shard = std::make_unique<engine::Shard>(
        engine::ShardConfig{{0, 1}, limits_}, kinds,
        engine::ShardWorld{*this, *this, *journal, *this, *this});
    shard->start([this](Result<void> ok) { started = std::move(ok); });
  }
  /// From the next start on.
  void set_limits(const engine::ShardLimits& limits) { limits_ = limits; }

  // ---- moving ----

  void run_strand() {
    while (run_task()) {
    }
  }
  /// One task of the strand.
  bool run_task() {
    if (strand_.empty()) return false;
    take(strand_)();
    return true;
  }
  /// One commit, without what comes after it.
  bool run_writer() {
    if (writer_.empty()) return false;
    take(writer_)();
    return true;
  }
  void run() {
    do run_strand();
    while (run_writer() || !strand_.empty());
  }
  void advance(std::int64_t ms) {
    const Instant until = now_ + Duration{ms};
    while (!later_.empty() && later_.begin()->first <= until) {
      auto first = later_.extract(later_.begin());
      now_ = std::max(now_, first.key());
      strand_.push_back(std::move(first.mapped()));
      run();
    }
    now_ = until;
    run();
  }
  void set_clock(Instant now) { now_ = now; }

  // ---- asking ----

  struct Answer {
    std::optional<Result<std::string>> result;
    [[nodiscard]] std::string text() const {
      if (!result) return "nothing yet";
      return *result ? **result : std::string(to_string(result->error().code));
    }
  };
  template <class M>
  std::shared_ptr<Answer> send(const std::string& key, const M& message,
                               engine::Lane lane = engine::Lane::normal, std::string api_key = {},
                               std::string digest = "digest") {
    return send_payload(counter_id(key), Counter::Messages::encode(message), lane,
                        std::move(api_key), std::move(digest));
  }
  std::shared_ptr<Answer> send_payload(engine::ActorId to, engine::Payload payload,
                                       engine::Lane lane = engine::Lane::normal,
                                       std::string api_key = {}, std::string digest = "digest") {
    engine::Call call;
    call.to = std::move(to);
    call.payload = std::move(payload);
    call.lane = lane;
    call.key = api_key.empty() ? new_key() : std::move(api_key);
    call.digest = std::move(digest);
    auto answer = std::make_shared<Answer>();
    shard->call(std::move(call), [answer](Result<std::string> r) { answer->result = std::move(r); });
    return answer;
  }
  template <class M>
  std::string call(const std::string& key, const M& message,
                   engine::Lane lane = engine::Lane::normal, std::string api_key = {},
                   std::string digest = "digest") {
    const auto answer = send(key, message, lane, std::move(api_key), std::move(digest));
    run();
    return answer->text();
  }
  std::string new_key() { return new_uuid_v7(shard->now()); }

  // ---- looking ----

  fbs::CounterHeadT state(const std::string& key) {
    const auto head = journal->get(Family::state, engine::keys::head(counter_id(key)));
    REQUIRE(head);
    REQUIRE(*head);
    return *engine::decode_table<fbs::CounterHeadT>(*engine::state_in_head(**head));
  }
  std::size_t rows(Family family) { return disk->rows[static_cast<std::size_t>(family)].size(); }
  std::vector<std::string> dead_reasons() {
    std::vector<std::string> reasons;
    for (const auto& [key, value] : disk->rows[static_cast<std::size_t>(Family::dead)])
      reasons.push_back(engine::decode_record<engine::fbs::DeadRecordT>(value)->reason);
    return reasons;
  }

  engine::Kinds kinds = engine::make_kinds<Counter>();
  std::shared_ptr<storage::MemoryDisk> disk = std::make_shared<storage::MemoryDisk>();
  std::unique_ptr<MemoryJournal> journal;
  std::unique_ptr<engine::Shard> shard;
  Result<void> started;
  std::vector<engine::PendingEffect> effects;
  std::vector<engine::Change> changes;
  std::string trouble_text;

 private:
  static engine::Task take(std::deque<engine::Task>& queue) {
    engine::Task task = std::move(queue.front());
    queue.pop_front();
    return task;
  }
  void post(engine::Task task) override { strand_.push_back(std::move(task)); }
  void post_after(Duration delay, engine::Task task) override {
    later_.emplace(now_ + delay, std::move(task));
  }
  void write(engine::Task task) override { writer_.push_back(std::move(task)); }
  [[nodiscard]] Instant now() const override { return now_; }
  void send(std::uint32_t, engine::Parcel) override {}
  void acknowledge(std::uint32_t, engine::ParcelAck) override {}
  void perform(const engine::PendingEffect& effect) override { effects.push_back(effect); }
  void changed(const std::vector<engine::Change>& more) override {
    changes.insert(changes.end(), more.begin(), more.end());
  }
  void trouble(const std::string& what) override { trouble_text = what; }

  engine::ShardLimits limits_;
  Instant now_{1'700'000'000'000};
  std::deque<engine::Task> strand_;
  std::deque<engine::Task> writer_;
  std::multimap<Instant, engine::Task> later_;
};

inline fbs::AddT add(std::int64_t amount) {
  fbs::AddT m;
  m.amount = amount;
  return m;
}
inline fbs::AddLaterT add_later(std::int64_t amount, std::int64_t delay_ms) {
  fbs::AddLaterT m;
  m.amount = amount;
  m.delay_ms = delay_ms;
  return m;
}
inline fbs::PassT pass(const std::string& to, std::int64_t amount) {
  fbs::PassT m;
  m.to = to;
  m.amount = amount;
  return m;
}
inline fbs::LookupT lookup(const std::string& key) {
  fbs::LookupT m;
  m.key = key;
  return m;
}
inline fbs::FailT failing(const std::string& why) {
  fbs::FailT m;
  m.why = why;
  return m;
}
inline fbs::FillT fill(std::uint32_t count, std::uint32_t bytes) {
  fbs::FillT m;
  m.rows = count;
  m.bytes = bytes;
  return m;
}
inline engine::Payload answer(std::int64_t amount) {
  fbs::AnswerT m;
  m.amount = amount;
  return Counter::Messages::encode(m);
}

}  // namespace muster::test
