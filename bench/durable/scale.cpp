#include "bench/durable/scale.hpp"

#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "bench/durable/beads.hpp"
#include "storage/base/ids.hpp"
#include "storage/base/process.hpp"
#include "storage/journal/memory_journal.hpp"
#include "storage/journal/rocksdb_journal.hpp"

namespace muster::bench {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// What is allocated, by glibc's count.
double live_bytes() {
  const struct mallinfo2 info = ::mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

struct Stage {
  fs::path directory;
  std::uint64_t actors = 0;
  std::uint64_t count = 0;
};

json fill(const Stage& stage) {
  const auto begin = std::chrono::steady_clock::now();
  Rig rig(stage.directory);
  rig.make(0, stage.actors);
  return {{"seconds", seconds_since(begin)}};
}

json opened(const Stage& stage) {
  const Rig rig(stage.directory);
  return {{"bytes", live_bytes()}};
}

/// Makes `count` actors over a journal in memory, so that nothing of RocksDB's moves; `kept` of
/// them stay active.
json touched(const Stage& stage, std::size_t kept) {
  engine::EngineConfig config;
  config.limits.active_actors = stage.count + 1;
  config.limits.idle_actors = kept;
  config.open_journal = [](const fs::path&) -> Result<std::unique_ptr<storage::Journal>> {
    return std::make_unique<storage::MemoryJournal>();
  };
  Rig rig(stage.directory, config);
  rig.make(0, stage.count);
  for (int i = 0; i < 3; ++i) rig.settle();  // What the last batches held is let go.
  return {{"bytes", live_bytes()}};
}

/// Journals `count` messages and steps none of them; then ends as kill -9 would.
json pend(const Stage& stage) {
  engine::EngineConfig config;
  config.limits.active_actors = stage.actors + 1;
  config.limits.steps_per_turn = 0;
  Rig rig(stage.directory, config);
  std::uint64_t seed = 6;
  for (std::uint64_t i = 0; i < stage.count; ++i)
    rig.tell(bead(next_random(seed) % stage.actors), init_payload());
  rig.drain();
  std::cout << "{}" << std::endl;
  ::_exit(0);
}

/// Sets `count` timers that are due in more than a month, some of them at each actor.
json set_timers(const Stage& stage) {
  constexpr std::uint32_t kEach = 50;
  Rig rig(stage.directory);
  fbs::LaterT later;
  later.timers = kEach;
  later.body = body();
  for (std::uint64_t i = 0; i < stage.count / kEach; ++i) {
    later.delay_ms = 40ull * 24 * 3'600'000 + i * 7'919 % 1'000'000;
    rig.tell(bead(i), Bead::Messages::encode(later));
  }
  rig.settle();
  return json::object();
}

/// Calls actors drawn at random, of which some have messages pending, until each has answered.
void call_some(Rig& rig, std::uint64_t actors) {
  constexpr std::size_t kCalls = 100;
  const auto answers = std::make_shared<std::vector<std::promise<Result<std::string>>>>(kCalls);
  std::uint64_t seed = 7;
  for (auto& answer : *answers) {
    engine::Call call;
    call.to = bead(next_random(seed) % actors);
    call.payload = init_payload();
    call.key = new_uuid_v7(rig.engine().now());
    rig.engine().call(std::move(call), [answers, &answer](Result<std::string> reply) {
      answer.set_value(std::move(reply));
    });
  }
  for (auto& answer : *answers)
    if (const auto reply = answer.get_future().get(); !reply)
      throw std::runtime_error("after the start: " + reply.error().message);
}

/// Until nothing that was pending is left to step.
void wait_until_idle(Rig& rig) {
  for (;;) {
    const engine::ShardStats now = rig.engine().stats().at(0);
    if (now.sleeping_actors == 0 && now.mailbox_messages == 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

/// With the limits that an installation has.
json serve(const Stage& stage) {
  const auto begin = std::chrono::steady_clock::now();
  double journal = 0;
  engine::EngineConfig config;
  config.open_journal = [&](const fs::path& where) {
    auto opened_journal = storage::open_rocksdb_journal(where);
    journal = seconds_since(begin);
    return opened_journal;
  };
  Rig rig(stage.directory, config);
  const double start = seconds_since(begin);
  call_some(rig, stage.actors);
  const double serving = seconds_since(begin);
  wait_until_idle(rig);
  return {{"journal", journal},
          {"start", start},
          {"serving", serving},
          {"caught_up", seconds_since(begin)}};
}

/// In a process of its own. `counted`: in the program without mimalloc, because glibc tells what is
/// allocated.
json run(const std::string& stage, const Stage& args, bool counted = false) {
  ProcessSpec child;
  child.argv = {fs::read_symlink("/proc/self/exe").string() + (counted ? "_glibc" : ""),
                "--stage", stage, args.directory.string(), std::to_string(args.actors),
                std::to_string(args.count)};
  child.timeout = Duration{600'000};
  const auto out = run_checked(child);
  if (!out) throw std::runtime_error("stage " + stage + ": " + out.error().message);
  return json::parse(*out);
}

}  // namespace

Scale measure_scale(Scratch& scratch, bool quick) {
  Scale scale;
  scale.actors = quick ? 50'000 : 1'000'000;
  scale.pending = quick ? 5'000 : 100'000;
  const std::uint64_t active = quick ? 20'000 : 50'000;
  const fs::path many = scratch.fresh(), none = scratch.fresh();
  scale.fill_s = run("fill", {many, scale.actors, 0}).at("seconds");
  run("fill", {none, 0, 0});

  const double with_none = run("opened", {none, 0, 0}, true).at("bytes");
  const double with_many = run("opened", {many, 0, 0}, true).at("bytes");
  scale.bytes_per_passivated = (with_many - with_none) / static_cast<double>(scale.actors);

  const double let_go = run("let-go", {none, 0, active}, true).at("bytes");
  const double kept = run("kept", {none, 0, active}, true).at("bytes");
  scale.bytes_per_active = (kept - let_go) / static_cast<double>(active);

  scale.timers = quick ? 50'000 : 1'000'000;
  run("timers", {many, scale.actors, scale.timers});
  const double with_timers = run("opened", {many, 0, 0}, true).at("bytes");
  scale.bytes_per_timer = (with_timers - with_many) / static_cast<double>(scale.timers);

  run("pend", {many, scale.actors, scale.pending});
  const json served = run("serve", {many, scale.actors, 0});
  scale.open_journal_s = served.at("journal");
  scale.start_s = served.at("start");
  scale.restart_s = served.at("serving");
  scale.caught_up_s = served.at("caught_up");
  return scale;
}

int run_stage(const std::vector<std::string>& args) {
  const Stage stage{args.at(1), std::stoull(args.at(2)), std::stoull(args.at(3))};
  json result;
  if (args[0] == "fill")
    result = fill(stage);
  else if (args[0] == "opened")
    result = opened(stage);
  else if (args[0] == "let-go")
    result = touched(stage, 0);
  else if (args[0] == "kept")
    result = touched(stage, stage.count);
  else if (args[0] == "timers")
    result = set_timers(stage);
  else if (args[0] == "pend")
    result = pend(stage);
  else if (args[0] == "serve")
    result = serve(stage);
  else
    throw std::runtime_error("no such stage: " + args[0]);
  std::cout << result.dump() << std::endl;
  return 0;
}

}  // namespace muster::bench
