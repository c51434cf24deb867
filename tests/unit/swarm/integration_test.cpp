// The integration of a swarm over real git, killed between any two writes; the ledger is the
// invariant.
#include "actors/swarm/integration.hpp"

#include <algorithm>
#include <random>
#include <set>

#include "actors/ports/git_local.hpp"
#include "actors/swarm/ledger_proof.hpp"
#include "import.hpp"

using namespace muster;
using namespace muster::actors::swarm;
using namespace muster::actors::swarm::test;

namespace {

namespace handles = muster::actors::git;
constexpr int kFacets = 8;
constexpr int kBad = 3;   ///< Its work never passes verification.
constexpr int kSlow = 5;  ///< Only its second commit passes.
constexpr int kPair[] = {1,
                         6};  ///< Pass alone, and not together, unless one is redone on the other.
const std::set<int> kShared = {0, 2, 4};  ///< Write the same line of the same file.
constexpr int kDependent = 7;             ///< Needs kBad.

std::string file_of(std::size_t facet) {
  std::string name = "f";
  return name += std::to_string(facet);
}

/// One repository for all runs of a test.
class Repository {
 public:
  Repository() {
    Files files = {{"shared", {"100644", "nobody\n"}}};
    for (std::size_t i = 0; i < kFacets; ++i) files[file_of(i)] = {"100644", "before\n"};
    base_ = import_.commit(files);
    import_.import();
    handles::initialise();
    git_repository* raw = nullptr;
    REQUIRE(git_repository_open(&raw, import_.repository().c_str()) == 0);
    repository_.reset(raw);
  }
  [[nodiscard]] std::string begin() const { return import_.id(base_); }
  [[nodiscard]] const Import& import() const { return import_; }

  std::string read(const std::string& commit, const std::string& path) {
    const auto found = handles::find_commit(repository_.get(), handles::parse_id(commit));
    REQUIRE(found);
    const auto tree = handles::tree_of(found->get());
    REQUIRE(tree);
    const git_tree_entry* entry = git_tree_entry_byname(tree->get(), path.c_str());
    REQUIRE(entry != nullptr);
    git_blob* raw = nullptr;
    REQUIRE(git_blob_lookup(&raw, repository_.get(), git_tree_entry_id(entry)) == 0);
    const handles::Handle<git_blob, git_blob_free> blob(raw);
    return {static_cast<const char*>(git_blob_rawcontent(raw)),
            static_cast<std::size_t>(git_blob_rawsize(raw))};
  }

  std::string commit(const std::string& base, const std::map<std::string, std::string>& files,
                     const std::string& message) {
    const auto parent = handles::find_commit(repository_.get(), handles::parse_id(base));
    REQUIRE(parent);
    const auto tree = handles::tree_of(parent->get());
    std::vector<git_tree_update> updates;
    for (const auto& [path, bytes] : files) {
      git_oid blob{};
      REQUIRE(git_blob_create_from_buffer(&blob, repository_.get(), bytes.data(), bytes.size()) ==
              0);
      updates.push_back({GIT_TREE_UPDATE_UPSERT, blob, GIT_FILEMODE_BLOB, path.c_str()});
    }
    git_oid made{}, id{};
    REQUIRE(git_tree_create_updated(&made, repository_.get(), tree->get(), updates.size(),
                                    updates.data()) == 0);
    git_tree* raw_tree = nullptr;
    REQUIRE(git_tree_lookup(&raw_tree, repository_.get(), &made) == 0);
    const handles::Tree new_tree(raw_tree);
    git_signature* raw = nullptr;
    REQUIRE(git_signature_new(&raw, "Agent", "agent@x", 1700000000, 0) == 0);
    const handles::Signature who(raw);
    const git_commit* parents[] = {parent->get()};
    REQUIRE(git_commit_create(&id, repository_.get(), nullptr, raw, raw, nullptr, message.c_str(),
                              raw_tree, 1, parents) == 0);
    return handles::to_string(id);
  }

