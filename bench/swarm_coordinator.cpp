#include "bench/swarm_coordinator.hpp"

#include <chrono>
#include <ctime>
#include <deque>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "actors/common.hpp"
#include "actors/fleet/fleet.hpp"
#include "actors/ports/git_handles.hpp"
#include "actors/ports/git_local.hpp"
#include "actors/ports/git_pack.hpp"
#include "actors/repo/repo.hpp"
#include "actors/swarm/ledger_check.hpp"
#include "actors/swarm/merge_objects.hpp"
#include "actors/swarm/swarm.hpp"
#include "actors/swarm/swarm_port.hpp"
#include "engine/core/testing.hpp"
#include "storage/base/ids.hpp"

namespace muster::bench {
namespace {

namespace fs = std::filesystem;
namespace git = actors::git;
namespace swarm = actors::swarm;
using actors::Swarm;
namespace fbs = actors::fbs;
using Clock = std::chrono::steady_clock;

constexpr int kAgents = 200, kBatch = 100;
constexpr std::size_t kPerDirectory = 100;
constexpr std::int64_t kBegin = 1'700'000'000'000;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Of this process so far.
double processor_time() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

void check(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error("the coordinator: " + what);
}

std::string path_of(std::size_t facet) {
  return "d" + std::to_string(facet / kPerDirectory) + "/f" +
         std::to_string(facet % kPerDirectory) + ".txt";
}

/// The kernel's mark of the largest resident memory begins anew.
void reset_peak() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

double peak_megabytes() {
  std::ifstream in("/proc/self/status");
  std::string word;
  double kilobytes = 0;
  while (in >> word)
    if (word == "VmHWM:") in >> kilobytes;
  return kilobytes / 1024;
}

/// The stub agent's git: one commit that changes one file, in a pack of its own, as a delivery leaves it. It bears the
/// time at which it is made: git looks for merge bases by date, and agents that live in the past would make each cost
/// the whole line.
class StubCommits {
 public:
  StubCommits(fs::path path, fs::path scratch)
      : path_(std::move(path)), scratch_(std::move(scratch)) {}

  std::string commit(const std::string& base, std::size_t facet, std::int64_t unix_seconds) {
    if (made_++ % kPerOpening == 0) open();
    git_repository* repository = objects_->repository();
    const auto parent = git::find_commit(repository, git::parse_id(base));
    check(parent.has_value(), "a base is missing");
    const auto tree = git::tree_of(parent->get());
    const std::string path = path_of(facet), bytes = "by facet " + std::to_string(facet) + "\n";
    git_tree_update update{GIT_TREE_UPDATE_UPSERT, {}, GIT_FILEMODE_BLOB, path.c_str()};
    git_oid made{}, id{};
    git_tree* raw_tree = nullptr;
    git_signature* raw = nullptr;
    check(git_blob_create_from_buffer(&update.id, repository, bytes.data(), bytes.size()) == 0 &&
              git_tree_create_updated(&made, repository, tree->get(), 1, &update) == 0 &&
              git_tree_lookup(&raw_tree, repository, &made) == 0 &&
              git_signature_new(&raw, "Agent", "agent@localhost", unix_seconds, 0) == 0,
          "a commit can't be made");
    const git::Tree new_tree(raw_tree);
    const git::Signature who(raw);
    const git_commit* parents[] = {parent->get()};
    check(git_commit_create(&id, repository, nullptr, raw, raw, nullptr, "facet\n", raw_tree, 1,
                            parents) == 0 &&
              objects_->note_tree(made).has_value(),
          "a commit can't be written");
    objects_->note(id);
    deliver();
    return git::to_string(id);
  }

 private:
  static constexpr std::size_t kPerOpening = 100;  ///< libgit2 remembers packs that are gone.

  void open() {
    const auto local = git::LocalRepository::open(path_.string());
    check(local.has_value(), "the repository can't be opened");
    auto packs = local->pack_directory();
    auto objects = swarm::MergeObjects::open(local->objects_path(), scratch_);
    check(packs.has_value() && objects.has_value(), "the repository can't be opened");
    packs_ = std::move(*packs);
    objects_.emplace(std::move(*objects));
  }

