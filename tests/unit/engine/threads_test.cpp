// Shards on real threads, without CAF and RocksDB: what ThreadSanitizer runs.
#include <catch2/catch.hpp>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <thread>

#include "engine/core/shard.hpp"
#include "storage/base/ids.hpp"
#include "storage/journal/memory_journal.hpp"
#include "tests/unit/engine/counter.hpp"

using namespace muster;
using namespace muster::test;
using storage::MemoryJournal;

namespace {

/// A thread and its queue, with tasks for later.
class Worker {
 public:
  Worker() : thread_([this] { work(); }) {}
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }
  void post(engine::Task task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    wake_.notify_all();
  }
  void post_after(Duration delay, engine::Task task) {
    const std::lock_guard lock(mutex_);
    later_.emplace(std::chrono::steady_clock::now() + delay, std::move(task));
    wake_.notify_all();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      while (!later_.empty() && later_.begin()->first <= std::chrono::steady_clock::now()) {
        tasks_.push_back(std::move(later_.begin()->second));
        later_.erase(later_.begin());
      }
      if (!tasks_.empty()) {
        engine::Task task = std::move(tasks_.front());
        tasks_.pop_front();
        lock.unlock();
        task();
        lock.lock();
      } else if (closing_) {
        return;
      } else if (later_.empty()) {
        wake_.wait(lock);
      } else {
        wake_.wait_until(lock, later_.begin()->first);
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<engine::Task> tasks_;
  std::multimap<std::chrono::steady_clock::time_point, engine::Task> later_;
  bool closing_ = false;
  std::thread thread_;
};

class WallClock : public engine::Clock {
 public:
  [[nodiscard]] Instant now() const override { return wall_clock_now(); }
};

class Installation;

struct Node : engine::Executor, engine::Link, engine::Outside {
  Node(Installation& its_installation, std::uint32_t number, std::uint32_t shards);
  void post(engine::Task task) override { strand.post(std::move(task)); }
  void post_after(Duration delay, engine::Task task) override {
    strand.post_after(delay, std::move(task));
  }
  void write(engine::Task task) override { writer.post(std::move(task)); }
  void send(std::uint32_t destination, engine::Parcel parcel) override;
  void acknowledge(std::uint32_t destination, engine::ParcelAck ack) override;
  void perform(const engine::PendingEffect&) override {}
  void changed(const std::vector<engine::Change>&) override {}
  void trouble(const std::string&) override {}

  Installation& installation;
  MemoryJournal journal;
  engine::Kinds kinds = engine::make_kinds<Counter>();
  WallClock clock;
  std::unique_ptr<engine::Shard> shard;
  Worker writer;
  Worker strand;  // Last, so that it ends first; it may still hand something to the writer.
};

class Installation {
 public:
  explicit Installation(std::uint32_t shards) {
    for (std::uint32_t n = 0; n < shards; ++n)
      nodes.push_back(std::make_unique<Node>(*this, n, shards));
    for (auto& node : nodes) {
      std::promise<Result<void>> ready;
      node->post([&] { node->shard->start([&](Result<void> ok) { ready.set_value(std::move(ok)); }); });
      REQUIRE(ready.get_future().get());
    }
  }
  ~Installation() {
    for (auto& node : nodes) {
      std::promise<void> stopped;
      node->post([&] { node->shard->stop([&] { stopped.set_value(); }); });
      stopped.get_future().wait();
    }
    // The writers and strands run empty before any of them ends.
    for (auto& node : nodes) {
      std::promise<void> drained;
      node->write([&] { node->post([&] { drained.set_value(); }); });
      drained.get_future().wait();
    }
  }

  /// Until the answer is final, with the same key.
  std::string call(const std::string& key, const engine::Payload& payload) {
    engine::Call call;
    call.to = {"test", "counter", key};
    call.payload = payload;
    call.key = new_uuid_v7(wall_clock_now());
    Node& node = node_of(call.to);
    for (;;) {
      std::promise<Result<std::string>> answered;
      node.post([&] {
        node.shard->call(call, [&](Result<std::string> r) { answered.set_value(std::move(r)); });
      });
      const Result<std::string> answer = answered.get_future().get();
      if (answer) return *answer;
      const Errc code = answer.error().code;
      if (code != Errc::unknown && code != Errc::unreachable && code != Errc::overloaded)
        return answer.error().message;
    }
  }
  Node& node_of(const engine::ActorId& id) {
    return *nodes[engine::Shard::shard_of(id, static_cast<std::uint32_t>(nodes.size()))];
  }

  std::vector<std::unique_ptr<Node>> nodes;
};

Node::Node(Installation& its_installation, std::uint32_t number, std::uint32_t shards)
    : installation(its_installation) {
  engine::ShardLimits limits;
  limits.window = 4;
  limits.idle_actors = 2;
  limits.reopen_pause = Duration{1};
  shard = std::make_unique<engine::Shard>(engine::ShardConfig{{number, shards}, limits}, kinds,
                                          engine::ShardWorld{*this, clock, journal, *this, *this});
}

void Node::send(std::uint32_t destination, engine::Parcel parcel) {
  Node& there = *installation.nodes[destination];
  there.post([&there, parcel = std::move(parcel)] { there.shard->receive(parcel); });
}

void Node::acknowledge(std::uint32_t destination, engine::ParcelAck ack) {
  Node& there = *installation.nodes[destination];
  there.post([&there, ack] { there.shard->acknowledged(ack); });
}

}  // namespace

TEST_CASE("Callers on many threads, shards on theirs, and journals that fail: nothing is lost or doubled") {
  constexpr int kCallers = 4;
  constexpr int kCalls = 60;
  Installation installation(3);
  const engine::Payload open = Counter::Messages::encode(fbs::OpenT{});
  fbs::AddT one;
  one.amount = 1;
  const engine::Payload add_one = Counter::Messages::encode(one);
  for (int i = 0; i < kCallers; ++i) installation.call("sink" + std::to_string(i), open);
  installation.call("shared", open);

  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i)
    callers.emplace_back([&, i] {
      fbs::PassT pass;
      pass.to = "sink" + std::to_string((i + 1) % kCallers);
      pass.amount = 1;
      for (int n = 0; n < kCalls; ++n) {
        installation.call("shared", add_one);
        installation.call("sink" + std::to_string(i), Counter::Messages::encode(pass));
        if (n % 20 == 10)
          installation.nodes[static_cast<std::size_t>(i) % 3]->journal.fail_next_commit(
              n % 40 == 10 ? MemoryJournal::Outcome::lost : MemoryJournal::Outcome::kept);
      }
    });
  for (std::thread& caller : callers) caller.join();

  // An acknowledged call tells the sum so far; what the others passed may still be between two shards.
  CHECK(installation.call("shared", add_one) == std::to_string(kCallers * kCalls + 1));
  for (int i = 0; i < kCallers; ++i) {
    fbs::AddT nothing;
    const engine::Payload ask = Counter::Messages::encode(nothing);
    const std::string key = "sink" + std::to_string(i);
    while (installation.call(key, ask) != "0") std::this_thread::yield();
  }
}
