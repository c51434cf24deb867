// The journal as it will be: what is committed, with everything decided since on top.
//
// A decision writes here and is seen at once by later steps, while its batch waits for the writer or is with
// it. Belongs to the shard's strand. Families that nobody reads before a commit (inbox, changes, index, …) go
// into the batch alone: append(), drop nothing on top.
//
//   speculation.put(Family::state, row, value);
//   auto batch = speculation.close();       // to the writer; the next batch is open
//   speculation.settle();                   // that batch is durable
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "storage/journal/journal.hpp"

namespace muster::engine {

class Speculation {
 public:
  using Row = std::pair<std::string, std::string>;

  explicit Speculation(const storage::Journal& journal) : journal_(journal) {}

  /// Written and seen by get() and scan() from now on.
  void put(storage::Family family, std::string key, std::string value);
  void erase(storage::Family family, std::string key);
  /// Written only; seen once committed.
  void append(storage::Family family, std::string_view key, std::string_view value);
  void append_erase(storage::Family family, std::string_view key);

  Result<std::optional<std::string>> get(storage::Family family, const std::string& key) const;
  /// At most `limit` rows of [lower, upper), in order.
  Result<std::vector<Row>> scan(storage::Family family, const std::string& lower,
                                const std::string& upper, std::size_t limit) const;
  /// Whether the row's newest value is not durable yet.
  [[nodiscard]] bool uncommitted(storage::Family family, const std::string& key) const;

  [[nodiscard]] std::size_t bytes() const { return pending_.bytes(); }
  [[nodiscard]] bool empty() const { return pending_.empty(); }
  /// The number of the batch that is being filled; from 1.
  [[nodiscard]] std::uint64_t number() const { return number_; }
  storage::Batch close();
  /// A batch that was written: its memory is used for the next but one.
  void reuse(storage::Batch written);
  /// Batches up to `number` are durable.
  void settle(std::uint64_t number);
  void clear();

 private:
  struct Entry {
    std::uint64_t batch;
    std::optional<std::string> value;
  };
  using Entries = std::map<std::string, Entry>;

  [[nodiscard]] const Entries& entries(storage::Family family) const {
    return entries_[static_cast<std::size_t>(family)];
  }

  const storage::Journal& journal_;
  storage::Batch pending_;
  storage::Batch spare_;
  std::uint64_t number_ = 1;
  std::array<Entries, storage::kFamilies> entries_;
};

}  // namespace muster::engine
