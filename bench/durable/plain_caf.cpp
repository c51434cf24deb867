// The same shapes as bare CAF actors: what the messages cost when nothing is kept.
#include <caf/all.hpp>

#include <chrono>
#include <future>
#include <string>
#include <vector>

#include "bench/durable/beads.hpp"
#include "bench/durable/shapes.hpp"

namespace muster::bench {

namespace {

/// What all actors of one run share. Lives until the system has ended.
struct World {
  std::vector<caf::actor> actors;
  std::atomic<std::uint32_t> left{0};
  std::promise<void> done;
  void one_done() {
    if (--left == 0) done.set_value();
  }
};

struct BeadState {
  std::uint64_t steps = 0;
  std::uint32_t returned = 0;
  std::uint32_t rounds = 0;
  std::string body = std::string(kBody, 'x');
};
using Self = caf::stateful_actor<BeadState>*;

/// Makes the actors, tells the first `tokens` of them `first(i)`, and waits until all have said so.
template <class Behavior, class First>
double measured(std::uint32_t actors, std::uint32_t tokens, Behavior behavior, First first) {
  World world;
  caf::actor_system_config config;
  config.set("scheduler.max-threads", std::size_t{2});
  config.set("scheduler.max-throughput", std::size_t{32});
  caf::actor_system system(config);
  for (std::uint32_t i = 0; i < actors; ++i)
    world.actors.push_back(system.spawn(behavior, i, &world));
  world.left = tokens;
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint32_t i = 0; i < tokens; ++i) first(world.actors[i], i);
  world.done.get_future().wait();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  for (const caf::actor& actor : world.actors)
    caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
  world.actors.clear();
  system.await_all_actors_done();
  return took.count();
}

const std::string kText(kBody, 'x');

}  // namespace

double caf_ring(std::uint32_t actors, std::uint32_t tokens, std::uint32_t hops) {
  const auto behavior = [](Self self, std::uint32_t i, World* world) -> caf::behavior {
    return {[=](std::uint32_t left, const std::string& text) {
      ++self->state.steps;
      if (left == 0) return world->one_done();
      self->send(world->actors[(i + 1) % world->actors.size()], left - 1, text);
    }};
  };
  return measured(actors, tokens, behavior,
                  [&](const caf::actor& to, std::uint32_t) { caf::anon_send(to, hops, kText); });
}

double caf_fan(std::uint32_t hubs, std::uint32_t fan_out, std::uint32_t rounds) {
  const auto behavior = [=](Self self, std::uint32_t i, World* world) -> caf::behavior {
    const auto spread = [=] {
      for (std::uint32_t n = 0; n < fan_out; ++n)
        self->send(world->actors[hubs + i * fan_out + n], caf::actor_cast<caf::actor>(self), kText);
    };
    return {[=](std::uint32_t go) {
              self->state.rounds = go;
              spread();
            },
            [=](const caf::actor& hub, const std::string& text) {
              ++self->state.steps;
              self->send(hub, text);
            },
            [=](const std::string&) {
              if (++self->state.returned < fan_out) return;
              self->state.returned = 0;
              if (--self->state.rounds == 0) return world->one_done();
              spread();
            }};
  };
  return measured(hubs + hubs * fan_out, hubs, behavior,
                  [&](const caf::actor& to, std::uint32_t) { caf::anon_send(to, rounds); });
}

double caf_pairs(std::uint32_t actors, std::uint32_t tokens, std::uint32_t turns) {
  const auto behavior = [](Self self, std::uint32_t, World* world) -> caf::behavior {
    return {[=](const caf::actor& asker, std::uint32_t left, std::uint64_t seed,
                const std::string& text) {
              ++self->state.steps;
              self->send(asker, left, seed, text);
            },
            [=](std::uint32_t left, std::uint64_t seed, const std::string& text) {
              ++self->state.steps;
              if (left == 0) return world->one_done();
              const auto peer = (next_random(seed) >> 8) % world->actors.size();
              self->send(world->actors[peer], caf::actor_cast<caf::actor>(self), left - 1, seed,
                         text);
            }};
  };
  return measured(actors, tokens, behavior, [&](const caf::actor& to, std::uint32_t i) {
    caf::anon_send(to, turns, std::uint64_t{i}, kText);
  });
}

}  // namespace muster::bench
