// The merge in memory against `git merge-tree`, on random trees: the same tree, or the same
// conflicts.
#include <numeric>
#include <random>
#include <set>

#include "actors/swarm/merge.hpp"
#include "import.hpp"

using namespace muster;
using namespace muster::actors::swarm;
using namespace muster::actors::swarm::test;

namespace {

class Story {
 public:
  explicit Story(unsigned seed) : random_(seed) {}

  Files base() {
    Files files;
    for (int i = 0, n = pick(25) + 5; i < n; ++i) files[path()] = fresh_file();
    return without_clashes(files);
  }

  /// A few changes as an agent makes them, on top of `files`.
  Files changed(Files files) {
    for (int i = pick(5); i >= 0 && !files.empty(); --i) change(files);
    return without_clashes(files);
  }

 private:
  int pick(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

  std::string path() {
    static const std::vector<std::string> kNames = {
        "a", "b", "c.txt", "-d", "e f", "ü", "\"q\"", "new\nline", "CON", "a.b", "a-b", "z"};
    std::string out;
    for (int depth = pick(4); depth > 0; --depth)
      out += kNames[static_cast<std::size_t>(pick(3))] + "/";
    return out + kNames[static_cast<std::size_t>(pick(static_cast<int>(kNames.size())))] +
           (pick(3) == 0 ? std::to_string(pick(20)) : "");
  }

  File fresh_file() {
    File file;
    const int kind = pick(20);
    if (kind == 0) return {"120000", "target" + std::to_string(pick(5))};
    if (kind == 1) return {"100644", std::string("\0bin", 4) + std::to_string(pick(1000))};
    if (kind == 2) file.mode = "100755";
    for (int i = 0, n = pick(30); i < n; ++i) file.bytes += line();
    return file;
  }

  std::string line() { return "line " + std::to_string(random_()) + "\n"; }

  void edit(File& file) {
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < file.bytes.size();) {
      const std::size_t end = std::min(file.bytes.find('\n', at), file.bytes.size() - 1);
      lines.push_back(file.bytes.substr(at, end + 1 - at));
      at = end + 1;
    }
    const auto at = lines.begin() + pick(static_cast<int>(lines.size()) + 1);
    if (at == lines.end() || pick(2) == 0) {
      lines.insert(at, line());
    } else {
      *at = line();
    }
    file.bytes.clear();
    for (const auto& each : lines) file.bytes += each;
  }

  void change(Files& files) {
    auto at = std::next(files.begin(), pick(static_cast<int>(files.size())));
    switch (pick(12)) {
      case 0:
        files.erase(at);
        break;
      case 1:
      case 2:
        files[path()] = fresh_file();
        break;
      case 3: {  // A file moves, and perhaps changes a little.
        File moved = at->second;
        if (pick(2) == 0) edit(moved);
        files.erase(at);
        files[path()] = moved;
        break;
      }
      case 4: {  // A directory moves.
        const std::string from = at->first.substr(0, at->first.find('/') + 1);
        if (from.empty()) break;
        const std::string to = "moved" + std::to_string(pick(3)) + "/";
        Files after;
        for (const auto& [name, file] : files)
          after[name.starts_with(from) ? to + name.substr(from.size()) : name] = file;
        files = after;
        break;
      }
      case 5:
        at->second.mode = at->second.mode == "100644" ? "100755" : "100644";
        break;
      case 6: {  // A file becomes a directory.
        const std::string name = at->first;
        files.erase(at);
        files[name + "/inside"] = fresh_file();
        break;
      }
      default:
        edit(at->second);
    }
  }

  /// No path may be a file and a directory at once: directories win.
  static Files without_clashes(const Files& files) {
    std::set<std::string> directories;
    for (const auto& [name, file] : files)
      for (std::size_t i = name.find('/'); i != std::string::npos; i = name.find('/', i + 1))
        directories.insert(name.substr(0, i));
    Files out;
    for (const auto& [name, file] : files)
      if (directories.count(name) == 0) out.insert({name, file});
    return out;
  }

