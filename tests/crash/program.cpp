#include "tests/crash/program.hpp"

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>
#include <random>
#include <stdexcept>

namespace muster::test {

namespace {

using Commands = std::vector<std::unique_ptr<fbs::CommandT>>;

constexpr std::size_t kInFlight = 128;

engine::ActorId interpreter(const std::string& key) { return {"test", "interpreter", key}; }

Commands copy_of(const Commands& commands) {
  Commands copy;
  for (const auto& command : commands) copy.push_back(std::make_unique<fbs::CommandT>(*command));
  return copy;
}

std::int64_t answer_to(const Commands& commands) {
  return 1'000 * static_cast<std::int64_t>(commands.size());
}

void interpret(fbs::InterpreterHeadT& state, const Commands& commands, engine::Context& ctx) {
  for (const auto& c : commands) {
    fbs::PerformT inner;
    fbs::AskT ask;
    switch (c->op) {
      case fbs::Op::set: ctx.put_row(std::to_string(c->slot), std::to_string(c->amount)); break;
      case fbs::Op::add: state.total += c->amount; break;
      case fbs::Op::send:
        inner.commands = copy_of(c->inner);
        ctx.send<Interpreter>(c->to, inner);
        break;
      case fbs::Op::delay:
        inner.commands = copy_of(c->inner);
        ctx.after<Interpreter>(std::to_string(c->slot), Duration{c->amount}, inner);
        break;
      case fbs::Op::ask:
        ask.commands = copy_of(c->inner);
        ctx.send<Interpreter>(c->to, ask);
        break;
      case fbs::Op::fail: throw std::runtime_error("this program fails");
    }
  }
}

bool fails(const Commands& commands) {
  for (const auto& c : commands)
    if (c->op == fbs::Op::fail) return true;
  return false;
}

/// False: it failed, and had no effect.
bool run_in(Model& model, const std::string& key, const Commands& commands) {
  if (fails(commands)) {
    ++model.dead;
    return false;
  }
  Model::Actor& actor = model.actors[key];
  for (const auto& c : commands) {
    if (c->op == fbs::Op::set) actor.slots[c->slot] = c->amount;
    if (c->op == fbs::Op::add) actor.total += c->amount;
    if (c->op == fbs::Op::send) run_in(model, c->to, c->inner);
    if (c->op == fbs::Op::delay) run_in(model, key, c->inner);
    if (c->op == fbs::Op::ask && run_in(model, c->to, c->inner))
      actor.total += answer_to(c->inner);
  }
  return true;
}

/// Draws one program.
class Writer {
 public:
  Writer(std::uint64_t seed, std::uint64_t keys, std::uint64_t number)
      : random_(seed * 1'000'003 + number), keys_(keys), next_slot_(number * 1'000) {}

  std::string key() { return "k" + std::to_string(below(keys_)); }

  Commands commands(int depth) {
    Commands list;
    for (std::uint64_t n = 1 + below(4); n > 0; --n) {
      list.push_back(command(depth));
      if (list.size() < 2 || list.back()->op != fbs::Op::set || !chance(30)) continue;
      const auto& before = list[list.size() - 2];  // The same slot twice: the later one counts.
      if (before->op == fbs::Op::set) list.back()->slot = before->slot;
    }
    return list;
  }

 private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

  std::unique_ptr<fbs::CommandT> command(int depth) {
    auto c = std::make_unique<fbs::CommandT>();
    c->slot = next_slot_++;
    c->amount = static_cast<std::int64_t>(below(1'000));
    const std::uint64_t what = below(100);
    if (what < 30 || depth == 0) {
      c->op = fbs::Op::add;
    } else if (what < 55) {
      c->op = fbs::Op::set;
    } else if (what < 75) {
      c->op = fbs::Op::send;
      c->to = key();
      c->inner = commands(depth - 1);
    } else if (what < 90) {
      c->op = fbs::Op::ask;
      c->to = key();
      c->inner = commands(depth - 1);
    } else if (what < 96) {
      delayed(*c, depth);
    } else {
      c->op = fbs::Op::fail;
    }
    return c;
  }

  /// By an actor of its own, because one actor may have only so many timers.
  void delayed(fbs::CommandT& c, int depth) {
    c.op = fbs::Op::send;
    c.to = "delay-" + std::to_string(c.slot);
    auto wait = std::make_unique<fbs::CommandT>();
    wait->op = fbs::Op::delay;
    wait->slot = next_slot_++;
    wait->amount = static_cast<std::int64_t>(below(200));
    wait->inner = commands(depth - 1);
    c.inner.push_back(std::move(wait));
  }

  bool chance(std::uint64_t percent) { return below(100) < percent; }

  std::mt19937_64 random_;
  std::uint64_t keys_;
  std::uint64_t next_slot_;
};

bool is_final(const Result<std::string>& answer) {
  if (answer) return true;
  const Errc code = answer.error().code;
  return code != Errc::unknown && code != Errc::unreachable && code != Errc::overloaded;
}

}  // namespace

// ---- the kind ----

void Interpreter::step(State& state, const Message& message, engine::Context& ctx) {
  if (const auto* perform = std::get_if<fbs::PerformT>(&message)) {
    interpret(state, perform->commands, ctx);
  } else if (const auto* ask = std::get_if<fbs::AskT>(&message)) {
    interpret(state, ask->commands, ctx);
    fbs::AnsweredT answered;
    answered.amount = answer_to(ask->commands);
    ctx.send<Interpreter>(ctx.sender().key, answered);
  } else {
    state.total += std::get<fbs::AnsweredT>(message).amount;
  }
}

// ---- programs and the model ----

Programs::Program Programs::at(std::uint64_t number) const {
  constexpr int kDepth = 3;
  Writer writer(seed_, keys_, number);
  Program program;
  program.key = writer.key();
  program.perform.commands = writer.commands(kDepth);
  return program;
}

Model model_of(const Programs& programs, std::uint64_t count) {
  Model model;
  for (std::uint64_t number = 1; number <= count; ++number) {
    const auto program = programs.at(number);
    run_in(model, program.key, program.perform.commands);
  }
  return model;
}

std::string difference(const engine::Engine& engine, const Model& model) {
  for (const auto& [key, expected] : model.actors) {
    const auto head = engine.head(interpreter(key));
    if (!head) return head.error().message;
    if (!*head) return key + " does not exist";
    Model::Actor found;
    found.total = engine::decode_table<fbs::InterpreterHeadT>(**head)->total;
    const auto read = engine.rows(interpreter(key), "", "", [&](std::string_view slot, std::string_view value) {
      found.slots[std::stoull(std::string(slot))] = std::stoll(std::string(value));
      return true;
    });
    if (!read) return read.error().message;
    if (found.total != expected.total)
      return key + " has the total " + std::to_string(found.total) + " instead of " +
             std::to_string(expected.total);
    if (found.slots != expected.slots) return key + " has other slots than it should";
  }
  std::size_t dead = 0;
  for (engine::LetterId after;;) {
    const auto page = engine.dead_letters(after, 1'000);
    if (!page) return page.error().message;
    if (page->empty()) break;
    dead += page->size();
    after = page->back().id;
  }
  if (dead != model.dead)
    return std::to_string(dead) + " dead letters instead of " + std::to_string(model.dead);
  return {};
}

std::string wait_until_equal(engine::Engine& engine, const Model& model, Duration limit) {
  std::mutex mutex;
  std::condition_variable heard;
  std::uint64_t commits = 0;
  const auto following = engine.subscribe([&](const std::vector<engine::Change>&) {
    const std::lock_guard lock(mutex);
    ++commits;
    heard.notify_all();
  });
  const auto until = std::chrono::steady_clock::now() + limit;
  std::uint64_t seen = 0;
  for (;;) {
    std::string found = difference(engine, model);
    if (found.empty()) return found;
    std::unique_lock lock(mutex);
    if (!heard.wait_until(lock, until, [&] { return commits != seen; })) return found;
    seen = commits;
  }
}

// ---- the client ----

engine::Call Client::call_of(std::uint64_t number) const {
  const auto program = programs_.at(number);
  engine::Call call;
  call.to = interpreter(program.key);
  call.payload = Interpreter::Messages::encode(program.perform);
  const auto ms = static_cast<unsigned long long>(began_.unix_ms);
  std::array<char, 64> key{};
  std::snprintf(key.data(), key.size(), "%08llx-%04llx-7000-8000-%012llx", ms >> 16, ms & 0xffff,
                static_cast<unsigned long long>(number));
  call.key = key.data();
  call.digest = "program " + std::to_string(number);
  return call;
}

void Client::perform(std::uint64_t first, std::uint64_t last,
                     const std::function<void(std::uint64_t)>& acknowledged,
                     const std::function<bool()>& go_on) {
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t number = first; number <= last; ++number) numbers.push_back(number);
  perform(std::move(numbers), acknowledged, go_on);
}

void Client::perform(std::vector<std::uint64_t> numbers,
                     const std::function<void(std::uint64_t)>& acknowledged,
                     const std::function<bool()>& go_on) {
  struct Shared {
    std::mutex mutex;
    std::condition_variable heard;
    std::deque<std::uint64_t> waiting;
    std::vector<std::uint64_t> answered;
    std::size_t in_flight = 0;
    bool refused = false;
  };
  // Answers may come after this call, when it is told to stop.
  const auto shared = std::make_shared<Shared>();
  shared->waiting.assign(numbers.begin(), numbers.end());
  constexpr std::chrono::milliseconds kPause{20};  // Before asking an engine again that said no.
  for (;;) {
    std::unique_lock lock(shared->mutex);
    const auto ready = [&] {
      return !shared->answered.empty() ||
             (!shared->refused && !shared->waiting.empty() && shared->in_flight < kInFlight) ||
             (shared->waiting.empty() && shared->in_flight == 0);
    };
    if (!shared->heard.wait_for(lock, kPause, ready)) shared->refused = false;
    for (const std::uint64_t number : std::exchange(shared->answered, {})) acknowledged(number);
    if (!go_on() || (shared->waiting.empty() && shared->in_flight == 0)) return;
    if (shared->refused || shared->waiting.empty() || shared->in_flight >= kInFlight) continue;
    const std::uint64_t number = shared->waiting.front();
    shared->waiting.pop_front();
    ++shared->in_flight;
    lock.unlock();
    engine_.call(call_of(number), [shared, number](const Result<std::string>& answer) {
      const std::lock_guard done(shared->mutex);
      --shared->in_flight;
      if (is_final(answer)) {
        shared->answered.push_back(number);
      } else {
        shared->waiting.push_back(number);
        shared->refused = true;
      }
      shared->heard.notify_all();
    });
  }
}

}  // namespace muster::test
