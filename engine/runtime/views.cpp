#include "engine/runtime/views.hpp"

#include <algorithm>
#include <deque>

#include "engine/core/archive.hpp"
#include "engine/core/keys.hpp"
#include "engine/core/records.hpp"

namespace muster::engine {

using storage::Family;

Result<std::optional<std::string>> read_head(const storage::Journal& journal,
                                             const ActorId& actor) {
  auto head = find_head(journal, actor);
  if (!head) return tl::unexpected<Error>(head.error());
  if (!*head || is_removed(**head)) return std::optional<std::string>{};
  auto state = state_in_head(**head);
  if (!state) return tl::unexpected<Error>(state.error());
  return std::optional<std::string>{std::move(*state)};
}

Result<void> read_audits(const storage::Journal& journal, std::uint32_t shard, Sequence after,
                         const EachAudit& each) {
  const std::string lower = keys::audit(after + 1, 0);
  const std::string upper(lower.size(), '\xff');
  Result<void> sound{};
  const auto scanned = journal.scan(
      Family::audit, lower, upper, [&](std::string_view key, std::string_view value) {
        auto record = decode_record<fbs::AuditRecordT>(value);
        if (!record) {
          sound = tl::unexpected<Error>(record.error());
          return false;
        }
        constexpr std::size_t kPosition = 8;
        std::uint32_t ordinal = 0;
        for (const char byte : key.substr(kPosition))
          ordinal = (ordinal << 8) | static_cast<unsigned char>(byte);
        return each({shard, storage::get_be64(key), ordinal, actor_of(record->actor),
                     Instant{record->at_unix_ms}, std::move(record->who),
                     std::move(record->action), std::move(record->detail),
                     std::move(record->correlation)});
      });
  return scanned ? sound : scanned;
}

namespace {

constexpr std::size_t kPage = 256;

/// One shard's part of an index, a page at a time.
class Cursor {
 public:
  Cursor(const storage::Journal& journal, std::pair<std::string, std::string> range)
      : journal_(journal), range_(std::move(range)) {}

  /// The key it stands on; empty at the end.
  Result<std::string_view> key() {
    if (page_.empty() && !last_page_) {
      auto ok = journal_.scan(Family::index, range_.first, range_.second,
                              [&](std::string_view key, std::string_view value) {
                                page_.emplace_back(key, value);
                                return page_.size() < kPage;
                              });
      if (!ok) return tl::unexpected<Error>(ok.error());
      last_page_ = page_.size() < kPage;
      if (!page_.empty()) range_.first = page_.back().first + '\0';
    }
    return page_.empty() ? std::string_view() : std::string_view(page_.front().first);
  }
  std::pair<std::string, std::string> take() {
    auto entry = std::move(page_.front());
    page_.pop_front();
    return entry;
  }

 private:
  const storage::Journal& journal_;
  std::pair<std::string, std::string> range_;
  std::deque<std::pair<std::string, std::string>> page_;
  bool last_page_ = false;
};

}  // namespace

Result<void> read_index(const std::vector<const storage::Journal*>& journals,
                        std::string_view index, std::string_view lower, std::string_view upper,
                        const EachEntry& each) {
  std::vector<Cursor> cursors;
  for (const storage::Journal* journal : journals)
    cursors.emplace_back(*journal, keys::index_range(index, lower, upper));
  for (;;) {
    Cursor* first = nullptr;
    std::string_view smallest;
    for (Cursor& cursor : cursors) {
      auto key = cursor.key();
      if (!key) return tl::unexpected<Error>(key.error());
      if (key->empty() || (first != nullptr && *key >= smallest)) continue;
      first = &cursor;
      smallest = *key;
    }
    if (first == nullptr) return {};
    const auto [key, value] = first->take();
    const auto entry = keys::parse_index(key);
    if (!entry) return fail(Errc::corrupt, "a key of the index " + std::string(index));
    if (!each(entry->key, entry->actor, value)) return {};
  }
}

}  // namespace muster::engine