 private:
  Import import_;
  int base_ = 0;
  handles::Repository repository_;
};

struct Killed {};

/// What outlives a kill: the actor's state with its commands, and events that are journaled; the
/// repository.
struct Disk {
  Integration state;
  std::vector<SwarmCommand> pending;
  std::vector<SwarmEvent> inbox;
};

class World {
 public:
  World(Repository& repository, unsigned seed, int kill_at)
      : repository_(repository),
        random_(seed),
        kill_at_(kill_at),
        local_(handles::LocalRepository::open(repository.import().repository().string()).value()),
        branch_("green-" + std::to_string(++runs_)) {
    disk_.state.green = repository.begin();
    disk_.state.limits.batch = 5;
    disk_.state.limits.agents = 4;
    for (std::size_t i = 0; i < kFacets; ++i)
      disk_.state.facets.push_back({file_of(i), {}, {}, 0, 0, 0, {}, {}});
    disk_.state.facets[kDependent].needs = {kBad};
    disk_.inbox.push_back(Tick{});
  }

  void run() {
    for (int i = 0; i < 4000; ++i) {
      if (disk_.inbox.empty() && disk_.pending.empty()) break;
      try {
        act();
      } catch (const Killed&) {
        merger_.reset();  // Memory is gone; the disk stays.
      }
      check_green();
    }
    REQUIRE(ended(disk_.state));
  }

  /// Kinds and commits of all findings, one a line.
  std::string proof() {
    const auto facts = read_line(repository_.import().objects(), repository_.import().scratch(),
                                 repository_.begin(), disk_.state.green);
    REQUIRE(facts);
    std::string out;
    for (const Finding& finding : audit(disk_.state.ledger, *facts))
      out += std::string(to_string(finding.kind)) + " " + finding.text + "\n";
    return out;
  }
  [[nodiscard]] const Integration& state() const { return disk_.state; }
  [[nodiscard]] int writes() const { return writes_; }
  void stop_at(int step) { stop_at_ = step; }

 private:
  bool chance(unsigned one_in) { return random_() % one_in == 0; }

  /// Before each change of something durable: here a kill may come.
  void write() {
    if (writes_++ == kill_at_) throw Killed{};
  }

  void act() {
    if (++steps_ == stop_at_) disk_.inbox.push_back(StopSwarm{"enough"});
    if (!disk_.inbox.empty() && (disk_.pending.empty() || chance(2))) return take();
    const std::size_t at = random_() % disk_.pending.size();
    const SwarmCommand command = disk_.pending[at];
    const SwarmEvent answer =
        std::visit([this](const auto& order) { return carry_out(order); }, command);
    write();
    disk_.inbox.push_back(answer);
    if (chance(6)) disk_.inbox.push_back(answer);  // Twice.
    if (!chance(6))
      disk_.pending.erase(disk_.pending.begin() + static_cast<long>(at));  // Or again.
  }

  void take() {
    const std::size_t at = random_() % disk_.inbox.size();
    Disk next = disk_;
    const auto commands = step(next.state, disk_.inbox[at], ++clock_ms_);
    next.inbox.erase(next.inbox.begin() + static_cast<long>(at));
    next.pending.insert(next.pending.end(), commands.begin(), commands.end());
    write();
    disk_ = std::move(next);
  }

  SwarmEvent carry_out(const WorkOrder& order) {
    if (chance(8)) return WorkFailed{order.facet, order.attempt, "the host was lost"};
    const int facet = static_cast<int>(order.facet);
    std::string text = "work of attempt " + std::to_string(order.attempt) + "\n";
    if (facet == kBad || (facet == kSlow && order.why.empty())) text = "BAD\n";
    if ((facet == kPair[0] || facet == kPair[1]) && order.why.empty()) text = "PAIR\n";
    std::map<std::string, std::string> files = {{file_of(order.facet), text}};
    if (kShared.count(facet) != 0) files["shared"] = "by " + file_of(order.facet) + "\n";
    // Whoever does it again makes another commit.
    return HandedIn{order.facet, order.attempt,
                    repository_.commit(order.base, files, "Work " + std::to_string(++works_))};
  }

