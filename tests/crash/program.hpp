// Random programs over many keys, as an actor kind that interprets them, as a model that knows the end, and as a
// client that sends them to an engine until each is answered.
//
//   Programs programs(seed, 50);                    // 50 keys; program i is always the same one
//   Client client(*engine, programs, began);        // `began`: the time in the idempotency keys
//   client.perform(1, 1'000, [](std::uint64_t i) { … });   // acknowledged, in any order
//   wait_until_equal(*engine, model_of(programs, 1'000));
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/core/engine.hpp"
#include "engine/core/kind.hpp"
#include "tests/crash/program_generated.h"

namespace muster::test {

struct Interpreter {
  static constexpr std::string_view kName = "interpreter";
  static constexpr std::uint16_t kVersion = 1;
  using State = fbs::InterpreterHeadT;
  using Messages = engine::MessageSet<fbs::InterpreterBodyUnionTraits, fbs::PerformT, fbs::AskT,
                                      fbs::AnsweredT>;
  using Message = Messages::Variant;
  static bool creates(const Message&) { return true; }
  static void step(State& state, const Message& message, engine::Context& ctx);
};

/// The same for equal seeds, on any machine. Numbers from 1.
class Programs {
 public:
  Programs(std::uint64_t seed, std::uint64_t keys) : seed_(seed), keys_(keys) {}

  struct Program {
    std::string key;  ///< Of the interpreter that gets it.
    fbs::PerformT perform;
  };
  [[nodiscard]] Program at(std::uint64_t number) const;

 private:
  std::uint64_t seed_;
  std::uint64_t keys_;
};

/// What an installation must have come to.
struct Model {
  struct Actor {
    std::int64_t total = 0;
    std::map<std::uint64_t, std::int64_t> slots;
    bool operator==(const Actor&) const = default;
  };
  std::map<std::string, Actor> actors;
  std::size_t dead = 0;
};
Model model_of(const Programs& programs, std::uint64_t count);

/// Where the engine differs from the model, in words; empty: nowhere.
std::string difference(const engine::Engine& engine, const Model& model);
/// Waits for commits until there is no difference, `limit` at most, and returns what remains of it.
std::string wait_until_equal(engine::Engine& engine, const Model& model, Duration limit);

class Client {
 public:
  Client(engine::Engine& engine, const Programs& programs, Instant began)
      : engine_(engine), programs_(programs), began_(began) {}

  /// Sends programs [first, last], a bounded number at once, each again until it has a final answer. Returns
  /// when all have, or when `go_on` says no; then some may still be unknown.
  void perform(std::uint64_t first, std::uint64_t last,
               const std::function<void(std::uint64_t number)>& acknowledged,
               const std::function<bool()>& go_on = [] { return true; });
  /// The same for these numbers.
  void perform(std::vector<std::uint64_t> numbers,
               const std::function<void(std::uint64_t number)>& acknowledged,
               const std::function<bool()>& go_on = [] { return true; });

 private:
  engine::Call call_of(std::uint64_t number) const;

  engine::Engine& engine_;
  const Programs& programs_;
  Instant began_;
};

}  // namespace muster::test
