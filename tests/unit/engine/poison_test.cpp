// A step that ends the process, for real: in children that abort, over one journal.
#include <catch2/catch.hpp>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>

#include "engine/core/breadcrumb.hpp"
#include "engine/runtime/runtime.hpp"
#include "storage/base/ids.hpp"
#include "tests/unit/engine/counter.hpp"

using namespace muster;
using namespace muster::engine;
using namespace muster::test;

namespace {

struct Scratch {
  Scratch() {
    path = std::filesystem::temp_directory_path() / ("muster-poison-" + to_hex(random_bytes(8)));
    std::filesystem::create_directories(path);
  }
  ~Scratch() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

ActorId poisoned(const std::string& key) { return {"test", "counter", key}; }

/// Counters that end the process at one type of message.
template <class Deadly>
Kinds deadly_kinds() {
  Kinds kinds = make_kinds<Counter>();
  auto& step = kinds.at("counter").step;
  step = [inner = step](void* state, const Payload& payload, Context& ctx) {
    if (payload.type == Counter::Messages::number<Deadly>) std::abort();
    return inner(state, payload, ctx);
  };
  return kinds;
}

template <class Deadly>
std::unique_ptr<Engine> start(const std::filesystem::path& directory) {
  auto engine = make_engine({}, deadly_kinds<Deadly>(), {}, directory);
  return engine ? std::move(*engine) : nullptr;
}

template <class M>
Result<std::string> call(Engine& engine, const M& message, const std::string& key) {
  Call c;
  c.to = poisoned("a");
  c.payload = Counter::Messages::encode(message);
  c.key = key;
  c.digest = "digest";
  std::promise<Result<std::string>> answer;
  engine.call(std::move(c), [&](Result<std::string> r) { answer.set_value(std::move(r)); });
  return answer.get_future().get();
}
std::string new_key(Engine& engine) { return new_uuid_v7(engine.now()); }

fbs::AddT addition(std::int64_t amount) {
  fbs::AddT m;
  m.amount = amount;
  return m;
}

/// Whether a child that does so dies of its own abort.
template <class Deadly>
bool aborts(const std::filesystem::path& directory, const std::function<void(Engine&)>& act) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::alarm(60);
    const auto engine = start<Deadly>(directory);
    if (engine) act(*engine);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

std::vector<DeadLetter> letters(const Engine& engine) { return *engine.dead_letters({}, 100); }

}  // namespace

TEST_CASE("A call whose step ends the process twice is parked at the third start") {
  Scratch scratch;
  std::string key;
  {
    const auto engine = start<fbs::FailT>(scratch.path);
    REQUIRE(engine);
    REQUIRE(call(*engine, fbs::OpenT{}, new_key(*engine)));
    key = new_key(*engine);
  }
  const auto repeat = [&](Engine& engine) { (void)call(engine, fbs::FailT{}, key); };
  REQUIRE(aborts<fbs::FailT>(scratch.path, repeat));
  REQUIRE(aborts<fbs::FailT>(scratch.path, repeat));

  const auto engine = start<fbs::FailT>(scratch.path);
  REQUIRE(engine);
  const auto answer = call(*engine, fbs::FailT{}, key);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().message.find("ended twice") != std::string::npos);
  CHECK(call(*engine, addition(5), new_key(*engine)) == "5");  // The actor goes on.
  REQUIRE(letters(*engine).size() == 1);
  CHECK(letters(*engine)[0].text == "Fail {}");
}

TEST_CASE("A timer whose step ends the process twice is parked, and can be replayed when it is mended") {
  Scratch scratch;
  fbs::AddLaterT later;
  later.amount = 7;
  later.delay_ms = 1;
  const std::string opened = new_uuid_v7(wall_clock_now());
  const std::string asked = new_uuid_v7(wall_clock_now());
  // It may fire, and end the process, before the commit that set it: so whoever wants it repeats with the same key.
  const auto set = [&](Engine& engine) {
    (void)call(engine, fbs::OpenT{}, opened);
    (void)call(engine, later, asked);
  };
  const auto set_and_wait = [&](Engine& engine) {
    set(engine);
    std::promise<void>().get_future().wait();
  };
  REQUIRE(aborts<fbs::DueT>(scratch.path, set_and_wait));
  REQUIRE(aborts<fbs::DueT>(scratch.path, set_and_wait));
  LetterId id;
  {
    const auto engine = start<fbs::DueT>(scratch.path);
    REQUIRE(engine);
    set(*engine);
    CHECK(call(*engine, addition(1), new_key(*engine)) == "1");
    while (letters(*engine).empty()) (void)call(*engine, addition(0), new_key(*engine));
    id = letters(*engine)[0].id;
    CHECK(letters(*engine)[0].text == "Due { amount: 7 }");
  }
  auto mended = *make_engine({}, make_kinds<Counter>(), {}, scratch.path);
  OperatorCommand replay;
  replay.letter = id;
  replay.who = "ann";
  replay.key = new_key(*mended);
  std::promise<Result<std::string>> done;
  mended->operate(replay, [&](Result<std::string> r) { done.set_value(std::move(r)); });
  CHECK(done.get_future().get());
  CHECK(call(*mended, addition(0), new_key(*mended)) == "8");
}

TEST_CASE("A breadcrumb counts ends of the process, not messages") {
  Scratch scratch;
  const auto file = scratch.path / "running";
  const auto end_in = [&](std::uint64_t name) {
    auto crumb = *Breadcrumb::open(file);
    crumb->enter(name);  // And never left.
  };
  end_in(7);
  for (int i = 0; i < 5; ++i) {
    auto crumb = *Breadcrumb::open(file);
    CHECK_FALSE(crumb->condemned(7));
    crumb->enter(7);
    crumb->leave();
  }
  end_in(8);
  end_in(7);
  CHECK((*Breadcrumb::open(file))->condemned(7));
  CHECK_FALSE((*Breadcrumb::open(file))->condemned(8));
  for (std::uint64_t other = 100; other < 120; ++other) end_in(other);
  CHECK_FALSE((*Breadcrumb::open(file))->condemned(7));  // Bounded: the oldest are forgotten.

  std::ofstream(file) << "something else";
  CHECK_FALSE((*Breadcrumb::open(file))->condemned(119));
}