  SwarmEvent carry_out(const MergeOrder& order) {
    if (!merger_)
      merger_.emplace(
          Merger::open(repository_.import().objects(), repository_.import().scratch()).value());
    const Person person{"Muster", "muster@x", order.unix_seconds};
    Merged answer{order.number, order.onto, {}};
    for (std::size_t i = 0; i < order.heads.size(); ++i) {
      const auto merged = merger_->merge({answer.tip, order.heads[i], "Merge\n", person, person});
      REQUIRE(merged);
      REQUIRE(merged->kind != MergeKind::contained);
      answer.heads.push_back({order.facets[i], merged->commit, {}});
      if (merged->kind == MergeKind::merged) answer.tip = merged->commit;
    }
    write();
    REQUIRE(merger_->publish(local_.pack_directory()->get()));
    return answer;
  }

  bool passes(const std::string& tip) {
    for (std::size_t i = 0; i < kFacets; ++i)
      if (repository_.read(tip, file_of(i)) == "BAD\n") return false;
    return repository_.read(tip, file_of(static_cast<std::size_t>(kPair[0]))) != "PAIR\n" ||
           repository_.read(tip, file_of(static_cast<std::size_t>(kPair[1]))) != "PAIR\n";
  }

  SwarmEvent carry_out(const VerifyOrder& order) {
    return Verified{order.number, passes(order.tip), "tests failed"};
  }

  SwarmEvent carry_out(const MoveGreen& order) {
    const auto now = local_.refs().read(branch_).value();
    write();
    if (now.value_or(repository_.begin()) == order.from)
      REQUIRE(local_.refs().swap(branch_, now, order.to));
    return GreenMoved{order.number, {}};
  }

  /// The ref is where the state says, or where a move that is under way puts it; and it passes.
  void check_green() {
    const std::string ref = local_.refs().read(branch_).value().value_or(repository_.begin());
    const bool moving = disk_.state.line == LineState::moving && ref == disk_.state.tip;
    REQUIRE((ref == disk_.state.green || moving));
    if (ref == checked_) return;
    REQUIRE(passes(ref));
    checked_ = ref;
  }

  static inline int runs_ = 0;
  Repository& repository_;
  std::mt19937 random_;
  int kill_at_;
  handles::LocalRepository local_;
  std::string branch_, checked_;
  Disk disk_;
  std::optional<Merger> merger_;
  int writes_ = 0, works_ = 0, steps_ = 0, stop_at_ = -1;
  std::int64_t clock_ms_ = 0;
};

/// Everything is accounted for, and ended as it must; hosts that are lost may cost any facet its
/// attempts.
void check_end(World& world) {
  CHECK(world.proof().empty());
  for (const FacetRow& row : world.state().facets) {
    INFO(row.id << ": " << row.why);
    CHECK((row.state == FacetState::merged || row.state == FacetState::rejected));
    if (row.state == FacetState::rejected) CHECK_FALSE(row.why.empty());
  }
  CHECK(world.state().facets[kBad].state == FacetState::rejected);
  CHECK(world.state().facets[kDependent].why == "it needs f3, which was rejected");
}

}  // namespace

TEST_CASE("killed before any write, a swarm ends with every commit accounted for") {
  Repository repository;
  World unhurt(repository, 1, -1);
  unhurt.run();
  check_end(unhurt);
  for (const int facet : {0, 1, 2, 4, 5, 6})
    CHECK(unhurt.state().facets[static_cast<std::size_t>(facet)].state == FacetState::merged);
  const int step = std::getenv("MUSTER_SOAK") != nullptr ? 1 : 7;
  for (int kill_at = 0; kill_at < unhurt.writes(); kill_at += step) {
    INFO("killed before write " << kill_at);
    World world(repository, 1, kill_at);
    world.run();
    check_end(world);
  }
}

