#include "bench/durable/rig.hpp"

#include <stdlib.h>

#include <future>
#include <stdexcept>
#include <thread>
#include <utility>

#include "bench/durable/beads.hpp"
#include "bench/durable/fleet_shape.hpp"
#include "storage/base/ids.hpp"
#include "storage/journal/rocksdb_journal.hpp"

namespace muster::bench {

namespace fs = std::filesystem;
using engine::ActorId;
using engine::Payload;

ActorId bead(const std::string& key) {
  return {kOrg, std::string(Bead::kName), key};
}
ActorId bead(std::uint64_t number) {
  return bead(std::to_string(number));
}

Payload init_payload() {
  fbs::InitT init;
  init.body = body();
  return Bead::Messages::encode(init);
}

Scratch::Scratch(const fs::path& parent) {
  std::string name = (parent / "muster-bench-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("can't make " + name);
  path_ = name;
}
Scratch::~Scratch() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}
fs::path Scratch::fresh() {
  return path_ / std::to_string(given_++);
}

/// Counts who has ended. Nobody is answered, so that its effects stay out of the measurement.
class DonePort : public engine::EffectPort {
 public:
  void perform(const engine::PendingEffect&, engine::EffectDone) override {
    const std::lock_guard lock(mutex_);
    ++parts_;
    changed_.notify_all();
  }
  void wait(std::uint64_t parts) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return parts_ >= parts; });
    parts_ -= parts;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t parts_ = 0;
};

/// Answers at once, as a host and a forge would later. "start" begins a run's events on the host's
/// channel.
class HostPort : public engine::EffectPort {
 public:
  void open(engine::Engine* engine) { engine_ = engine; }  ///< Null while there is none.
  void perform(const engine::PendingEffect& effect, engine::EffectDone done) override {
    if (effect.port == "push") return done(RunShape::happened(pushed));
    if (effect.port == "pull") return done(RunShape::happened(delivered));
    done(RunShape::happened(started));
    for (const RunStep step : {running, verifying, finished}) {
      engine::ChannelMessage event{channel_, ++number_, effect.actor, RunShape::happened(step)};
      engine_->deliver(std::move(event), [](Result<void> taken) {
        if (!taken) throw std::runtime_error("the channel: " + taken.error().message);
      });
    }
  }

 private:
  engine::Engine* engine_ = nullptr;  // Set before the first effect is performed.
  // Another in each rig, also over the same directory: a number is never taken twice.
  const std::string channel_ = "host/" + to_hex(random_bytes(4));
  std::uint64_t number_ = 0;  // Effects are performed on one strand.
};

Rig::Rig(const fs::path& directory, engine::EngineConfig config)
    : done_(std::make_shared<DonePort>()), host_(std::make_shared<HostPort>()) {
  if (!config.open_journal)
    config.open_journal = [](const fs::path& where) {
      return storage::open_rocksdb_journal(where);
    };
  config.open_journal = [this, open = config.open_journal](const fs::path& where) {
    auto journal = open(where);
    if (journal) journal = observe(std::move(*journal), observed_);
    return journal;
  };
  auto made = engine::make_engine(
      config, engine::make_kinds<Bead, FleetShape, RunShape, RepoShape, PullShape>(),
      {{kDonePort, done_}, {"start", host_}, {"push", host_}, {"pull", host_}}, directory);
  if (!made) throw std::runtime_error(made.error().message);
  engine_ = std::move(*made);
  host_->open(engine_.get());
}

Rig::~Rig() {
  engine_.reset();
}

void Rig::tell(ActorId to, Payload payload) {
  constexpr std::size_t kUnderWay = 8'192;
  std::unique_lock lock(mutex_);
  while (under_way_ >= kUnderWay) {
    changed_.wait(lock, [&] { return under_way_ < kUnderWay || !refused_.empty(); });
    repeat_refused(lock);
  }
  ++under_way_;
  lock.unlock();
  post({std::move(to), std::move(payload)});
}

void Rig::post(Message message) {
  auto kept = std::make_shared<Message>(std::move(message));
  engine_->tell_then(kept->first, kept->second, [this, kept](const Result<void>& taken) {
    const std::lock_guard lock(mutex_);
    if (taken) {
      --under_way_;
    } else if (taken.error().code == Errc::overloaded) {
      refused_.push_back(std::move(*kept));
    } else {
      throw std::runtime_error("a tell was refused: " + taken.error().message);
    }
    changed_.notify_all();
  });
}

/// As a caller should: after a pause, which lets the engine step what it took.
void Rig::repeat_refused(std::unique_lock<std::mutex>& lock) {
  if (refused_.empty()) return;
  auto again = std::exchange(refused_, {});
  lock.unlock();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  for (Message& message : again) post(std::move(message));
  lock.lock();
}

void Rig::drain() {
  std::unique_lock lock(mutex_);
  while (under_way_ != 0) {
    changed_.wait(lock, [&] { return under_way_ == 0 || !refused_.empty(); });
    repeat_refused(lock);
  }
}

void Rig::make(std::uint64_t first, std::uint64_t end) {
  constexpr std::uint64_t kUnstepped = 10'000;  // Fewer than may be active: nothing is refused.
  const Payload init = init_payload();
  for (std::uint64_t n = first; n < end; ++n) {
    tell(bead(n), init);
    if ((n - first) % kUnstepped == kUnstepped - 1) settle();
  }
  settle();
}

/// The run queue is in order of arrival: what was taken before this call is stepped before it.
void Rig::settle() {
  drain();
  while (!asked_last()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

/// False when it was refused as overloaded.
bool Rig::asked_last() {
  engine::Call call;
  call.to = bead("last");
  call.payload = init_payload();
  call.key = new_uuid_v7(engine_->now());
  std::promise<Result<std::string>> answer;
  engine_->call(std::move(call), [&](Result<std::string> r) { answer.set_value(std::move(r)); });
  const auto reply = answer.get_future().get();
  if (!reply && reply.error().code != Errc::overloaded) throw std::runtime_error(reply.error().message);
  return reply.has_value();
}

void Rig::wait_done(std::uint64_t parts) {
  done_->wait(parts);
}

}  // namespace muster::bench
