#include "engine/core/letters.hpp"

#include <algorithm>

#include "engine/core/keys.hpp"
#include "engine/core/records.hpp"

namespace muster::engine {

using storage::Family;

namespace {

const std::string kAllNumbers(9, '\xff');

Result<DeadLetter> decode_letter(LetterId id, std::string_view bytes, const Kinds& kinds) {
  auto record = decode_record<fbs::DeadRecordT>(bytes);
  if (!record) return fail(record.error(), "dead letter " + id.to_string());
  auto message = decode_envelope(bytes_of(record->envelope));
  if (!message) return fail(message.error(), "dead letter " + id.to_string());
  DeadLetter letter;
  letter.id = id;
  letter.message = std::move(*message);
  const auto kind = kinds.find(letter.message.to.kind);
  letter.text = kind != kinds.end() ? kind->second.describe(letter.message.payload)
                                    : describe_unknown(letter.message.payload);
  letter.reason = std::move(record->reason);
  letter.at = {record->at_unix_ms};
  letter.state = static_cast<DeadLetter::State>(record->state);
  letter.who = std::move(record->closed_by);
  letter.why = std::move(record->closed_why);
  letter.closed_at = {record->closed_unix_ms};
  letter.replayed_as = record->replayed_as;
  return letter;
}

}  // namespace

Result<std::vector<DeadLetter>> read_letters(const std::vector<const storage::Journal*>& shards,
                                             const Kinds& kinds, LetterId after,
                                             std::size_t limit) {
  limit = std::min(limit, kMaxLetters);
  std::vector<DeadLetter> letters;
  Result<void> outcome;
  for (std::uint32_t shard = after.shard; shard < shards.size() && letters.size() < limit; ++shard) {
    const std::string lower = keys::sequence(shard == after.shard ? after.sequence + 1 : 0);
    const auto each = [&](std::string_view key, std::string_view value) {
      auto letter = decode_letter({shard, storage::get_be64(key)}, value, kinds);
      if (letter) {
        letters.push_back(std::move(*letter));
      } else {
        outcome = tl::unexpected<Error>(letter.error());
      }
      return outcome && letters.size() < limit;
    };
    if (auto ok = shards[shard]->scan(Family::dead, lower, kAllNumbers, each); !ok)
      return tl::unexpected<Error>(ok.error());
    if (!outcome) return tl::unexpected<Error>(outcome.error());
  }
  return letters;
}

Result<std::optional<DeadLetter>> read_letter(const std::vector<const storage::Journal*>& shards,
                                              const Kinds& kinds, LetterId id) {
  if (id.shard >= shards.size()) return std::optional<DeadLetter>{};
  const auto bytes = shards[id.shard]->get(Family::dead, keys::sequence(id.sequence));
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  if (!*bytes) return std::optional<DeadLetter>{};
  auto letter = decode_letter(id, **bytes, kinds);
  if (!letter) return tl::unexpected<Error>(letter.error());
  return std::optional<DeadLetter>{std::move(*letter)};
}

}  // namespace muster::engine
