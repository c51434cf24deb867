// The ports: effects in as bytes, results out as messages of the kind that asked.
#include "actors/ports/forge_port.hpp"

#include <future>
#include <map>

#include "actors/ports/effects_generated.h"
#include "actors/ports/snapshot_port.hpp"
#include "actors/pull/pull_generated.h"
#include "actors/repo/repo_generated.h"
#include "actors/run/run_generated.h"
#include "engine/core/kind.hpp"
#include "git_fixture.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"

using namespace muster;
using namespace muster::actors;
using namespace muster::actors::test;

namespace {

template <class T>
engine::PendingEffect pending(const std::string& key, T request) {
  fbs::EffectT effect;
  effect.body.Set(std::move(request));
  engine::PendingEffect out;
  out.key = key;
  out.bytes = engine::encode_table(effect);
  return out;
}

engine::Payload perform(engine::EffectPort& port, const engine::PendingEffect& effect) {
  std::promise<engine::Payload> promise;
  auto future = promise.get_future();
  port.perform(effect, [&](engine::Payload payload) { promise.set_value(std::move(payload)); });
  return future.get();
}

template <template <class> class Traits, class T>
T decoded(const engine::Payload& payload) {
  auto message = engine::MessageSet<Traits, T>::decode(payload);
  REQUIRE(message.has_value());
  return std::get<T>(*message);
}

fbs::PushBranchT push_of(const PushRequest& request, const Blobs& packs) {
  const std::string bytes = *read_file(request.pack);
  const std::string digest = sha256_hex(bytes);
  Blobs writable = packs;
  REQUIRE(writable.put(digest, bytes));
  fbs::PushBranchT push;
  push.run = "RUN";
  push.attempt = 3;
  push.url = request.url;
  push.base_branch = request.base_branch;
  push.base_sha = request.base_sha;
  push.head_sha = request.head_sha;
  push.branch = request.branch;
  push.pack_digest = digest;
  return push;
}

}  // namespace

TEST_CASE("a run's life at the forge: pushed, opened, merged, branch deleted, each twice") {
  Project project;
  const Blobs packs(project.directory() / "packs");
  const auto port = make_forge_port(make_git_forge(project.scratch()), packs);
  const auto request = project.request(project.change());
  const auto push = push_of(request, packs);

  auto done =
      decoded<fbs::RunBodyUnionTraits, fbs::PushDoneT>(perform(*port, pending("push", push)));
  CHECK(done.outcome == fbs::PushOutcome::pushed);
  CHECK(done.attempt == 3);
  CHECK(done.head_sha == request.head_sha);
  done = decoded<fbs::RunBodyUnionTraits, fbs::PushDoneT>(perform(*port, pending("push", push)));
  CHECK(done.outcome == fbs::PushOutcome::already_there);

  fbs::CreatePullRequestT create;
  create.repository = "acme/api";
  create.url = request.url;
  create.proposed_number = 7;
  create.pull = std::make_unique<fbs::OpenPullT>();
  create.pull->run = "RUN";
  create.pull->fleet = "bump";
  create.pull->branch = "muster/x";
  for (int i = 0; i < 2; ++i) {
    const auto created = decoded<fbs::RepoBodyUnionTraits, fbs::PullCreatedT>(
        perform(*port, pending("pr/bump/acme/api", create)));
    CHECK(created.error.empty());
    CHECK(created.number == 7);
    CHECK(created.fleet == "bump");
    CHECK(created.url == "acme/api#7");
  }

  fbs::MergeBranchT merge;
  merge.url = request.url;
  merge.branch = "muster/x";
  merge.base_branch = "main";
  merge.head_sha = request.head_sha;
  merge.message = "Merge pull request #7";
  merge.at_unix_ms = 1700000000000;
  const auto merged =
      decoded<fbs::PullBodyUnionTraits, fbs::MergeDoneT>(perform(*port, pending("m", merge)));
  CHECK(merged.outcome == fbs::MergeOutcome::merged);
  CHECK(merged.commit == project.main());
  const auto again =
      decoded<fbs::PullBodyUnionTraits, fbs::MergeDoneT>(perform(*port, pending("m", merge)));
  CHECK(again.outcome == fbs::MergeOutcome::already_merged);
  CHECK(again.commit == merged.commit);

  fbs::DeleteBranchT close;
  close.url = request.url;
  close.branch = "muster/x";
  close.head_sha = request.head_sha;
  for (int i = 0; i < 2; ++i)
    CHECK(decoded<fbs::PullBodyUnionTraits, fbs::CloseDoneT>(perform(*port, pending("c", close)))
              .error.empty());
  CHECK(project.branch("muster/x").empty());
}

