#include "tools/musterd/causal_tree.hpp"

#include <map>
#include <tuple>

#include "actors/host/host_generated.h"
#include "actors/run/run_generated.h"
#include "engine/core/keys.hpp"
#include "engine/core/kind.hpp"
#include "tools/musterd/actor_json.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kMaxAncestors = 100;

/// The shard of the message that caused this one: its sender's, or for an effect's result its own
/// actor's.
std::uint32_t shard_of_cause(const engine::Journals& journals, const engine::Envelope& message) {
  return engine::shard_of(journals, message.from.kind.empty() ? message.to : message.from);
}

template <class T>
constexpr std::uint16_t number_of_run_message() {
  return static_cast<std::uint16_t>(fbs::RunBodyUnionTraits<T>::enum_value);
}

/// The run and attempt that a host's event or a proposal names.
struct Named {
  std::string run;
  std::uint32_t attempt = 0;
};
std::optional<Named> named_in(const engine::Envelope& message) {
  if (message.to.kind == "run" &&
      message.payload.type == number_of_run_message<fbs::HostEventT>()) {
    const auto event = engine::decode_table<fbs::HostEventT>(message.payload.bytes);
    if (event && event->epoch) return Named{message.to.key, event->epoch->attempt()};
  }
  if (message.to.kind == "host" &&
      message.payload.type ==
          static_cast<std::uint16_t>(fbs::HostBodyUnionTraits<fbs::ProposeT>::enum_value)) {
    const auto proposal = engine::decode_table<fbs::ProposeT>(message.payload.bytes);
    if (proposal) return Named{proposal->run, proposal->attempt};
  }
  return std::nullopt;
}

class TreeMaker {
 public:
  TreeMaker(const engine::Journals& journals, std::size_t limit)
      : journals_(journals), limit_(limit) {}

  void begin(std::uint32_t shard, engine::Envelope message) {
    add(shard, std::move(message), std::nullopt, "");
  }

  /// Messages come in the order of a shard; true while there is room.
  bool look(std::uint32_t shard, const engine::Envelope& message) {
    if (const auto link = link_of(shard, message)) {
      if (tree_.nodes.size() >= limit_) {
        tree_.more = true;
        return false;
      }
      add(shard, message, link->first, link->second);
      grew_ = true;
    }
    return true;
  }
  /// Whether anything was added since the last question.
  bool grew() { return std::exchange(grew_, false); }
  CausalTree take() { return std::move(tree_); }

 private:
  using Link = std::pair<std::size_t, std::string>;

  void add(std::uint32_t shard, engine::Envelope message, std::optional<std::size_t> parent,
           const std::string& link) {
    const std::size_t place = tree_.nodes.size();
    places_[{shard, message.sequence}] = place;
    last_to_[message.to] = place;
    tree_.nodes.push_back({shard, std::move(message), parent, link});
  }

  std::optional<Link> link_of(std::uint32_t shard, const engine::Envelope& message) const {
    if (places_.contains({shard, message.sequence})) return std::nullopt;
    if (message.causation != 0) {
      const auto cause = places_.find({shard_of_cause(journals_, message), message.causation});
      if (cause == places_.end()) return std::nullopt;
      return Link{cause->second, message.from.kind.empty() ? "effect" : "sent"};
    }
    if (!message.timer.empty()) {
      const auto setter = last_to_.find(message.to);
      if (setter == last_to_.end() ||
          tree_.nodes[setter->second].message.correlation != message.correlation)
        return std::nullopt;
      return Link{setter->second, "timer"};
    }
    const auto named = named_in(message);
    if (!named) return std::nullopt;
    const auto run = last_to_.find({message.to.org, "run", named->run});
    if (run == last_to_.end()) return std::nullopt;
    return Link{run->second, message.to.kind == "host" ? "scheduler" : "host"};
  }

  const engine::Journals& journals_;
  std::size_t limit_;
  CausalTree tree_;
  bool grew_ = false;
  std::map<std::pair<std::uint32_t, engine::Sequence>, std::size_t> places_;
  std::map<engine::ActorId, std::size_t> last_to_;
};

Result<std::vector<engine::Envelope>> ancestors_of(const engine::Journals& journals,
                                                   engine::Envelope message) {
  std::vector<engine::Envelope> up;
  while (message.causation != 0 && up.size() < kMaxAncestors) {
    auto cause =
        engine::read_message(*journals[shard_of_cause(journals, message)], message.causation);
    if (!cause) return tl::unexpected<Error>(cause.error());
    if (!*cause) break;
    message = std::move(**cause);
    up.insert(up.begin(), message);
  }
  return up;
}

}  // namespace

Result<CausalTree> causal_tree(const engine::Journals& journals, std::uint32_t shard,
                               engine::Sequence sequence, std::size_t limit) {
  auto first = engine::read_message(*journals[shard], sequence);
  if (!first) return tl::unexpected<Error>(first.error());
  if (!*first)
    return fail(Errc::not_found, "message " + std::to_string(sequence) + " is not in the journal");
  auto ancestors = ancestors_of(journals, **first);
  if (!ancestors) return tl::unexpected<Error>(ancestors.error());
  TreeMaker maker(journals, limit);
  const Instant begun = (*first)->enqueued_at;
  maker.begin(shard, std::move(**first));
  // A shard numbers what it is sent in the order of its coming; over several shards a later round
  // may find children of what an earlier one added.
  std::size_t scanned = 0;
  bool full = false;
  std::vector<engine::Sequence> from(journals.size(), 1);
  from[shard] = sequence + 1;
  do {
    for (std::uint32_t each = 0; each < journals.size() && !full; ++each) {
      const auto walked =
          engine::each_message(*journals[each], from[each], [&](const engine::Envelope& message) {
            if (message.enqueued_at < begun) return ++scanned < kMaxTreeScan;
            full = !maker.look(each, message) || ++scanned >= kMaxTreeScan;
            return !full;
          });
      if (!walked) return tl::unexpected<Error>(walked.error());
    }
  } while (journals.size() > 1 && maker.grew() && !full);
  CausalTree tree = maker.take();
  tree.more = tree.more || full;
  tree.ancestors = std::move(*ancestors);
  return tree;
}

Json tree_json(const CausalTree& tree) {
  Json ancestors = Json::array();
  for (const engine::Envelope& message : tree.ancestors)
    ancestors.push_back(envelope_json(0, message));
  Json nodes = Json::array();
  for (const TreeNode& node : tree.nodes) {
    Json json = envelope_json(node.shard, node.message);
    json["parent"] = node.parent ? Json(*node.parent) : Json(nullptr);
    json["link"] = node.link;
    nodes.push_back(std::move(json));
  }
  return {{"ancestors", std::move(ancestors)}, {"messages", std::move(nodes)}, {"more", tree.more}};
}

}  // namespace muster::musterd
