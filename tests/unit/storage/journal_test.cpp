// One suite over both journals: equal answers are demanded.
#include "storage/journal/journal.hpp"

#include <catch2/catch.hpp>
#include <atomic>
#include <functional>
#include <limits>
#include <random>
#include <thread>

#include "storage/journal/memory_journal.hpp"
#include "storage/journal/rocksdb_journal.hpp"
#include "tests/unit/storage/journal_text.hpp"
#include "tests/unit/storage/temp_directory.hpp"

using namespace muster;
using namespace muster::storage;
using muster::testing::put;
using muster::testing::TempDirectory;
using muster::testing::to_text;

namespace {

/// Opens a journal on what an earlier one left.
using Opener = std::function<std::unique_ptr<Journal>()>;

struct Backend {
  std::string name;
  std::function<Opener()> fresh;  ///< A new, empty disk.
};

const std::vector<Backend>& backends() {
  static const std::vector<Backend> all{
      {"memory",
       [] {
         auto disk = std::make_shared<MemoryDisk>();
         return Opener([disk] { return std::make_unique<MemoryJournal>(disk); });
       }},
      {"rocksdb",
       [] {
         auto directory = std::make_shared<TempDirectory>();
         return Opener([directory] {
           auto journal = open_rocksdb_journal(directory->path() / "shard-0");
           REQUIRE(journal);
           return std::move(*journal);
         });
       }},
  };
  return all;
}

std::string scan_text(const Journal& journal, Family family, std::string_view lower,
                      std::string_view upper, bool back = false,
                      std::size_t limit = std::numeric_limits<std::size_t>::max()) {
  std::string text;
  std::size_t count = 0;
  const auto row = [&](std::string_view key, std::string_view value) {
    text.append(key).append("=").append(value).append(" ");
    return ++count < limit;
  };
  const auto result = back ? journal.scan_back(family, lower, upper, row)
                           : journal.scan(family, lower, upper, row);
  REQUIRE(result);
  return text;
}

Batch letters(Family family, std::string_view from) {
  Batch batch;
  for (const char c : from) batch.put(family, std::string(1, c), std::string(1, c));
  return batch;
}

}  // namespace

TEST_CASE("a batch is there as a whole, over all families, also after a restart") {
  for (const Backend& backend : backends()) {
    DYNAMIC_SECTION(backend.name) {
      const Opener open = backend.fresh();
      auto journal = open();
      CHECK(to_text(*journal).empty());

      Batch batch;
      for (std::size_t i = 0; i < kFamilies; ++i) batch.put(static_cast<Family>(i), "k", "v");
      REQUIRE(journal->commit(batch));
      Batch second;
      second.put(Family::state, "k", "w");
      second.erase(Family::inbox, "k");
      second.erase(Family::inbox, "never there");
      REQUIRE(journal->commit(second));

      const std::string expected =
          "meta k=v | backlog k=v | state k=w | timers k=v | effects k=v | dedup k=v | outbox k=v | "
          "changes k=v | dead k=v | index k=v | audit k=v";
      CHECK(to_text(*journal) == expected);
      journal.reset();
      CHECK(to_text(*open()) == expected);
    }
  }
}

TEST_CASE("the last write of a key in a batch wins") {
  for (const Backend& backend : backends()) {
    DYNAMIC_SECTION(backend.name) {
      const Opener open = backend.fresh();
      const auto journal = open();
      Batch batch;
      batch.put(Family::state, "a", "1");
      batch.erase(Family::state, "a");
      batch.put(Family::state, "b", "1");
      batch.put(Family::state, "b", "2");
      batch.erase(Family::inbox, "c");
      batch.put(Family::inbox, "c", "3");
      REQUIRE(journal->commit(batch));
      CHECK(to_text(*journal) == "inbox c=3 | state b=2");
    }
  }
}

