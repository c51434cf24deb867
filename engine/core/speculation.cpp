#include "engine/core/speculation.hpp"

namespace muster::engine {

using storage::Family;

void Speculation::put(Family family, std::string key, std::string value) {
  pending_.put(family, key, value);
  entries_[static_cast<std::size_t>(family)].insert_or_assign(std::move(key),
                                                              Entry{number_, std::move(value)});
}

void Speculation::erase(Family family, std::string key) {
  pending_.erase(family, key);
  entries_[static_cast<std::size_t>(family)].insert_or_assign(std::move(key),
                                                              Entry{number_, std::nullopt});
}

void Speculation::append(Family family, std::string_view key, std::string_view value) {
  pending_.put(family, key, value);
}

void Speculation::append_erase(Family family, std::string_view key) { pending_.erase(family, key); }

Result<std::optional<std::string>> Speculation::get(Family family, const std::string& key) const {
  const auto found = entries(family).find(key);
  if (found != entries(family).end()) return found->second.value;
  return journal_.get(family, key);
}

Result<std::vector<Speculation::Row>> Speculation::scan(Family family, const std::string& lower,
                                                        const std::string& upper,
                                                        std::size_t limit) const {
  std::vector<Row> rows;
  auto above = entries(family).lower_bound(lower);
  const auto end = entries(family).end();
  // Takes what lies on top and below `key`; false when there is enough.
  const auto take_before = [&](std::string_view key) {
    for (; above != end && above->first < key && rows.size() < limit; ++above)
      if (above->second.value) rows.emplace_back(above->first, *above->second.value);
    return rows.size() < limit;
  };
  const auto committed =
      journal_.scan(family, lower, upper, [&](std::string_view key, std::string_view value) {
        if (!take_before(key)) return false;
        if (above != end && above->first == key) return true;  // Hidden; take_before() takes it.
        rows.emplace_back(key, value);
        return rows.size() < limit;
      });
  if (!committed) return tl::unexpected<Error>(committed.error());
  take_before(upper);
  return rows;
}

bool Speculation::uncommitted(Family family, const std::string& key) const {
  return entries(family).contains(key);
}

storage::Batch Speculation::close() {
  ++number_;
  return std::exchange(pending_, std::exchange(spare_, {}));
}

void Speculation::reuse(storage::Batch written) {
  written.clear();
  spare_ = std::move(written);
}

void Speculation::settle(std::uint64_t number) {
  for (Entries& entries : entries_)
    std::erase_if(entries, [&](const auto& entry) { return entry.second.batch <= number; });
}

void Speculation::clear() {
  pending_.clear();
  for (Entries& entries : entries_) entries.clear();
  ++number_;
}

}  // namespace muster::engine
