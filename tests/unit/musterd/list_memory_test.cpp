// What clients were given of lists, and what happens when that is too much to remember.
#include "tools/musterd/list_memory.hpp"

#include <catch2/catch.hpp>
#include <vector>

using namespace muster::musterd;

TEST_CASE("what was given is taken once, and may be given again") {
  GivenItems given;
  CHECK_FALSE(given.take("a"));
  given.add("a");
  given.add("a");
  CHECK(given.take("a"));
  CHECK_FALSE(given.take("a"));
  given.add("a");
  CHECK(given.take("a"));
}

TEST_CASE("of what was forgotten everything counts as given, once") {
  GivenItems given;
  given.add("a");
  given.forget();
  CHECK(given.take("b"));
  CHECK_FALSE(given.take("b"));
  given.add("b");
  CHECK(given.take("b"));
  CHECK(given.take("a"));
}

TEST_CASE("more than is remembered is forgotten as a whole, never in part") {
  GivenItems given;
  for (std::size_t n = 0; n <= GivenItems::kMost; ++n) given.add(std::to_string(n));
  CHECK(given.size() <= 1);
  CHECK(given.take("0"));
  CHECK(given.take("never given"));
  for (std::size_t n = 0; n < 2 * GivenItems::kMost; ++n) (void)given.take(std::to_string(n));
  CHECK(given.size() <= GivenItems::kMost);
}

TEST_CASE("rows are told when they differ, and again when that may not have come") {
  ToldRows rows;
  CHECK(rows.tell("a", 1, 5));
  CHECK_FALSE(rows.tell("a", 1, 6));
  CHECK(rows.tell("a", 2, 6));
  CHECK(rows.tell("b", 1, 7));
  CHECK(rows.tell_left({"a"}, 8) == std::vector<std::string>{"b"});
  CHECK(rows.tell_left({"a"}, 8).empty());
  CHECK(rows.tell("b", 1, 9));  // It is back.
  CHECK(rows.tell_left({"a"}, 10) == std::vector<std::string>{"b"});

  const auto later = rows.copy();
  later->rewind(8);  // Who comes back with 8 may not have heard what was told at 9 and 10.
  CHECK_FALSE(later->tell("a", 2, 11));
  CHECK(later->tell_left({"a"}, 11) == std::vector<std::string>{"b"});
  later->rewind(5);
  CHECK(later->tell("a", 2, 12));
  CHECK(later->tell("b", 1, 12));

  CHECK(rows.known());
  for (std::size_t n = 0; n <= ToldRows::kMost; ++n) (void)rows.tell(std::to_string(n), 1, 13);
  CHECK_FALSE(rows.known());
  CHECK(rows.size() <= 10);
  rows.restart();
  CHECK(rows.known());
  CHECK_FALSE(RowMemory().find("0123").given->known());
}

TEST_CASE("lists have names of their own; a copy goes its own way") {
  ListMemory memory;
  const auto list = memory.begin();
  list.given->add("a");
  CHECK(memory.find(list.name).given == list.given);
  const auto copy = memory.copy(list.name);
  CHECK(copy.name != list.name);
  CHECK(copy.given->take("a"));
  CHECK(list.given->take("a"));
  CHECK(memory.find("0123").given->take("anything"));
  CHECK(memory.find("0123").name != "0123");
  CHECK(ListMemory().begin().name != ListMemory().begin().name);
}

TEST_CASE("lists and items are bounded: the one used longest ago is forgotten first") {
  ListMemory memory;
  const auto first = memory.begin();
  const auto second = memory.begin();
  for (std::size_t n = 2; n < ListMemory::kMostLists; ++n) (void)memory.begin();
  CHECK(memory.find(first.name).given == first.given);  // Used again.
  (void)memory.begin();
  CHECK(memory.find(first.name).given == first.given);
  CHECK(memory.find(second.name).given != second.given);

  ListMemory large;
  std::vector<ListMemory::Named> lists;
  for (std::size_t n = 0; n * GivenItems::kMost <= GivenItems::kMostOfAll; ++n) {
    lists.push_back(large.begin());
    for (std::size_t item = 0; item < GivenItems::kMost; ++item)
      lists.back().given->add(std::to_string(item));
  }
  const auto last = large.begin();
  CHECK(large.find(last.name).given == last.given);
  CHECK(large.find(lists.back().name).given == lists.back().given);
  CHECK(large.find(lists.front().name).given != lists.front().given);
}
