// Between shards: an outbox numbered per (source, destination), and a mark that the receiver commits together
// with the messages. Lost parcels are sent again, repeated ones are dropped, so each arrives once and in order.
#include <algorithm>

#include "engine/core/keys.hpp"
#include "engine/core/shard.hpp"

namespace muster::engine {

using storage::Family;

/// Leaves with this batch; the receiver's shard gives it its sequence.
Sequence Shard::send_away(std::uint32_t destination, const Envelope& message) {
  const std::uint64_t number = ++peers_[destination].given;
  rows_.append(Family::outbox, keys::outbox(destination, number), encode_envelope(message));
  return 0;
}

/// Sends what is durable, as far as the bound on unacknowledged messages allows.
void Shard::pump_outbox(std::uint32_t destination) {
  Peer& peer = peers_[destination];
  const std::uint64_t bound = peer.acknowledged + limits_.unacked_messages;
  if (peer.sent >= std::min(peer.given, bound)) return;
  Parcel parcel{config_.place.shard, peer.sent + 1, {}};
  sure(world_.journal.scan(Family::outbox, keys::outbox(destination, parcel.first),
                           keys::outbox(destination, bound + 1),
                           [&](std::string_view, std::string_view value) {
                             parcel.envelopes.emplace_back(value);
                             return true;
                           }));
  if (parcel.envelopes.empty()) return;  // Not committed yet.
  peer.sent += parcel.envelopes.size();
  peer.progress = now();
  world_.link.send(destination, std::move(parcel));
}

void Shard::pump_outboxes() {
  for (std::uint32_t to = 0; to < peers_.size(); ++to)
    if (to != config_.place.shard) pump_outbox(to);
}

void Shard::resend_stalled() {
  for (std::uint32_t to = 0; to < peers_.size(); ++to) {
    Peer& peer = peers_[to];
    if (peer.sent <= peer.acknowledged || now() - peer.progress < limits_.resend) continue;
    peer.sent = peer.acknowledged;
    pump_outbox(to);
  }
}

std::uint64_t Shard::source_mark(std::uint32_t source) const {
  const auto stored = sure(rows_.get(Family::dedup, keys::source(source)));
  return stored ? storage::get_be64(*stored) : 0;
}

void Shard::receive(Parcel parcel) {
  if (phase_ != Phase::serving || parcel.source >= peers_.size()) return;  // It is sent again.
  guarded([&] { receive_parcel(parcel); });
}

void Shard::receive_parcel(const Parcel& parcel) {
  const std::uint64_t before = source_mark(parcel.source);
  std::uint64_t mark = before;
  const bool gap = parcel.first > mark + 1;
  for (std::size_t i = 0; i < parcel.envelopes.size() && !gap; ++i) {
    if (parcel.first + i <= mark) continue;
    mark = parcel.first + i;
    enqueue(sure(decode_envelope(parcel.envelopes[i])), now());
  }
  if (mark != before) {
    std::string bytes;
    storage::put_be64(bytes, mark);
    rows_.put(Family::dedup, keys::source(parcel.source), std::move(bytes));
  }
  when_durable([this, source = parcel.source, mark, gap](const Error* failure) {
    if (failure == nullptr)
      world_.link.acknowledge(source, {config_.place.shard, mark, gap});
  });
  schedule_turn();
}

void Shard::acknowledged(ParcelAck ack) {
  if (phase_ != Phase::serving || ack.source >= peers_.size()) return;
  Peer& peer = peers_[ack.source];
  if (ack.mark > peer.given) return;  // Of another life of this journal.
  guarded([&] {
    for (std::uint64_t n = peer.acknowledged + 1; n <= ack.mark; ++n)
      rows_.append_erase(Family::outbox, keys::outbox(ack.source, n));
    if (ack.mark > peer.acknowledged) peer.progress = now();
    peer.acknowledged = std::max(peer.acknowledged, ack.mark);
    peer.sent = std::max(ack.again ? peer.acknowledged : peer.sent, peer.acknowledged);
    pump_outbox(ack.source);
    schedule_turn();
  });
}

}  // namespace muster::engine