  std::mt19937 random_;
};

struct Answer {
  std::string tree;
  bool clean = true;
  std::set<std::string> conflicts;  ///< As `git merge-tree -z` prints them.
};

Answer by_git(const Import& import, const std::string& ours, const std::string& theirs) {
  const auto done = try_git(import.repository(),
                            {"merge-tree", "--write-tree", "-z", "--no-messages", ours, theirs});
  REQUIRE(done.exit_code <= 1);
  Answer answer;
  std::string rest = done.out;
  const auto take = [&] {
    const std::string field = rest.substr(0, rest.find('\0'));
    rest.erase(0, field.size() + 1);
    return field;
  };
  answer.tree = take();
  if (done.exit_code == 0) return answer;
  answer.clean = false;
  answer.tree.clear();
  while (!rest.empty())
    if (const std::string field = take(); !field.empty()) answer.conflicts.insert(field);
  return answer;
}

Answer by_us(const MergeAnswer& merged) {
  Answer answer;
  answer.clean = merged.kind == MergeKind::merged;
  if (answer.clean) answer.tree = merged.tree;  // else git's, with marked files
  for (const Conflict& conflict : merged.conflicts) {
    int stage = 0;
    for (const auto* side : {&conflict.base, &conflict.ours, &conflict.theirs}) {
      ++stage;
      if (side->mode == 0) continue;
      char mode[8];
      std::snprintf(mode, sizeof mode, "%06o", side->mode);
      answer.conflicts.insert(std::string(mode) + " " + actors::git::to_string(side->id) + " " +
                              std::to_string(stage) + "\t" + conflict.path);
    }
  }
  return answer;
}

}  // namespace

TEST_CASE("random merges end as git's: the same tree, or the same conflicts") {
  const unsigned cases = std::getenv("MUSTER_SOAK") != nullptr ? 5000 : 200;
  const char* first = std::getenv("MUSTER_SEED");
  const unsigned begin = first != nullptr ? static_cast<unsigned>(std::stoul(first)) : 1;
  std::vector<unsigned> seeds(cases);
  std::iota(seeds.begin(), seeds.end(), begin);
  // A directory renamed in two ways: git says that it failed, and names no file.
  seeds.push_back(11426);

  Import import;
  std::vector<std::array<int, 3>> commits;
  for (const unsigned seed : seeds) {
    Story story(seed);
    const Files base = story.base();
    const int root = import.commit(base);
    commits.push_back({root, import.commit(story.changed(base), {root}),
                       import.commit(story.changed(base), {root})});
  }
  import.import();

  const Person person{"T", "t@x", 1700000000};
  auto merger = Merger::open(import.objects(), import.scratch()).value();
  unsigned in_memory = 0, with_conflicts = 0;
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    INFO("MUSTER_SEED=" << seeds[i]);
    const std::string ours = import.id(commits[i][1]), theirs = import.id(commits[i][2]);
    const auto merged = merger.merge({ours, theirs, "Merge", person, person});
    INFO((merged ? "" : merged.error().message));
    REQUIRE(merged);
    CHECK(merged->kind != MergeKind::contained);
    const Answer wanted = by_git(import, ours, theirs);
    const Answer got = by_us(*merged);
    INFO("decided by " << (merged->by_git ? "git" : "us"));
    CHECK(got.clean == wanted.clean);
    CHECK(got.tree == wanted.tree);
    CHECK(got.conflicts == wanted.conflicts);
    in_memory += merged->by_git ? 0 : 1;
    with_conflicts += merged->kind == MergeKind::conflict ? 1 : 0;
  }
  INFO(cases << " merges, " << in_memory << " decided in memory, " << with_conflicts
             << " with conflicts");
  // Otherwise this compares git with itself.
  CHECK(in_memory > cases / 4);
  CHECK(with_conflicts > cases / 20);
}
