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

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace muster::musterd {

/// The items that one client has, by hashes of their names.
class GivenItems {
 public:
  static constexpr std::size_t kMost = 100'000;

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

class ListMemory {
 public:
  static constexpr std::size_t kMostItems = 1'000'000;  ///< Of all lists; about 40 bytes each.
  static constexpr std::size_t kMostLists = 2'000;

  ListMemory();

  struct Named {
    std::string name;  ///< Hexadecimal digits.
    std::shared_ptr<GivenItems> given;
  };
  /// A new one, of which nothing was given yet.
  Named begin();
  /// That one itself; when it is forgotten, a new one of which everything counts as given.
  Named find(std::string_view name);
  /// A new one that was given the same.
  Named copy(std::string_view name);

 private:
  Named keep(std::shared_ptr<GivenItems> given);
  void bound();

  std::mutex mutex_;
  const std::string salt_;  ///< No process takes another's names for its own.
  std::uint64_t made_ = 0;
  std::list<Named> kept_;  ///< Those used last at the end.
  std::unordered_map<std::string, std::list<Named>::iterator> by_name_;
};

}  // namespace muster::musterd