TEST_CASE("get tells a missing key from an empty value") {
  for (const Backend& backend : backends()) {
    DYNAMIC_SECTION(backend.name) {
      const Opener open = backend.fresh();
      const auto journal = open();
      const std::string binary("\0\xff\0", 3);
      REQUIRE(journal->commit(put(Family::dedup, "empty", "")));
      REQUIRE(journal->commit(put(Family::dedup, binary, binary)));
      CHECK(journal->get(Family::dedup, "empty").value() == std::optional<std::string>(""));
      CHECK(journal->get(Family::dedup, binary).value() == std::optional<std::string>(binary));
      CHECK(journal->get(Family::dedup, "none").value() == std::optional<std::string>());
      CHECK(journal->get(Family::state, "empty").value() == std::optional<std::string>());
    }
  }
}

TEST_CASE("scans keep both bounds, both directions, and stop when told") {
  for (const Backend& backend : backends()) {
    for (const Family family : {Family::inbox, Family::state}) {
      DYNAMIC_SECTION(backend.name << " " << to_string(family)) {
        const Opener open = backend.fresh();
        const auto journal = open();
        REQUIRE(journal->commit(letters(family, "bdace")));
        CHECK(scan_text(*journal, family, "b", "e") == "b=b c=c d=d ");
        CHECK(scan_text(*journal, family, "bb", "dd") == "c=c d=d ");
        CHECK(scan_text(*journal, family, "b", "e", true) == "d=d c=c b=b ");
        CHECK(scan_text(*journal, family, "", "z", true) == "e=e d=d c=c b=b a=a ");
        CHECK(scan_text(*journal, family, "", "z", false, 2) == "a=a b=b ");
        CHECK(scan_text(*journal, family, "", "z", true, 2) == "e=e d=d ");
        CHECK(scan_text(*journal, family, "x", "z").empty());
        CHECK(scan_text(*journal, family, "c", "c").empty());
        CHECK(scan_text(*journal, family, "d", "b").empty());
        CHECK(scan_text(*journal, family, "d", "b", true).empty());
        CHECK(scan_text(*journal, family, "a", "").empty());
      }
    }
  }
}

TEST_CASE("a row callback may read the journal") {
  for (const Backend& backend : backends()) {
    DYNAMIC_SECTION(backend.name) {
      const Opener open = backend.fresh();
      const auto journal = open();
      REQUIRE(journal->commit(letters(Family::index, "ab")));
      REQUIRE(journal->commit(letters(Family::state, "ab")));
      std::string text;
      REQUIRE(journal->scan(Family::index, "", "z", [&](auto key, auto) {
        text += journal->get(Family::state, key)->value_or("none");
        return true;
      }));
      CHECK(text == "ab");
    }
  }
}

TEST_CASE("drop takes a range and nothing else, also after a restart") {
  for (const Backend& backend : backends()) {
    for (const Family family : {Family::inbox, Family::changes}) {
      DYNAMIC_SECTION(backend.name << " " << to_string(family)) {
        const Opener open = backend.fresh();
        auto journal = open();
        REQUIRE(journal->commit(letters(family, "abcdef")));
        journal.reset();
        journal = open();  // What was recovered lies in files now, the next batch in a memtable.
        REQUIRE(journal->commit(letters(family, "xy")));
        REQUIRE(journal->drop(family, "b", "e"));
        REQUIRE(journal->drop(family, "x", "y"));
        REQUIRE(journal->drop(family, "e", "b"));
        CHECK(scan_text(*journal, family, "", "z") == "a=a e=e f=f y=y ");
        REQUIRE(journal->commit(put(family, "c", "again")));
        journal.reset();
        CHECK(scan_text(*open(), family, "", "z") == "a=a c=again e=e f=f y=y ");
      }
    }
  }
}

TEST_CASE("an empty batch is nothing; one above the limit is refused and harmless") {
  for (const Backend& backend : backends()) {
    DYNAMIC_SECTION(backend.name) {
      const Opener open = backend.fresh();
      const auto journal = open();
      REQUIRE(journal->commit(Batch{}));
      Batch large;
      const std::string value(16u << 20, 'x');
      for (int i = 0; i < 17; ++i) large.put(Family::state, std::to_string(i), value);
      const auto refused = journal->commit(large);
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == Errc::invalid);
      CHECK(to_text(*journal).empty());
      CHECK(journal->commit(put(Family::state, "a", "1")));
    }
  }
}

