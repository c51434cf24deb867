// The engine over CAF and RocksDB: what its interface promises, over a restart too.
#include <catch2/catch.hpp>

#include <condition_variable>
#include <filesystem>
#include <future>
#include <map>

#include "engine/core/selected_changes.hpp"
#include "engine/runtime/runtime.hpp"
#include "storage/base/ids.hpp"
#include "tests/unit/engine/counter.hpp"

using namespace muster;
using namespace muster::engine;
using namespace muster::test;

namespace {

struct Directory {
  Directory() {
    path = std::filesystem::temp_directory_path() / ("muster-engine-" + to_hex(random_bytes(8)));
    std::filesystem::create_directories(path);
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

/// Answers every question with 7, when it is let.
class Oracle : public EffectPort {
 public:
  void perform(const PendingEffect& effect, EffectDone done) override {
    const std::lock_guard lock(mutex);
    if (!answering) {
      asked.emplace_back(effect);
      heard.notify_all();
      return;
    }
    fbs::AnswerT answer;
    answer.key = effect.key;
    answer.amount = 7;
    asked.emplace_back(effect);
    done(Counter::Messages::encode(answer));
    heard.notify_all();
  }
  void wait_for(std::size_t count) {
    std::unique_lock lock(mutex);
    heard.wait(lock, [&] { return asked.size() >= count; });
  }
  std::mutex mutex;
  std::condition_variable heard;
  bool answering = true;
  std::vector<PendingEffect> asked;
};

ActorId counter_id(const std::string& key) {
  return {"test", "counter", key};
}

std::unique_ptr<Engine> open(const Directory& directory, std::uint32_t shards,
                             std::shared_ptr<EffectPort> oracle = std::make_shared<Oracle>()) {
  EngineConfig config;
  config.shards = shards;
  auto engine =
      make_engine(config, make_kinds<Counter>(), {{"oracle", std::move(oracle)}}, directory.path);
  if (!engine) FAIL(engine.error().message);
  return std::move(*engine);
}

template <class M>
Result<std::string> call(Engine& engine, const std::string& key, const M& message,
                         std::string api_key = {}) {
  Call c;
  c.to = counter_id(key);
  c.payload = Counter::Messages::encode(message);
  c.key = api_key.empty() ? new_uuid_v7(engine.now()) : std::move(api_key);
  c.digest = sha256_hex(c.payload.bytes);
  std::promise<Result<std::string>> answer;
  auto future = answer.get_future();
  engine.call(std::move(c), [&](Result<std::string> r) { answer.set_value(std::move(r)); });
  return future.get();
}

fbs::AddT add(std::int64_t amount) {
  fbs::AddT m;
  m.amount = amount;
  return m;
}

/// Waits for the index entry of a counter to say so: it changes with a commit.
void wait_for_total(Engine& engine, const std::string& key, const std::string& total) {
  std::mutex mutex;
  std::condition_variable changed;
  std::uint64_t changes = 0;
  const auto handle = engine.subscribe([&](const std::vector<Change>&) {
    const std::lock_guard lock(mutex);
    ++changes;
    changed.notify_all();
  });
  for (;;) {
    std::unique_lock lock(mutex);
    const std::uint64_t before = changes;
    lock.unlock();
    if (*engine.row(counter_id(key), "total") == total) return;
    lock.lock();
    changed.wait(lock, [&] { return changes != before; });
  }
}

}  // namespace

TEST_CASE("An acknowledged call is there after a restart, and its key gets the same reply") {
  const std::uint32_t shards = GENERATE(1u, 3u);
  Directory directory;
  std::string api_key;
  {
    auto engine = open(directory, shards);
    CHECK(call(*engine, "a", fbs::OpenT{}) == "created");
    api_key = new_uuid_v7(engine->now());
    CHECK(call(*engine, "a", add(5), api_key) == "5");
    CHECK(call(*engine, "a", add(5), api_key) == "5");
    CHECK(call(*engine, "a", add(6), api_key).error().code == Errc::key_reused);
    CHECK(engine->trouble() == "");
  }
  auto engine = open(directory, shards);
  CHECK(call(*engine, "a", add(5), api_key) == "5");
  CHECK(call(*engine, "a", add(1)) == "6");
  const auto head = engine->head(counter_id("a"));
  REQUIRE(head);
  CHECK(decode_table<fbs::CounterHeadT>(**head)->total == 6);
  CHECK(*engine->row(counter_id("a"), "total") == "6");
  CHECK_FALSE(*engine->head(counter_id("nobody")));
}

TEST_CASE("What the API asks wrongly is answered, not obeyed") {
  Directory directory;
  auto engine = open(directory, 1);
  CHECK(call(*engine, "nobody", add(1)).error().code == Errc::not_found);
  CHECK(call(*engine, "a", fbs::OpenT{}, "no uuid").error().code == Errc::invalid);
  CHECK(call(*engine, std::string("a\0b", 3), fbs::OpenT{}).error().code == Errc::invalid);
  const std::string old = new_uuid_v7(engine->now() - Duration{30LL * 24 * 3'600'000});
  CHECK(call(*engine, "a", fbs::OpenT{}, old).error().code == Errc::refused);
  fbs::FailT failing;
  failing.why = "broken";
  CHECK(call(*engine, "a", fbs::OpenT{}) == "created");
  CHECK(call(*engine, "a", failing).error().message == "the step failed: broken");
  CHECK(call(*engine, "a", add(1)) == "1");
}

TEST_CASE("Messages, timers and effects reach their actors in every arrangement of shards") {
  const std::uint32_t shards = GENERATE(1u, 4u);
  Directory directory;
  auto engine = open(directory, shards);
  for (const char* key : {"a", "b", "c", "d", "e"}) REQUIRE(call(*engine, key, fbs::OpenT{}));
  for (const char* key : {"b", "c", "d", "e"}) {
    fbs::PassT pass;
    pass.to = key;
    pass.amount = 3;
    REQUIRE(call(*engine, "a", pass));
  }
  for (const char* key : {"b", "c", "d", "e"}) wait_for_total(*engine, key, "3");

  fbs::AddLaterT later;
  later.amount = 4;
  later.delay_ms = 10;
  REQUIRE(call(*engine, "b", later));
  wait_for_total(*engine, "b", "7");

  fbs::LookupT lookup;
  lookup.key = "question";
  REQUIRE(call(*engine, "c", lookup));
  wait_for_total(*engine, "c", "10");

  std::vector<std::string> listed;
  REQUIRE(engine->list("counter", "b", "d", [&](auto key, const ActorId& actor, auto value) {
    listed.push_back(std::string(key) + "=" + std::string(value));
    CHECK(actor == counter_id(std::string(key)));
    return true;
  }));
  CHECK(listed == std::vector<std::string>{"b=7", "c=10"});
}

TEST_CASE("An effect without a result is handed out again by the next start, and counts once") {
  Directory directory;
  {
    auto oracle = std::make_shared<Oracle>();
    oracle->answering = false;
    auto engine = open(directory, 1, oracle);
    REQUIRE(call(*engine, "a", fbs::OpenT{}));
    fbs::LookupT lookup;
    lookup.key = "question";
    REQUIRE(call(*engine, "a", lookup));
    oracle->wait_for(1);
    CHECK_FALSE(oracle->asked[0].repeated);
  }
  {
    auto oracle = std::make_shared<Oracle>();
    auto engine = open(directory, 1, oracle);
    oracle->wait_for(1);
    CHECK(oracle->asked[0].repeated);
    CHECK(oracle->asked[0].key == "question");
    wait_for_total(*engine, "a", "7");
  }
  auto oracle = std::make_shared<Oracle>();
  auto engine = open(directory, 1, oracle);
  CHECK(oracle->asked.empty());
}

TEST_CASE("A result that comes after the engine is gone harms nobody") {
  Directory directory;
  class Keeper : public EffectPort {
   public:
    void perform(const PendingEffect&, EffectDone done) override {
      kept.set_value(std::move(done));
    }
    std::promise<EffectDone> kept;
  };
  auto keeper = std::make_shared<Keeper>();
  auto engine = open(directory, 1, keeper);
  REQUIRE(call(*engine, "a", fbs::OpenT{}));
  REQUIRE(call(*engine, "a", fbs::LookupT{}));
  const EffectDone done = keeper->kept.get_future().get();
  engine.reset();
  done(Counter::Messages::encode(fbs::AnswerT{}));
  CHECK(open(directory, 1) != nullptr);
}

TEST_CASE("A channel's numbers are taken once, and its mark survives") {
  const std::uint32_t shards = GENERATE(1u, 3u);
  Directory directory;
  const auto deliver = [](Engine& engine, std::uint64_t number) {
    std::promise<Result<void>> taken;
    auto future = taken.get_future();
    engine.deliver({"host/h1", number, counter_id("a"), Counter::Messages::encode(add(1))},
                   [&](Result<void> r) { taken.set_value(std::move(r)); });
    return future.get();
  };
  {
    auto engine = open(directory, shards);
    REQUIRE(call(*engine, "a", fbs::OpenT{}));
    CHECK(engine->channel_mark("host/h1") == 0u);
    CHECK(deliver(*engine, 1));
    CHECK(deliver(*engine, 2));
    CHECK(deliver(*engine, 2));
    CHECK(deliver(*engine, 4).error().code == Errc::conflict);
    wait_for_total(*engine, "a", "2");
  }
  auto engine = open(directory, shards);
  CHECK(engine->channel_mark("host/h1") == 2u);
  CHECK(deliver(*engine, 1));
  CHECK(deliver(*engine, 3));
  wait_for_total(*engine, "a", "3");
}

TEST_CASE("Dead letters of all shards are listed, replayed and discarded by their ids") {
  const std::uint32_t shards = GENERATE(1u, 3u);
  Directory directory;
  auto engine = open(directory, shards);
  const std::vector<std::string> names{"a", "b", "c", "d", "e", "f"};
  for (const auto& name : names) CHECK(call(*engine, name, add(5)).error().code == Errc::not_found);
  std::vector<DeadLetter> all;
  for (LetterId after;; after = all.back().id) {
    const auto page = engine->dead_letters(after, 4);
    REQUIRE(page);
    if (page->empty()) break;
    all.insert(all.end(), page->begin(), page->end());
  }
  REQUIRE(all.size() == names.size());
  const auto operate = [&](OperatorCommand::Action action, LetterId letter) {
    OperatorCommand command;
    command.action = action;
    command.letter = letter;
    command.who = "ann";
    command.key = new_uuid_v7(engine->now());
    std::promise<Result<std::string>> done;
    engine->operate(command, [&](Result<std::string> r) { done.set_value(std::move(r)); });
    return done.get_future().get();
  };
  for (const DeadLetter& letter : all) {
    const std::string& name = letter.message.to.key;
    REQUIRE(call(*engine, name, fbs::OpenT{}));
    const bool replay = name < "d";
    REQUIRE(operate(replay ? OperatorCommand::Action::replay : OperatorCommand::Action::discard,
                    letter.id));
    if (replay) wait_for_total(*engine, name, "5");
    CHECK(engine->dead_letter(letter.id)->value().state ==
          (replay ? DeadLetter::State::replayed : DeadLetter::State::discarded));
  }
  CHECK(operate(OperatorCommand::Action::replay, {99, 1}).error().code == Errc::not_found);
}

namespace {

/// "actor action who" of each entry beyond a position.
std::vector<std::string> audits(const Engine& engine, std::uint32_t shard, Sequence after) {
  std::vector<std::string> text;
  Sequence last = after;
  REQUIRE(engine.audits(shard, after, [&](const DecidedAudit& entry) {
    CHECK(entry.shard == shard);
    CHECK(entry.position > last);
    last = entry.position;
    text.push_back(entry.actor.key + " " + entry.action + " " + entry.who);
    return true;
  }));
  return text;
}

}  // namespace

TEST_CASE("Audit entries come in the order of their commits, those of operators among them") {
  Directory directory;
  auto engine = open(directory, 1);
  REQUIRE(call(*engine, "a", fbs::OpenT{}));
  OperatorCommand pause;
  pause.action = OperatorCommand::Action::pause;
  pause.actor = counter_id("a");
  pause.who = "ann";
  pause.key = new_uuid_v7(engine->now());
  std::promise<Result<std::string>> paused;
  engine->operate(pause, [&](Result<std::string> r) { paused.set_value(std::move(r)); });
  REQUIRE(paused.get_future().get());
  REQUIRE(call(*engine, "b", fbs::OpenT{}));
  const std::vector<std::string> all{"a create test", "a pause ann", "b create test"};
  CHECK(audits(*engine, 0, 0) == all);
  CHECK(audits(*engine, 0, 1) == std::vector(all.begin() + 1, all.end()));
  CHECK(audits(*engine, 0, engine->stats().at(0).position).empty());
  engine.reset();
  engine = open(directory, 1);
  CHECK(audits(*engine, 0, 0) == all);
  REQUIRE(call(*engine, "c", fbs::OpenT{}));
  CHECK(audits(*engine, 0, 0).back() == "c create test");
}

TEST_CASE("Each shard counts its commits, its steps by kind and what was parked") {
  const std::uint32_t shards = GENERATE(1u, 3u);
  Directory directory;
  auto engine = open(directory, shards);
  for (const char* key : {"a", "b", "c", "d"}) REQUIRE(call(*engine, key, fbs::OpenT{}));
  fbs::FailT failing;
  failing.why = "broken";
  REQUIRE(call(*engine, "a", failing).error().code == Errc::internal);
  std::uint64_t commits = 0, steps = 0, parked = 0, in_batches = 0;
  const auto all = engine->stats();
  REQUIRE(all.size() == shards);
  for (const ShardStats& shard : all) {
    commits += shard.commits;
    in_batches += shard.batch.sum();
    if (const auto kind = shard.steps_us.find("counter"); kind != shard.steps_us.end())
      for (const std::uint64_t count : kind->second.counts()) steps += count;
    if (shard.dead_letters.contains("counter")) parked += shard.dead_letters.at("counter");
    CHECK(shard.failed_commits == 0);
    CHECK(shard.store.contains("live_sst_bytes"));
  }
  CHECK(commits >= 5);  // Each call waited for its own.
  CHECK(in_batches >= 5);
  CHECK(steps == 5);
  CHECK(parked == 1);
}

TEST_CASE("A checkpoint of a working engine opens as one of its own") {
  Directory directory;
  Directory elsewhere;
  auto engine = open(directory, 1);
  REQUIRE(call(*engine, "a", fbs::OpenT{}));
  REQUIRE(call(*engine, "a", add(5)) == "5");
  const auto copy = elsewhere.path / "copy";
  REQUIRE(engine->checkpoint(copy));
  REQUIRE(call(*engine, "a", add(5)) == "10");
  CHECK_FALSE(engine->checkpoint(copy));
  std::filesystem::rename(copy, elsewhere.path / "moved");
  Directory restored;
  std::filesystem::remove(restored.path);
  std::filesystem::rename(elsewhere.path / "moved", restored.path);
  auto other = open(restored, 1);
  CHECK(call(*other, "a", add(1)) == "6");
  CHECK(call(*engine, "a", add(1)) == "11");
  Directory several;
  CHECK(open(several, 3)->checkpoint(elsewhere.path / "none").error().code == Errc::refused);
}

TEST_CASE("After a restore all shards begin a new generation together") {
  Directory directory;
  REQUIRE(call(*open(directory, 3), "a", fbs::OpenT{}));
  REQUIRE(raise_generation(directory.path) == 2u);
  CHECK(open(directory, 3)->generation() == 2);
  const auto aside = [&](const char* from, const char* to) {
    std::filesystem::rename(directory.path / from, directory.path / to);
  };
  aside("shard-1", "kept-1");  // Interrupted: the first shard is ahead of the others.
  REQUIRE(raise_generation(directory.path) == 3u);
  aside("kept-1", "shard-1");
  EngineConfig three;
  three.shards = 3;
  const auto refused = make_engine(three, make_kinds<Counter>(), {}, directory.path);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::refused);
  REQUIRE(raise_generation(directory.path) == 4u);
  auto engine = open(directory, 3);
  CHECK(engine->generation() == 4);
  CHECK(call(*engine, "a", add(1)) == "1");
  CHECK(raise_generation(directory.path).error().code == Errc::conflict);
}

TEST_CASE("What is told is durable when tell returns, and is not waited for inside the engine") {
  Directory directory;
  auto engine = open(directory, 1);
  REQUIRE(call(*engine, "a", fbs::OpenT{}));
  REQUIRE(engine->tell(counter_id("a"), Counter::Messages::encode(add(2))));
  wait_for_total(*engine, "a", "2");
  std::promise<Result<void>> told;
  Call c;
  c.to = counter_id("a");
  c.payload = Counter::Messages::encode(add(1));
  c.key = new_uuid_v7(engine->now());
  engine->call(c, [&](const Result<std::string>&) {
    told.set_value(engine->tell(counter_id("a"), Counter::Messages::encode(add(4))));
  });
  CHECK(told.get_future().get());
  wait_for_total(*engine, "a", "7");
}

TEST_CASE("Changes come in order of their position") {
  Directory directory;
  auto engine = open(directory, 1);
  std::mutex mutex;
  std::vector<Change> seen;
  auto handle = engine->subscribe([&](const std::vector<Change>& changes) {
    const std::lock_guard lock(mutex);
    seen.insert(seen.end(), changes.begin(), changes.end());
  });
  REQUIRE(call(*engine, "a", fbs::OpenT{}));
  for (int i = 0; i < 50; ++i) REQUIRE(call(*engine, "a", add(1)));
  wait_for_total(*engine, "a", "50");
  engine.reset();  // The notifier runs empty.
  const std::lock_guard lock(mutex);
  REQUIRE(seen.size() == 51);
  for (std::size_t i = 0; i < seen.size(); ++i) CHECK(seen[i].position == i + 1);
  CHECK(seen[1].indexes.at(0).value == "1");
}

TEST_CASE("Who selects hears of that alone, and of other commits nothing") {
  Directory directory;
  auto engine = open(directory, 3);
  std::mutex mutex;
  std::map<std::string, std::uint64_t> heard;
  std::size_t empty = 0;
  const auto wants = [](const Change& change) { return change.actor.key != "a"; };
  auto handle = subscribe_selected(*engine, wants, [&](const std::vector<Change>& changes) {
    const std::lock_guard lock(mutex);
    empty += changes.empty() ? 1 : 0;
    for (const Change& change : changes) ++heard[change.actor.key];
  });
  for (const char* key : {"a", "b", "c"}) REQUIRE(call(*engine, key, fbs::OpenT{}));
  for (int i = 0; i < 20; ++i)
    for (const char* key : {"a", "b"}) REQUIRE(call(*engine, key, add(1)));
  SECTION("as long as it holds its handle") {}
  SECTION("until the handle is gone") {
    wait_for_total(*engine, "b", "20");
    handle.reset();
    const std::lock_guard lock(mutex);
    heard.clear();
  }
  REQUIRE(call(*engine, "c", add(1)));
  const bool listening = handle != nullptr;
  engine.reset();  // The notifier runs empty.
  const std::lock_guard lock(mutex);
  using Heard = std::map<std::string, std::uint64_t>;
  CHECK(heard == (listening ? Heard{{"b", 21}, {"c", 2}} : Heard{}));
  CHECK(empty == 0);
}

TEST_CASE("A directory with other shards, or in use, is refused") {
  Directory directory;
  auto engine = open(directory, 1);
  CHECK_FALSE(make_engine({}, make_kinds<Counter>(), {}, directory.path));
  engine.reset();
  EngineConfig three;
  three.shards = 3;
  const auto other = make_engine(three, make_kinds<Counter>(), {}, directory.path);
  REQUIRE_FALSE(other);
  CHECK(other.error().code == Errc::refused);
}