  void deliver() {
    const auto pack = objects_->pack();
    check(pack.has_value() && pack->has_value() &&
              git::install_pack(**pack, packs_.get()).has_value(),
          "a commit can't be delivered");
    for (const char* extension : {".pack", ".idx"}) fs::remove((*pack)->file(extension));
    objects_->handed_over();
  }

  fs::path path_, scratch_;
  std::size_t made_ = 0;
  Fd packs_;
  std::optional<swarm::MergeObjects> objects_;
};

class Coordinator {
 public:
  Coordinator(const fs::path& repository, const fs::path& scratch, std::size_t facets)
      : repository_(repository),
        scratch_(scratch),
        name_("bench-" + std::to_string(facets)),
        facets_(facets),
        blobs_(scratch / "blobs"),
        specs_(blobs_),
        work_(specs_, scratch),
        stubs_(repository, scratch / "stubs") {
    fs::create_directories(scratch / "blobs");
    inbox_.push_back(Swarm::Messages::encode(create()));
  }

  CoordinatorRun run() {
    reset_peak();
    const auto begin = Clock::now();
    const double processor = processor_time();
    while (act()) {
    }
    check(head_.state == fbs::SwarmState::completed,
          std::string("it ended as ") + fbs::EnumNameSwarmState(head_.state) + " " + head_.reason);
    const auto proving = Clock::now();
    prove();
    CoordinatorRun result;
    result.ledger_seconds = seconds_since(proving);
    result.seconds = seconds_since(begin) - stub_seconds_;
    result.processor_seconds = processor_time() - processor - stub_processor_;
    result.peak_megabytes = peak_megabytes();
    result.batches = line().verified;
    return result;
  }

 private:
  fbs::CreateSwarmT create() {
    nlohmann::json facets = nlohmann::json::array();
    for (std::size_t i = 0; i < facets_; ++i)
      facets.push_back(
          {{"id", "f" + std::to_string(i)}, {"task", "Change a file"}, {"scope", {path_of(i)}}});
    const std::string plan = nlohmann::json{
        {"name", name_},
        {"repositories", {{{"id", "r"}, {"path", repository_.string()}}}},
        {"agent", {{"run", "true"}}},
        {"verify", {{{"name", "all"}, {"run", "true"}}}},
        {"facets", facets}}.dump();
    fbs::CreateSwarmT create;
    create.digest = create.plan_digest = sha256_hex(plan);
    check(blobs_.put(create.plan_digest, plan).has_value(), "the plan can't be stored");
    create.facets = static_cast<std::uint32_t>(facets_);
    create.agents = kAgents;
    create.batch = kBatch;
    create.stall_ms = create.timeout_ms = 3'600'000;
    auto line = std::make_unique<fbs::SwarmLineT>();
    line->id = "r";
    line->repository = "bench/r";
    line->url = line->canonical_url = repository_.string();
    line->checks = true;
    create.lines.push_back(std::move(line));
    return create;
  }

  /// Whatever waits, first what others wait for.
  bool act() {
    if (!inbox_.empty()) {
      const engine::Payload payload = std::move(inbox_.front());
      inbox_.pop_front();
      take(payload);
    } else if (!effects_.empty()) {
      const auto effect = actors::must_decode<fbs::EffectT>(effects_.front());
      effects_.pop_front();
      inbox_.push_back(perform(effect.body));
    } else if (!runs_.empty()) {
      const fbs::AddRunT run = std::move(runs_.front());
      runs_.pop_front();
      stub([&] { inbox_.push_back(Swarm::Messages::encode(end_of(run))); });
    } else {
      return false;
    }
    return true;
  }

  /// What does not count.
  void stub(const std::function<void()>& work) {
    const auto begin = Clock::now();
    const double processor = processor_time();
    work();
    stub_seconds_ += seconds_since(begin);
    stub_processor_ += processor_time() - processor;
  }

  void take(const engine::Payload& payload) {
    const auto message = Swarm::Messages::decode(payload);
    check(message.has_value(), "a message can't be read");
    engine::Envelope envelope;
    envelope.to = {"default", "swarm", name_};
    now_ = now_ + Duration{1};
    engine::Context ctx(envelope.to, envelope, now_, rows_);
    Swarm::step(head_, *message, ctx);
    const engine::Decision decision = ctx.take();
    rows_.apply(decision.rows);
    for (const auto& effect : decision.effects) effects_.push_back(effect.bytes);
    for (const auto& out : decision.sends) {
      if (out.to.kind == "swarm") inbox_.push_back(out.payload);
      if (out.to.kind == "fleet") added(out.payload);
      if (out.to.kind == "repo") opened(out.to.key);
    }
  }