TEST_CASE("whatever the order of events, a swarm ends with every commit accounted for") {
  Repository repository;
  const unsigned seeds = std::getenv("MUSTER_SOAK") != nullptr ? 500 : 12;
  for (unsigned seed = 100; seed < 100 + seeds; ++seed) {
    INFO("seed " << seed);
    World world(repository, seed, static_cast<int>(seed * 7 % 90));
    world.run();
    check_end(world);
  }
}

TEST_CASE("stopped at any moment, nothing stays open and green stays what it was") {
  Repository repository;
  for (int at = 1; at < 60; at += 7) {
    INFO("stopped at step " << at);
    World world(repository, 7, -1);
    world.stop_at(at);
    world.run();
    CHECK(world.proof().empty());
    CHECK(world.state().stopped == "enough");
  }
}

TEST_CASE("a swarm in which nothing is merged stops by itself and says why") {
  Integration state;
  state.green = "g";
  state.limits.stall_ms = 60'000;
  state.facets.push_back({"a", {}, {}, 0, 0, 0, {}, {}});
  CHECK(step(state, Tick{}, 1000).size() == 1);
  CHECK(step(state, HandedIn{0, 1, "c"}, 2000).size() == 1);
  CHECK(step(state, Tick{}, 60'999).empty());
  CHECK_FALSE(ended(state));
  CHECK(step(state, Tick{}, 61'000).empty());
  CHECK(ended(state));
  CHECK(state.stopped.starts_with("nothing was merged for "));
  CHECK(state.ledger.find("c")->fate == Fate::rejected);
  // Late, and from nowhere.
  for (const SwarmEvent& event : std::vector<SwarmEvent>{
           HandedIn{0, 1, "d"}, HandedIn{9, 1, "e"}, Merged{1, "t", {{0, "m", ""}}},
           Verified{1, true, ""}, GreenMoved{1, ""}, WorkFailed{0, 1, "x"}})
    CHECK(step(state, event, 70'000).empty());
  CHECK(state.green == "g");
  CHECK(state.ledger.find("d")->fate == Fate::rejected);
}

TEST_CASE("of a batch that fails, the guilty one is found and the others are kept") {
  Integration state;
  state.green = "g";
  for (int i = 0; i < 8; ++i)
    state.facets.push_back({file_of(static_cast<std::size_t>(i)), {}, {}, 0, 0, 0, {}, {}});
  state.limits.evictions = 0;
  step(state, Tick{}, 0);
  std::vector<SwarmCommand> next;
  for (std::size_t i = 0; i < 8; ++i) {
    const auto given = step(state, HandedIn{i, 1, "c" + std::to_string(i)}, 0);
    next.insert(next.end(), given.begin(), given.end());
  }
  int verified = 0;
  while (!next.empty()) {
    const SwarmCommand command = next.front();
    next.erase(next.begin());
    SwarmEvent answer = Tick{};
    if (const auto* merge = std::get_if<MergeOrder>(&command)) {
      Merged merged{merge->number, merge->onto, {}};
      for (std::size_t i = 0; i < merge->heads.size(); ++i) {
        merged.tip += "+" + merge->heads[i];
        merged.heads.push_back({merge->facets[i], merged.tip, ""});
      }
      answer = merged;
    } else if (const auto* verify = std::get_if<VerifyOrder>(&command)) {
      ++verified;
      answer = Verified{verify->number, verify->tip.find("c5") == std::string::npos, "red"};
    } else if (const auto* move = std::get_if<MoveGreen>(&command)) {
      answer = GreenMoved{move->number, ""};
    }
    const auto given = step(state, answer, 0);
    next.insert(next.end(), given.begin(), given.end());
  }
  CHECK(ended(state));
  CHECK(state.green == "g+c0+c1+c2+c3+c4+c6+c7");
  CHECK(state.facets[5].why == "red");
  CHECK(verified == 8);  // 0; 1-7 fail; 1-3; 4-7 fail; 4-5 fail; 4; 5 fails; 6-7.
}