TEST_CASE("the pack of a pushed branch is removed, that of a refused one is kept") {
  Project project;
  const Blobs packs(project.directory() / "packs");
  auto port = make_forge_port(make_git_forge(project.scratch()), packs);
  auto push = push_of(project.request(project.change("one\n")), packs);
  perform(*port, pending("push", push));
  port.reset();  // Waits for the removal.
  CHECK_FALSE(packs.has(push.pack_digest));

  port = make_forge_port(make_git_forge(project.scratch()), packs);
  push = push_of(project.request(project.change("two\n")), packs);
  const auto done =
      decoded<fbs::RunBodyUnionTraits, fbs::PushDoneT>(perform(*port, pending("push", push)));
  CHECK(done.outcome == fbs::PushOutcome::branch_exists);
  port.reset();
  CHECK(packs.has(push.pack_digest));
}

TEST_CASE("effects that can't be carried out are told, never answered with a guess") {
  Project project;
  std::vector<std::string> complaints;
  ForgePortOptions options;
  options.complain = [&](const std::string& what) { complaints.push_back(what); };
  const Blobs packs(project.directory() / "packs");
  const auto port = make_forge_port(make_git_forge(project.scratch()), packs, options);
  engine::PendingEffect broken;
  broken.key = "push/x";
  broken.bytes = "not a table";
  port->perform(broken, [](engine::Payload) { FAIL("answered"); });
  port->perform(pending("snapshot/x", fbs::ReadSnapshotT{}),
                [](engine::Payload) { FAIL("answered"); });
  REQUIRE(complaints.size() == 2);
  CHECK(complaints[0].find("push/x") != std::string::npos);

  auto push = push_of(project.request(project.change()), packs);
  push.pack_digest = "../../../etc/passwd";
  const auto done =
      decoded<fbs::RunBodyUnionTraits, fbs::PushDoneT>(perform(*port, pending("p", push)));
  CHECK(done.outcome == fbs::PushOutcome::rejected);
}

TEST_CASE("a snapshot is read page by page, in any order") {
  Directory directory;
  Blobs blobs(directory / "blobs");
  std::string text;
  constexpr std::uint32_t kLines = 1'234;
  for (std::uint32_t i = 0; i < kLines; ++i)
    text += R"({"repository":"acme/r)" + std::to_string(i) + R"(","url":"/srv/)" +
            std::to_string(i) +
            R"(","canonical_url":"/srv/x","base_branch":"main","labels":{"n":")" +
            std::to_string(i) + "\"}}\n";
  const std::string digest = sha256_hex(text);
  REQUIRE(blobs.put(digest, text));
  const auto port = make_snapshot_port(blobs);
  const auto page = [&](std::uint32_t first, std::uint32_t count) {
    fbs::ReadSnapshotT read;
    read.digest = digest;
    read.first = first;
    read.count = count;
    return decoded<fbs::FleetBodyUnionTraits, fbs::SnapshotPageT>(
        perform(*port, pending("s", read)));
  };
  for (const std::uint32_t first : {0u, 100u, 1200u, 150u, 700u, 0u, 1233u}) {
    const auto got = page(first, 100);
    CHECK(got.error.empty());
    CHECK(got.first == first);
    REQUIRE(got.entries.size() == std::min(100u, kLines - first));
    CHECK(got.entries.front()->repository == "acme/r" + std::to_string(first));
    CHECK(got.entries.front()->labels_json == "{\"n\":\"" + std::to_string(first) + "\"}");
    CHECK(got.entries.front()->base_branch == "main");
  }
  CHECK(page(5'000, 100).entries.empty());
  CHECK(page(0, 1'000'000).entries.size() == SnapshotPages::kMaxPage);
}

TEST_CASE("a broken snapshot names its line") {
  Directory directory;
  Blobs blobs(directory / "blobs");
  SnapshotPages pages(blobs);
  const std::string text = "{\"repository\":\"a/b\",\"url\":\"/x\"}\n{\"url\":\"/x\"}\n";
  REQUIRE(blobs.put(sha256_hex(text), text));
  CHECK(pages.read(sha256_hex(text), 0, 1)->front().labels_json == "{}");
  CHECK(pages.read(sha256_hex(text), 0, 2).error().message.find("line 2") != std::string::npos);
  CHECK(pages.read(sha256_hex("x"), 0, 2).error().code == Errc::not_found);
  CHECK(pages.read("../../etc/passwd", 0, 2).error().code == Errc::invalid);
}