  void added(const engine::Payload& payload) {
    const auto message = actors::Fleet::Messages::decode(payload);
    if (const auto* add = std::get_if<fbs::AddRunT>(&*message)) runs_.push_back(*add);
  }

  void opened(const std::string& repository) {
    fbs::SwarmPullOpenedT opened;
    opened.repository = repository;
    opened.number = 1;
    inbox_.push_back(Swarm::Messages::encode(opened));
  }

  engine::Payload perform(const fbs::EffectBodyUnion& effect) {
    if (const auto* read = effect.AsReadPlan())
      return Swarm::Messages::encode(work_.read_plan(*read));
    if (const auto* start = effect.AsStartLine())
      return Swarm::Messages::encode(work_.start_line(*start));
    if (const auto* merge = effect.AsMergeFacets())
      return Swarm::Messages::encode(work_.merge(*merge));
    const auto* move = effect.AsMoveGreen();
    check(move != nullptr, "an effect that nobody executes");
    return Swarm::Messages::encode(work_.move_green(*move));
  }

  /// A stub's end: a commit on the base that it was given, or a verification that passes.
  fbs::SwarmRunEndedT end_of(const fbs::AddRunT& run) {
    fbs::SwarmRunEndedT ended;
    ended.run = run.run;
    const auto labels = nlohmann::json::parse(run.create->labels_json);
    const auto local = git::LocalRepository::open(repository_.string());
    check(local.has_value(), "the repository can't be opened");
    ended.base_sha = local->refs().read(run.create->base_branch).value().value();
    ended.state = fbs::RunState::unchanged;
    if (labels.contains("verify")) return ended;
    ended.state = fbs::RunState::delivered;
    const std::string facet = labels["facet"];
    ended.head_sha =
        stubs_.commit(ended.base_sha, std::stoul(facet.substr(1)), now_.unix_ms / 1000);
    return ended;
  }

  fbs::LineRowT line() {
    return actors::must_decode<fbs::LineRowT>(rows_.row("line/00000").value());
  }

  void prove() {
    const fbs::LineRowT where = line();
    swarm::LineClaim claim{
        where.line->url, where.begin, where.green, swarm::green_branch(name_), {}, false};
    std::size_t commits = 0;
    for (const auto& [key, bytes] :
         rows_.rows(swarm::kCommitPrefix, swarm::kCommitEnd, facets_ + 1)) {
      const std::string commit = key.substr(swarm::kCommitPrefix.size());
      const auto row = actors::must_decode<fbs::CommitRowT>(bytes);
      const bool entered = claim.ledger.received(std::to_string(row.facet), commit).has_value() &&
                           row.fate == fbs::CommitFate::merged &&
                           claim.ledger.merged(commit, row.merge).has_value();
      check(entered, "commit " + commit + " was not merged");
      ++commits;
    }
    const auto proof = swarm::prove_line(claim, scratch_);
    check(proof.has_value(), "the ledger can't be proven");
    check(proof->findings.empty() && commits == facets_ && proof->merges == facets_,
          "the ledger has findings");
  }

  fs::path repository_, scratch_;
  std::string name_;
  std::size_t facets_;
  Blobs blobs_;
  swarm::SwarmSpecs specs_;
  actors::SwarmWork work_;
  StubCommits stubs_;
  fbs::SwarmHeadT head_;
  engine::testing::MemoryRows rows_;
  std::deque<engine::Payload> inbox_;
  std::deque<std::string> effects_;
  std::deque<fbs::AddRunT> runs_;
  Instant now_{kBegin};
  double stub_seconds_ = 0, stub_processor_ = 0;
};

}  // namespace

CoordinatorRun run_coordinator(const fs::path& repository, const fs::path& scratch,
                               std::size_t facets) {
  return Coordinator(repository, scratch, facets).run();
}

}  // namespace muster::bench
