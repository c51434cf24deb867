// Facet commits merged into an integration line, beside the same merges by the git command. See
// bench/swarm.
//
// What is measured is real git work on a real disk: each merge makes trees and a commit; after
// every batch a pack is synced into the repository and the line's branch is moved. The agents'
// commits are made before, by git fast-import, and are not measured. git is used the fastest way it
// has: `merge-tree` and `commit-tree` in a bare repository, no work tree; it syncs nothing.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "actors/ports/git_local.hpp"
#include "actors/swarm/merge.hpp"
#include "bench/swarm_coordinator.hpp"
#include "storage/base/process.hpp"

namespace {

using namespace muster;
using namespace muster::actors::swarm;
namespace fs = std::filesystem;

constexpr int kSharedLines = 2000;
constexpr int kSharedEvery =
    10;  ///< So many facets change the shared file too, a line of their own.
constexpr const char* kDate = "1700000000 +0000";

/// Processor time of this process alone: what counts when the machine is shared.
double processor_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

struct Options {
  int files = 10'000;
  int merges = 2000;
  int git_merges = 200;
  int batch = 100;
  int rounds = 3;
  int facets = 1000;  ///< Through the coordinator, and ten times as many; the second only when not quick.
  bool quick = false;
  std::string directory = "/var/tmp";
};

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::string run_git(const fs::path& directory, const std::vector<std::string>& arguments,
                    const std::string& input = {}) {
  ProcessSpec spec;
  spec.argv = {"git", "-c", "safe.directory=*", "-c", "gc.auto=0"};
  spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
  spec.env = git_environment();
  for (const char* who : {"AUTHOR", "COMMITTER"}) {
    spec.env[std::string("GIT_") + who + "_NAME"] = "Muster";
    spec.env[std::string("GIT_") + who + "_EMAIL"] = "muster@localhost";
    spec.env[std::string("GIT_") + who + "_DATE"] = kDate;
  }
  spec.directory = directory.string();
  spec.input = input;
  spec.timeout = Duration{600'000};
  std::string out = must(run_checked(spec));
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Scratch {
 public:
  explicit Scratch(const std::string& parent) {
    std::string name = parent + "/muster-bench-swarm-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no directory in " + parent);
    path = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path path;
};

std::string file_name(int i) {
  return "d" + std::to_string(i / 100) + "/f" + std::to_string(i % 100) + ".txt";
}

std::string shared_file(int changed_line) {
  std::string text;
  for (int i = 0; i < kSharedLines; ++i)
    text += "shared line " + std::to_string(i) + (i == changed_line ? " of a facet\n" : "\n");
  return text;
}

std::string inline_file(const std::string& path, const std::string& bytes) {
  return "M 100644 inline " + path + "\ndata " + std::to_string(bytes.size()) + "\n" + bytes + "\n";
}

std::string commit_head(int mark) {
  return "commit refs/heads/made\nmark :" + std::to_string(mark) +
         "\ncommitter Agent <agent@localhost> " + kDate + "\ndata 5\nfacet\n";
}

/// The base, then one commit on top of it for each facet. Their ids, the base's first.
std::vector<std::string> make_repository(const Options& options, const fs::path& repository) {
  fs::create_directories(repository);
  run_git(repository, {"init", "-q", "--bare", "."});
  std::string stream = commit_head(1);
  for (int i = 0; i < options.files - 1; ++i)
    stream += inline_file(file_name(i), "file " + std::to_string(i) + "\n");
  stream += inline_file("shared.txt", shared_file(-1));
  for (int f = 0; f < options.merges; ++f) {
    stream += commit_head(f + 2) + "from :1\n";
    stream += inline_file(file_name(f * 7 % (options.files - 1)),
                          "changed by facet " + std::to_string(f) + "\n");
    if (f % kSharedEvery == 0)
      stream += inline_file("shared.txt", shared_file(f / kSharedEvery * 3 % kSharedLines));
  }
  const fs::path marks = repository / "marks";
  run_git(repository, {"fast-import", "--quiet", "--force", "--export-marks=" + marks.string()},
          stream);
  std::vector<std::string> ids(static_cast<std::size_t>(options.merges) + 1);
  std::ifstream in(marks);
  std::string mark, id;
  while (in >> mark >> id) ids.at(static_cast<std::size_t>(std::stoi(mark.substr(1)) - 1)) = id;
  return ids;
}

/// Merges all; `after` is the tip after so many, to compare it with git's.
std::string merge_all(const Options& options, const fs::path& repository, const fs::path& scratch,
                      const std::vector<std::string>& ids, std::string& after) {
  const Person person{"Muster", "muster@localhost", 1700000000};
  const auto local = must(actors::git::LocalRepository::open(repository.string()));
  const auto packs = must(local.pack_directory());
  auto merger = must(Merger::open(local.objects_path(), scratch));
  std::string tip = ids[0];
  std::optional<std::string> published;
  for (int f = 1; f <= options.merges; ++f) {
    const auto merged = must(
        merger.merge({tip, ids[static_cast<std::size_t>(f)], "Merge a facet\n", person, person}));
    if (merged.kind != MergeKind::merged || merged.by_git)
      throw std::runtime_error("a merge was not decided in memory");
    tip = merged.commit;
    if (f == options.git_merges) after = merged.tree;
    if (f % options.batch != 0 && f != options.merges) continue;
    must(merger.publish(packs.get()));
    must(local.refs().swap("line", published, tip));
    published = tip;
  }
  return tip;
}

/// The first of them with git; the last tree.
std::string merge_with_command(const Options& options, const fs::path& repository,
                               const std::vector<std::string>& ids) {
  std::string tip = ids[0], tree;
  for (int f = 1; f <= options.git_merges; ++f) {
    const std::string& head = ids[static_cast<std::size_t>(f)];
    tree = run_git(repository, {"merge-tree", "--write-tree", tip, head});
    tip = run_git(repository, {"commit-tree", tree, "-p", tip, "-p", head, "-m", "Merge a facet"});
  }
  return tree;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto number = [&] { return i + 1 < argc ? std::max(1, std::atoi(argv[++i])) : 1; };
    if (word == "--quick") {
      options.merges = 500;
      options.git_merges = 50;
      options.rounds = 1;
      options.quick = true;
    } else if (word == "--files") {
      options.files = std::max(200, number());
    } else if (word == "--merges") {
      options.merges = number();
    } else if (word == "--git-merges") {
      options.git_merges = number();
    } else if (word == "--facets") {
      options.facets = number();
    } else if (word == "--rounds") {
      options.rounds = number();
    } else if (word == "--dir" && i + 1 < argc) {
      options.directory = argv[++i];
    } else {
      throw std::runtime_error("unknown option " + word);
    }
  }
  options.merges = std::min(options.merges, options.files - 1);
  options.git_merges = std::min(options.git_merges, options.merges);
  return options;
}

/// Whole swarms through the coordinator, each in a repository of its own.
void measure_coordinator(const Options& options, const fs::path& scratch, nlohmann::json& line) {
  std::vector<int> sizes{options.facets};
  std::vector<double> seconds_per_facet;
  if (!options.quick) sizes.push_back(options.facets * 10);
  for (const int facets : sizes) {
    Options files = options;
    files.files = std::max(options.files, facets + 1);
    files.merges = 0;
    const fs::path directory = scratch / ("swarm" + std::to_string(facets));
    const fs::path repository = directory / "made.git";
    const auto ids = make_repository(files, repository);
    run_git(repository, {"update-ref", "refs/heads/main", ids[0]});
    run_git(repository, {"symbolic-ref", "HEAD", "refs/heads/main"});
    const auto done = muster::bench::run_coordinator(repository, directory / "scratch",
                                                     static_cast<std::size_t>(facets));
    std::printf("%d facets through the coordinator: %.0f/s (%.1f s, of which the ledger %.1f and the "
                "processor %.1f), %zu batches, %.0f MB\n",
                facets, facets / done.seconds, done.seconds, done.ledger_seconds,
                done.processor_seconds, done.batches, done.peak_megabytes);
    std::fflush(stdout);
    const std::string more = facets == options.facets ? "" : "10x_";
    line[more + "facets"] = facets;
    line[more + "facets_per_s"] = std::lround(facets / done.seconds);
    line[more + "facets_per_cpu_s"] = std::lround(facets / done.processor_seconds);
    line[more + "facets_mb"] = std::lround(done.peak_megabytes);
    seconds_per_facet.push_back(done.seconds / facets);
  }
  if (seconds_per_facet.size() > 1)
    line["facets_time_growth"] =
        std::round(seconds_per_facet.back() / seconds_per_facet.front() * 100) / 100;
}

int measure(const Options& options) {
  const Scratch scratch(options.directory);
  const fs::path made = scratch.path / "made.git";
  const auto ids = make_repository(options, made);
  std::vector<double> ours, theirs, processor;
  for (int round = 0; round < options.rounds; ++round) {
    // Copies, so that nobody finds objects that another has made.
    const fs::path mine = scratch.path / ("ours" + std::to_string(round) + ".git");
    const fs::path gits = scratch.path / ("git" + std::to_string(round) + ".git");
    fs::copy(made, mine, fs::copy_options::recursive);
    fs::copy(made, gits, fs::copy_options::recursive);
    std::string tree, tip, git_tree;
    const double before = processor_seconds();
    ours.push_back(options.merges / seconds_of([&] {
                     tip = merge_all(options, mine, scratch.path / "scratch", ids, tree);
                   }));
    processor.push_back(options.merges / (processor_seconds() - before));
    theirs.push_back(options.git_merges /
                     seconds_of([&] { git_tree = merge_with_command(options, gits, ids); }));
    if (tree != git_tree) throw std::runtime_error("git's tree is another than ours");
    run_git(mine, {"rev-list", "--objects", "--quiet", tip});  // Everything that it needs is there.
    std::printf("round %d: %.0f merges/s, %.0f per second of processor time; with git %.0f\n",
                round + 1, ours.back(), processor.back(), theirs.back());
    std::fflush(stdout);
  }
  nlohmann::json line = {{"merges_per_s", std::lround(median(ours))},
                               {"git_merges_per_s", std::lround(median(theirs))},
                               {"merges_per_cpu_s", std::lround(median(processor))},
                               {"ratio", std::round(median(ours) / median(theirs) * 10) / 10},
                               {"files", options.files},
                               {"merges", options.merges},
                               {"git_merges", options.git_merges},
                               {"batch", options.batch},
                               {"rounds", options.rounds}};
  measure_coordinator(options, scratch.path, line);
  std::cout << line.dump() << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return measure(parse(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "bench-swarm: " << error.what() << "\n";
    return 1;
  }
}
