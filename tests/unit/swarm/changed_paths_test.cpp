// What two commits differ in, beside what git says.
#include "actors/swarm/changed_paths.hpp"

#include <algorithm>
#include <random>
#include <sstream>

#include "import.hpp"

using namespace muster;
using namespace muster::actors::swarm;
using namespace muster::actors::swarm::test;

namespace {

std::vector<std::string> by_git(const Import& import, int base, int head) {
  std::istringstream said(git(import.repository(), {"diff-tree", "-r", "--no-renames", "--name-only",
                                                    import.id(base), import.id(head)}));
  std::vector<std::string> paths;
  for (std::string line; std::getline(said, line);) paths.push_back(line);
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<std::string> by_us(const Import& import, int base, int head) {
  const auto odb = actors::git::open_objects(import.objects());
  REQUIRE(odb);
  const auto repository = actors::git::wrap(odb->get());
  REQUIRE(repository);
  auto paths = changed_paths(repository->get(), actors::git::parse_id(import.id(base)),
                             actors::git::parse_id(import.id(head)));
  REQUIRE(paths);
  std::sort(paths->begin(), paths->end());
  return *paths;
}

}  // namespace

TEST_CASE("Every kind of change is named as git names it") {
  const Files base = {{"a", {"100644", "a\n"}},         {"a.txt", {"100644", "b\n"}},   {"d/e/f/g", {"100644", "deep\n"}},
                      {"d/e/same", {"100644", "s\n"}},  {"gone/x", {"100644", "x\n"}},  {"gone/y", {"100644", "y\n"}},
                      {"turns/file", {"100644", "1\n"}}, {"mode", {"100644", "m\n"}},   {"link", {"120000", "a"}}};
  Files head = base;
  head["d/e/f/g"].bytes = "other\n";
  head.erase("gone/x");
  head.erase("gone/y");
  head.erase("turns/file");
  head["turns"] = {"100644", "now a file\n"};
  head.erase("a");
  head["a/b/c"] = {"100644", "now a directory\n"};
  head["mode"].mode = "100755";
  head["link"] = {"100644", "a"};
  head["new/n"] = {"100644", "n\n"};
  Import import;
  const int first = import.commit(base), second = import.commit(head, {first}), empty = import.commit({});
  import.import();
  CHECK(by_us(import, first, second) == by_git(import, first, second));
  CHECK(by_us(import, first, second).size() == 10);
  CHECK(by_us(import, second, first) == by_git(import, second, first));
  CHECK(by_us(import, first, first).empty());
  CHECK(by_us(import, empty, first).size() == base.size());
  CHECK(by_us(import, first, empty).size() == base.size());
}

TEST_CASE("Random trees differ as git says") {
  std::mt19937 random(7);
  const auto draw = [&](int below) { return std::uniform_int_distribution<int>(0, below - 1)(random); };
  const auto tree = [&] {
    Files files;
    for (int i = 0; i < 30; ++i) {
      std::string path;
      for (int depth = draw(4); depth >= 0; --depth) path += (path.empty() ? "" : "/") + std::string(1, static_cast<char>('a' + draw(3)));
      const bool taken = std::any_of(files.begin(), files.end(), [&](const auto& other) {
        return other.first.starts_with(path + "/") || path.starts_with(other.first + "/");
      });
      if (!taken) files[path] = {draw(4) == 0 ? "100755" : "100644", std::to_string(draw(2)) + "\n"};
    }
    return files;
  };
  Import import;
  constexpr int kCommits = 40;
  for (int i = 0; i < kCommits; ++i) import.commit(tree());
  import.import();
  for (int i = 1; i < kCommits; ++i) {
    INFO(i);
    CHECK(by_us(import, i, i + 1) == by_git(import, i, i + 1));
  }
}
