// What a delivery into a repository on this machine costs: verify a pack of one commit, install it
// durably, set the branch; and finding it there again. Run it alone: it syncs.
#include <benchmark/benchmark.h>

#include <filesystem>
#include <set>
#include <stdexcept>
#include <string>

#include "actors/ports/forge.hpp"
#include "storage/base/files.hpp"
#include "storage/base/process.hpp"

namespace {

namespace fs = std::filesystem;
using namespace muster;
using namespace muster::actors;

std::string sh(const fs::path& directory, const std::string& script) {
  ProcessSpec spec;
  spec.argv = {"sh", "-ec", script};
  spec.env = git_environment();
  for (const char* who : {"AUTHOR", "COMMITTER"}) {
    spec.env[std::string("GIT_") + who + "_NAME"] = "Bench";
    spec.env[std::string("GIT_") + who + "_EMAIL"] = "bench@localhost";
  }
  spec.directory = directory.string();
  auto out = run_checked(spec);
  if (!out) throw std::runtime_error(out.error().message);
  while (out->ends_with('\n')) out->pop_back();
  return *out;
}

/// A bare repository of 300 files and the pack of one commit on top.
struct Setup {
  Setup() {
    std::string name = (fs::temp_directory_path() / "muster-bench-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    root = name;
    sh(root,
       "git init -q --bare -b main api.git; git init -q -b main work; cd work; mkdir -p src docs;"
       "for i in $(seq 150); do echo $i >src/$i.txt; echo $i >docs/$i.md; done;"
       "git add -A; git commit -qm base; git push -q ../api.git main; echo new >src/1.txt; git "
       "commit -qam change;"
       "printf 'HEAD\\n^HEAD~1\\n' | git pack-objects -q --revs --stdout >../pack");
    request = {(root / "api.git").string(),
               "main",
               sh(root / "work", "git rev-parse HEAD~1"),
               sh(root / "work", "git rev-parse HEAD"),
               "",
               root / "pack",
               false};
  }
  ~Setup() { fs::remove_all(root); }
  fs::path root;
  PushRequest request;
};

void push(benchmark::State& state) {
  Setup setup;
  const auto forge = make_git_forge(setup.root / "scratch");
  const fs::path packs = setup.root / "api.git/objects/pack";
  std::set<fs::path> first;
  for (const auto& file : fs::directory_iterator(packs)) first.insert(file.path());
  int n = 0;
  for (auto _ : state) {
    setup.request.branch = "muster/" + std::to_string(n++);
    const auto result = forge->push(setup.request);
    if (result.outcome != PushOutcome::pushed) {
      state.SkipWithError(result.message.c_str());
      break;
    }
    state.PauseTiming();  // The next delivery brings a pack of its own.
    for (const auto& file : fs::directory_iterator(packs))
      if (!first.contains(file.path())) fs::remove(file.path());
    state.ResumeTiming();
  }
}
BENCHMARK(push)->Unit(benchmark::kMicrosecond)->UseRealTime();

void find_pushed(benchmark::State& state) {
  Setup setup;
  const auto forge = make_git_forge(setup.root / "scratch");
  setup.request.branch = "muster/x";
  forge->push(setup.request);
  for (auto _ : state) {
    if (forge->push(setup.request).outcome == PushOutcome::already_there) continue;
    state.SkipWithError("not found");
    break;
  }
}
BENCHMARK(find_pushed)->Unit(benchmark::kMicrosecond)->UseRealTime();

void diff(benchmark::State& state) {
  Setup setup;
  for (auto _ : state)
    benchmark::DoNotOptimize(diff_pack(setup.root / "scratch", setup.request, 1u << 20));
}
BENCHMARK(diff)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
