// What clients were given of lists, so that the stream of a list tells `left` only of what its
// client has.
//
// Each list that a client reads, page by page, has a name in its Muster-Position; so has each
// stream, in the ids of its events. In memory and bounded: of a list that was forgotten (a restart,
// thousands of lists later) everything counts as given, and so it does once more was given than is
// remembered. Any thread.
//
//   auto list = memory.begin();              // the first page
//   list.given->add("7K2M");
//   auto stream = memory.copy(list.name);    // a stream goes its own way from there
//   if (stream.given->take("7K2M")) …        // tell `left`
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace muster::musterd {

/// Names of lists that no other process takes for its own.
class ListNames {
 public:
  ListNames();
  std::string next();

 private:
  const std::string salt_;
  std::uint64_t made_ = 0;
};

/// The items that one client has, by hashes of their names.
class GivenItems {
 public:
  static constexpr std::size_t kMost = 100'000;
  static constexpr std::size_t kMostOfAll = 1'000'000;  ///< In all lists; about 40 bytes each.

  void add(std::string_view name);
  /// True when the client has it: from now on it has not.
  bool take(std::string_view name);
  /// From here on it is not known what the client has: everything that was not taken since.
  void forget();

  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::shared_ptr<GivenItems> copy() const;

 private:
  mutable std::mutex mutex_;
  bool all_ = false;                       ///< What was not taken counts as given.
  std::unordered_set<std::size_t> items_;  ///< Those given; with all_, those taken.
};

/// Rows of one actor, as one client was told them: by their names, with a hash of what each said, and when.
class ToldRows {
 public:
  static constexpr std::size_t kMost = 40'000;
  static constexpr std::size_t kMostOfAll = 400'000;

  /// From now on the client has the row with that content; false: it has so already.
  bool tell(const std::string& name, std::size_t content, std::uint64_t at);
  /// The rows that the client has and that are not `there`: from now on it has them no longer.
  std::vector<std::string> tell_left(const std::set<std::string>& there, std::uint64_t at);
  /// What was told after `at` may never have come: it is told again.
  void rewind(std::uint64_t at);
  /// From here on it is not known what the client has.
  void forget();
  /// The client has nothing, which is known.
  void restart();

  [[nodiscard]] bool known() const;
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::shared_ptr<ToldRows> copy() const;

 private:
  struct Told {
    std::size_t content = 0;
    std::uint64_t at = 0;
    bool there = true;  ///< False: the client was told that it is gone.
    bool again = false;
  };
  mutable std::mutex mutex_;
  bool known_ = true;
  std::map<std::string, Told> rows_;
};

/// What clients were given, by the names of their lists; the list used longest ago is forgotten first.
template <class Items>
class NamedLists {
 public:
  static constexpr std::size_t kMostLists = 2'000;

  struct Named {
    std::string name;  ///< Hexadecimal digits.
    std::shared_ptr<Items> given;
  };

  /// A new one, of which nothing was given yet.
  Named begin() {
    const std::lock_guard lock(mutex_);
    return keep(std::make_shared<Items>());
  }
  /// That one itself; when it is forgotten, a new one of which that is said (Items::forget).
  Named find(std::string_view name) {
    const std::lock_guard lock(mutex_);
    const auto found = by_name_.find(std::string(name));
    if (found != by_name_.end()) {
      kept_.splice(kept_.end(), kept_, found->second);
      return *found->second;
    }
    auto unknown = std::make_shared<Items>();
    unknown->forget();
    return keep(std::move(unknown));
  }
  /// A new one that was given the same.
  Named copy(std::string_view name) {
    const Named original = find(name);
    const std::lock_guard lock(mutex_);
    return keep(original.given->copy());
  }

 private:
  Named keep(std::shared_ptr<Items> given) {
    Named list{names_.next(), std::move(given)};
    by_name_[list.name] = kept_.insert(kept_.end(), list);
    bound();
    return list;
  }

  /// What streams added meanwhile is counted when another list comes.
  void bound() {
    std::size_t items = 0;
    for (const Named& list : kept_) items += list.given->size();
    while (kept_.size() > 1 && (items > Items::kMostOfAll || kept_.size() > kMostLists)) {
      items -= std::min(items, kept_.front().given->size());
      by_name_.erase(kept_.front().name);
      kept_.pop_front();
    }
  }

  std::mutex mutex_;
  ListNames names_;
  std::list<Named> kept_;  ///< Those used last at the end.
  std::unordered_map<std::string, typename std::list<Named>::iterator> by_name_;
};

using ListMemory = NamedLists<GivenItems>;
using RowMemory = NamedLists<ToldRows>;

}  // namespace muster::musterd