TEST_CASE("compacting changes nothing that is read, gives room back, and can be ended early") {
  for (const Backend& backend : backends()) {
    DYNAMIC_SECTION(backend.name) {
      const Opener open = backend.fresh();
      auto journal = open();
      for (int round = 0; round < 20; ++round)
        REQUIRE(
            journal->commit(put(Family::state, "a", std::string(50'000, 'x') + char('a' + round))));
      REQUIRE(journal->commit(letters(Family::inbox, "abc")));
      REQUIRE(journal->drop(Family::inbox, "a", "c"));
      const std::string before = to_text(*journal);
      std::atomic<bool> cancelled{true};
      if (backend.name == "rocksdb")
        CHECK(journal->compact(cancelled).error().code == Errc::refused);
      cancelled = false;
      REQUIRE(journal->compact(cancelled));
      CHECK(to_text(*journal) == before);
      REQUIRE(journal->commit(put(Family::state, "b", "1")));
      const auto numbers = journal->numbers();
      if (backend.name == "rocksdb") CHECK(numbers.at("live_sst_bytes") < 10 * 50'000);
      journal.reset();
      CHECK(open()->get(Family::state, "b")->value() == "1");
    }
  }
}

TEST_CASE("reopen of a healthy journal loses nothing") {
  for (const Backend& backend : backends()) {
    DYNAMIC_SECTION(backend.name) {
      const Opener open = backend.fresh();
      const auto journal = open();
      REQUIRE(journal->commit(put(Family::state, "a", "1")));
      const auto reopened = journal->reopen();
      INFO((reopened ? "" : reopened.error().message));
      REQUIRE(reopened);
      CHECK(to_text(*journal) == "state a=1");
      REQUIRE(journal->commit(put(Family::state, "b", "2")));
      CHECK(to_text(*journal) == "state a=1 b=2");
    }
  }
}

TEST_CASE("both journals agree on random work, with restarts") {
  const auto seed = static_cast<unsigned>(Catch::rngSeed());
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto pick = [&](unsigned below) { return static_cast<unsigned>(random() % below); };
  const auto key = [&] { return std::string(1 + pick(2), static_cast<char>('a' + pick(8))); };

  std::vector<Opener> open;
  std::vector<std::unique_ptr<Journal>> journals;
  for (const Backend& backend : backends()) {
    open.push_back(backend.fresh());
    journals.push_back(open.back()());
  }
  for (int step = 0; step < 400; ++step) {
    Batch batch;
    const bool drop = pick(8) == 0;
    const Family family = static_cast<Family>(pick(kFamilies));
    const std::string lower = key();
    const std::string upper = key();
    for (unsigned i = pick(6); i > 0; --i) {
      if (pick(4) == 0) {
        batch.erase(static_cast<Family>(pick(kFamilies)), key());
      } else {
        batch.put(static_cast<Family>(pick(kFamilies)), key(), std::to_string(step));
      }
    }
    const bool restart = step % 100 == 99;
    for (std::size_t i = 0; i < journals.size(); ++i) {
      if (drop) REQUIRE(journals[i]->drop(family, lower, upper));
      REQUIRE(journals[i]->commit(batch));
      if (restart) {
        journals[i].reset();
        journals[i] = open[i]();
      }
    }
    if (step % 10 == 9) REQUIRE(to_text(*journals[0]) == to_text(*journals[1]));
  }
}

TEST_CASE("readers on other threads see whole batches while a writer commits") {
  for (const Backend& backend : backends()) {
    DYNAMIC_SECTION(backend.name) {
      const Opener open = backend.fresh();
      const auto journal = open();
      REQUIRE(journal->commit(put(Family::state, "a", "0")));
      std::atomic<bool> done{false};
      std::atomic<int> torn{0};
      std::thread reader([&] {
        while (!done) {
          std::string seen;
          const auto scanned = journal->scan(Family::state, "a", "c", [&](auto, auto value) {
            if (!seen.empty() && seen != value) ++torn;
            seen = value;
            return true;
          });
          if (!scanned) ++torn;
        }
      });
      for (int i = 1; i < 200; ++i) {
        Batch batch;
        batch.put(Family::state, "a", std::to_string(i));
        batch.put(Family::state, "b", std::to_string(i));
        CHECK(journal->commit(batch));
      }
      done = true;
      reader.join();
      CHECK(torn == 0);
    }
  }
}

TEST_CASE("the memory journal fails as told, and is poisoned until it reopens") {
  for (const bool kept : {false, true}) {
    DYNAMIC_SECTION("the record was " << (kept ? "kept" : "lost")) {
      MemoryJournal journal;
      REQUIRE(journal.commit(put(Family::state, "a", "1")));
      journal.fail_next_commit(kept ? MemoryJournal::Outcome::kept : MemoryJournal::Outcome::lost);
      journal.fail_reopen(1);
      CHECK(journal.commit(put(Family::state, "b", "2")).error().code == Errc::io);

      CHECK(journal.commit(put(Family::state, "c", "3")).error().code == Errc::io);
      CHECK(journal.get(Family::state, "a")->value() == "1");  // What is durable is still read.
      CHECK_FALSE(journal.get(Family::state, "b")->has_value());
      CHECK(journal.drop(Family::state, "a", "b").error().code == Errc::io);
      CHECK(to_text(journal) == "state a=1");

      CHECK(journal.reopen().error().code == Errc::io);
      CHECK(to_text(journal) == "state a=1");
      REQUIRE(journal.reopen());
      CHECK(to_text(journal) == (kept ? "state a=1 b=2" : "state a=1"));
      REQUIRE(journal.commit(put(Family::state, "d", "4")));
    }
  }
}

TEST_CASE("a power cut takes from the memory journal what was not synced, and only that") {
  for (const bool kept : {false, true}) {
    DYNAMIC_SECTION("unsynced bytes " << (kept ? "kept" : "lost")) {
      MemoryJournal journal;
      REQUIRE(journal.commit(letters(Family::inbox, "abc")));
      REQUIRE(journal.drop(Family::inbox, "a", "b"));
      REQUIRE(journal.commit(letters(Family::inbox, "d")));  // Syncs the drop of a.
      REQUIRE(journal.drop(Family::inbox, "b", "c"));
      journal.fail_next_commit(MemoryJournal::Outcome::kept);
      REQUIRE_FALSE(journal.commit(letters(Family::inbox, "e")));
      journal.crash(kept ? MemoryJournal::Outcome::kept : MemoryJournal::Outcome::lost);

      CHECK(journal.reopen().error().code == Errc::io);
      CHECK(to_text(journal) == "error: io");
      const MemoryJournal restarted(journal.disk());
      CHECK(to_text(restarted) == (kept ? "inbox c=c d=d e=e" : "inbox b=b c=c d=d"));
    }
  }
}

TEST_CASE("keys sort as the numbers in them") {
  std::string last;
  for (const std::uint64_t value :
       {0ull, 1ull, 255ull, 256ull, 65535ull, 1ull << 32, (1ull << 63) + 1, ~0ull}) {
    std::string key;
    put_be64(key, value);
    CHECK(key.size() == 8);
    CHECK(get_be64(key) == value);
    CHECK((value == 0 || last < key));
    last = key;
  }
  std::string small;
  put_be32(small, 0x01020304);
  CHECK(small == std::string("\1\2\3\4"));
  CHECK(get_be64("") == 0);
}

TEST_CASE("the end of a prefix") {
  CHECK(prefix_end("abc") == "abd");
  CHECK(prefix_end(std::string("a\xff\xff")) == "b");
  CHECK(prefix_end(std::string("\xff\xff")).empty());
  CHECK(prefix_end("").empty());
  CHECK(prefix_end(std::string("a\0", 2)) == std::string("a\1", 2));
}
