// Who works with the ledger.
#pragma once

#include <map>

#include "tests/simulation/world.hpp"

namespace muster::sim {

enum class Operation { open, pay, pay_poisoned, pay_ghost };

/// Does one thing after the other, each until it is answered, always with the same key.
struct World::Client {
  std::string name;
  int left = 0;
  Operation operation = Operation::open;
  engine::Call call;
  std::uint64_t id = 0;
  std::uint64_t attempts = 0;  ///< Of everything it ever did: tells stale wake-ups.
  bool waiting = false;
  std::vector<std::pair<engine::Call, Result<std::string>>> history;
  struct Paid {
    std::string from;
    std::string to;
    std::uint64_t id;
    bool applied;
  };
  std::vector<Paid> paid;
};

/// Replays and discards dead letters, pauses accounts and resumes them, each command until it is answered.
struct World::Operator {
  int left = 0;
  engine::OperatorCommand command;
  bool waiting = false;
  std::uint64_t attempts = 0;
  std::set<std::string> paused;                ///< Accounts; none at the end.
  std::map<engine::LetterId, bool> closed;     ///< By its commands; true: replayed.
};

/// A host: numbered messages, each until it is taken.
struct World::Channel {
  std::string name;
  std::string account;
  std::uint64_t number = 0;
  std::uint64_t last = 0;
  std::uint64_t attempts = 0;
};

}  // namespace muster::sim
