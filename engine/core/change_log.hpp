// The changes record of the batch that is being filled, encoded decision by decision, without copies.
//
//   log.sent(to, &receiver, type, sequence);  log.effect(key);  log.index(entry);  // of one decision, then
//   log.close(decided, actor);
//   rows.append(Family::changes, …, log.finish());                                 // of the whole batch
//   log.clear();
//
// An actor's name is written once per batch and pointed at from then on; its activation remembers where.
// Belongs to the shard's strand.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <string_view>
#include <vector>

#include "engine/core/activation.hpp"
#include "engine/core/record_generated.h"

namespace muster::engine {

class ChangeLog {
 public:
  /// A decision besides what it sent, asked for and indexed.
  struct Decided {
    std::uint64_t position = 0;
    Sequence sequence = 0;
    Lane lane = Lane::normal;
    std::uint16_t type = 0;
    Instant at;
    bool dead = false;
  };

  /// `receiver`: null when it is not in memory. `sequence`: 0 for another shard.
  void sent(const ActorId& to, Activation* receiver, std::uint16_t type, Sequence sequence);
  void effect(std::string_view key);
  void index(const IndexChange& entry);
  void close(const Decided& decided, Activation& actor);

  [[nodiscard]] bool empty() const { return changes_.empty(); }
  [[nodiscard]] std::size_t size() const { return changes_.size(); }
  [[nodiscard]] std::uint64_t first_position() const { return first_position_; }
  /// The whole record; valid until clear().
  std::string_view finish();
  void clear();

 private:
  template <class T>
  using Offsets = std::vector<flatbuffers::Offset<T>>;

  flatbuffers::Offset<fbs::ActorName> name(const ActorId& id, Activation* active);

  flatbuffers::FlatBufferBuilder builder_{64u << 10};
  std::uint64_t batch_ = 1;
  std::uint64_t first_position_ = 0;
  Offsets<fbs::ChangeRecord> changes_;
  // Of the decision that is being described:
  Offsets<fbs::SentRef> sent_;
  Offsets<flatbuffers::String> effects_;
  Offsets<fbs::ChangedIndex> indexes_;
};

}  // namespace muster::engine
