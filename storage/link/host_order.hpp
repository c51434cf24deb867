// An order to a host that starts no command: an ExecOpen without argv, whose variables say what is wanted, answered by
// one ExecEnd. It is numbered, answered and ended with its session as commands are, and a host that knows none answers
// "bad_command", as to any ExecOpen without a command.
//
//   order := ORDER=WHAT  ID=SNAPSHOT  NAME=TEXT       of the run, or of the sandbox, that the frame names
//   answer: exit_code 0 and JSON as `message`; else `reason` is an Errc's name and `message` is for a person
//
//   snapshot-take     keeps the sandbox's files as ID         -> the snapshot
//   snapshot-list     those of the frame's run                -> a list of snapshots
//   snapshot-list-all those of every run here                 -> a list of snapshots
//   snapshot-remove   ID, if it is of the frame's run         -> {}
#pragma once

#include <optional>
#include <string>

#include "storage/schema/wire_generated.h"

namespace muster::storage {

inline constexpr const char* kTakeSnapshot = "snapshot-take";
inline constexpr const char* kListSnapshots = "snapshot-list";
inline constexpr const char* kListAllSnapshots = "snapshot-list-all";
inline constexpr const char* kRemoveSnapshot = "snapshot-remove";
/// What a host that knows no orders answers.
inline constexpr const char* kKnowsNoOrders = "bad_command";

struct HostOrder {
  std::string what;
  std::string id{};
  std::string name{};
};

inline wire::ExecOpenT to_exec(const HostOrder& order) {
  wire::ExecOpenT open;
  for (const auto& [key, value] : {std::pair{"ORDER", &order.what}, {"ID", &order.id}, {"NAME", &order.name}}) {
    open.env.push_back(std::make_unique<wire::KeyValueT>());
    open.env.back()->key = key;
    open.env.back()->value = *value;
  }
  return open;
}

/// Nothing: it is a command, or neither.
inline std::optional<HostOrder> read_order(const wire::ExecOpen& open) {
  if ((open.argv() != nullptr && open.argv()->size() > 0) || open.env() == nullptr) return std::nullopt;
  HostOrder order;
  for (const auto* pair : *open.env()) {
    const std::string key = pair->key()->str();
    std::string* const to = key == "ORDER" ? &order.what : key == "ID" ? &order.id : key == "NAME" ? &order.name : nullptr;
    if (to != nullptr && pair->value() != nullptr) *to = pair->value()->str();
  }
  if (order.what.empty()) return std::nullopt;
  return order;
}

}  // namespace muster::storage
