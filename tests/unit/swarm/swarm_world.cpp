#include "swarm_world.hpp"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "actors/run/run.hpp"
#include "actors/swarm/remake.hpp"
#include "storage/base/ids.hpp"

namespace muster::actors::swarm::test {

using engine::Payload;
using fbs::RunState;

WorkRepository::WorkRepository(const Files& files) {
  const int base = import_.commit(files);
  import_.import();
  begin_ = import_.id(base);
  git(import_.repository(), {"update-ref", "refs/heads/main", begin_});
  git(import_.repository(), {"symbolic-ref", "HEAD", "refs/heads/main"});
  actors::git::initialise();
  git_repository* raw = nullptr;
  REQUIRE(git_repository_open(&raw, path().c_str()) == 0);
  repository_.reset(raw);
}

std::string WorkRepository::read(const std::string& commit, const std::string& path) {
  const auto found = actors::git::find_commit(repository_.get(), actors::git::parse_id(commit));
  REQUIRE(found);
  const auto tree = actors::git::tree_of(found->get());
  REQUIRE(tree);
  const git_tree_entry* entry = git_tree_entry_byname(tree->get(), path.c_str());
  if (entry == nullptr) return {};
  git_blob* raw = nullptr;
  REQUIRE(git_blob_lookup(&raw, repository_.get(), git_tree_entry_id(entry)) == 0);
  const actors::git::Handle<git_blob, git_blob_free> blob(raw);
  return {static_cast<const char*>(git_blob_rawcontent(raw)),
          static_cast<std::size_t>(git_blob_rawsize(raw))};
}

std::string WorkRepository::commit(const std::string& base,
                                   const std::map<std::string, std::string>& files,
                                   const std::string& message) {
  const auto parent = actors::git::find_commit(repository_.get(), actors::git::parse_id(base));
  REQUIRE(parent);
  const auto tree = actors::git::tree_of(parent->get());
  std::vector<git_tree_update> updates;
  for (const auto& [path, bytes] : files) {
    git_oid blob{};
    REQUIRE(git_blob_create_from_buffer(&blob, repository_.get(), bytes.data(), bytes.size()) == 0);
    updates.push_back({GIT_TREE_UPDATE_UPSERT, blob, GIT_FILEMODE_BLOB, path.c_str()});
  }
  git_oid made{}, id{};
  REQUIRE(git_tree_create_updated(&made, repository_.get(), tree->get(), updates.size(),
                                  updates.data()) == 0);
  git_tree* raw_tree = nullptr;
  REQUIRE(git_tree_lookup(&raw_tree, repository_.get(), &made) == 0);
  const actors::git::Tree new_tree(raw_tree);
  git_signature* raw = nullptr;
  REQUIRE(git_signature_new(&raw, "Agent", "agent@x", 1700000000, 0) == 0);
  const actors::git::Signature who(raw);
  const git_commit* parents[] = {parent->get()};
  REQUIRE(git_commit_create(&id, repository_.get(), nullptr, raw, raw, nullptr, message.c_str(),
                            raw_tree, 1, parents) == 0);
  return actors::git::to_string(id);
}

namespace {
int worlds = 0;
}

SwarmWorld::SwarmWorld(WorkRepository& repository, WorldOptions options)
    : repository_(repository),
      options_(std::move(options)),
      random_(options_.seed),
      name_("w-" + std::to_string(++worlds)),
      blobs_(repository.scratch() / "blobs") {
  auto document = nlohmann::json::parse(options_.plan);
  document["name"] = name_;
  document["repositories"] = {{{"id", "r"}, {"path", repository_.path()}}};
  const std::string plan = document.dump();
  const std::string digest = sha256_hex(plan);
  std::filesystem::create_directories(repository.scratch() / "blobs");
  REQUIRE(blobs_.put(digest, plan));
  specs_ = std::make_unique<SwarmSpecs>(blobs_);
  work_ = std::make_unique<SwarmWork>(*specs_, repository_.scratch());
  const auto read = specs_->find(digest);
  REQUIRE(read);
  const SwarmSpec& spec = (*read)->spec;

  fbs::CreateSwarmT create;
  create.digest = digest;
  create.plan_digest = digest;
  create.facets = static_cast<std::uint32_t>(spec.facets.size());
  create.agents = spec.limits.agents;
  create.conflicts = spec.limits.conflicts;
  create.batch = spec.limits.batch;
  create.stall_ms = spec.limits.stall.count();
  create.timeout_ms = spec.limits.timeout.count();
  create.result_schema = spec.result_schema;
  if (!spec.resolver.run.empty()) create.resolves = spec.resolver.tries;
  auto line = std::make_unique<fbs::SwarmLineT>();
  line->id = "r";
  line->repository = "acme/r";
  line->url = line->canonical_url = repository_.path();
  line->checks = true;
  create.lines.push_back(std::move(line));
  disk_.inbox.push_back(Swarm::Messages::encode(create));
}

/// Before each change of something durable: here a kill may come.
void SwarmWorld::write() {
  if (writes_++ == options_.kill_at) throw Killed{};
}

void SwarmWorld::run() {
  for (int i = 0; i < 20'000; ++i) {
    try {
      if (!act()) break;
    } catch (const Killed&) {  // memory is gone; the disk stays
      specs_ = std::make_unique<SwarmSpecs>(blobs_);
      work_ = std::make_unique<SwarmWork>(*specs_, repository_.scratch());
    }
    check_green();
  }
  INFO(fbs::EnumNameSwarmState(disk_.head.state) << " " << disk_.head.reason);
  REQUIRE(is_end(disk_.head.state));
}

void SwarmWorld::retry() {
  fbs::RetrySwarmT retry;
  disk_.inbox.push_back(Swarm::Messages::encode(retry));
  run();
}

bool SwarmWorld::act() {
  if (++steps_ == options_.stop_at) {
    fbs::CancelSwarmT cancel;
    cancel.reason = "enough";
    disk_.inbox.push_back(Swarm::Messages::encode(cancel));
  }
  const bool inbox = !disk_.inbox.empty(), effects = !disk_.effects.empty(),
             runs = !disk_.runs.empty();
  if (!inbox && !effects && !runs) return false;
  for (;;) {
    const unsigned what = static_cast<unsigned>(random_() % 3);
    if (what == 0 && inbox) return take(), true;
    if (what == 1 && effects) return carry_out(), true;
    if (what == 2 && runs) return end_run(), true;
  }
}

/// One message through the step; the state and all that it asks for are one write.
void SwarmWorld::take() {
  const std::size_t at = random_() % disk_.inbox.size();
  Disk next;
  next.exists = disk_.exists;
  next.head = disk_.head;
  next.rows = disk_.rows;
  next.timers = disk_.timers;
  next.inbox = disk_.inbox;
  next.effects = disk_.effects;
  next.runs = disk_.runs;
  next.pulls = disk_.pulls;
  next.made = disk_.made;
  const auto message = Swarm::Messages::decode(disk_.inbox[at]);
  REQUIRE(message);
  next.inbox.erase(next.inbox.begin() + static_cast<std::ptrdiff_t>(at));
  if (!next.exists && !Swarm::creates(*message)) return;
  engine::Envelope envelope;
  envelope.to = {"default", "swarm", name_};
  now_ = now_ + Duration{1};
  engine::Context ctx(envelope.to, envelope, now_, next.rows);
  Swarm::step(next.head, *message, ctx);
  next.exists = true;
  apply(ctx.take(), next);
  write();
  disk_ = std::move(next);
}

void SwarmWorld::apply(const engine::Decision& decision, Disk& next) const {
  next.rows.apply(decision.rows);
  for (const auto& timer : decision.timers) {
    next.timers.erase(timer.name);
    if (timer.due) next.timers.emplace(timer.name, timer);
  }
  for (const auto& effect : decision.effects) next.effects.push_back(effect);
  for (const auto& out : decision.sends) {
    if (out.to.kind == "swarm") next.inbox.push_back(out.payload);
    if (out.to.kind == "fleet") {
      const auto message = Fleet::Messages::decode(out.payload);
      if (const auto* add = std::get_if<fbs::AddRunT>(&*message))
        next.runs.push_back({add->run, *add->create});
      // What a fleet has on hosts when it is cancelled ends without a commit, or is delivered yet.
    }
    if (out.to.kind == "repo") {
      const auto message = Repo::Messages::decode(out.payload);
      const auto& pull = std::get<fbs::OpenPullT>(*message);
      next.pulls.push_back(pull);
      fbs::SwarmPullOpenedT opened;
      opened.repository = out.to.key;
      opened.number = static_cast<std::uint32_t>(next.pulls.size());
      next.inbox.push_back(Swarm::Messages::encode(opened));
    }
  }
}

/// An effect, which may be killed before it, in its middle, or before its result is kept; then it
/// is done again.
void SwarmWorld::carry_out() {
  const std::size_t at = random_() % disk_.effects.size();
  const auto effect = must_decode<fbs::EffectT>(disk_.effects[at].bytes);
  write();
  const auto local = repository_.open();
  auto refs = local.refs();
  const auto before = refs.read(try_branch(name_)).value();
  const Payload answer = perform(effect.body);
  try {
    write();
  } catch (const Killed&) {
    // Between the pack and the ref: the objects are there, and the branch is where it was.
    const auto after = refs.read(try_branch(name_)).value();
    if (after != before && before) REQUIRE(refs.swap(try_branch(name_), after, *before));
    throw;
  }
  if (chance(20)) {  // its deadline passed
    disk_.inbox.push_back(disk_.effects[at].on_unknown);
  } else {
    disk_.inbox.push_back(answer);
    if (options_.doubled && chance(6)) disk_.inbox.push_back(answer);
  }
  disk_.effects.erase(disk_.effects.begin() + static_cast<std::ptrdiff_t>(at));
}

Payload SwarmWorld::perform(const fbs::EffectBodyUnion& effect) {
  if (const auto* read = effect.AsReadPlan())
    return Swarm::Messages::encode(work_->read_plan(*read));
  if (const auto* adopt = effect.AsAdoptPlan())
    return Swarm::Messages::encode(work_->adopt(*adopt));
  if (const auto* show = effect.AsShowCandidates())
    return Swarm::Messages::encode(work_->show(*show));
  if (const auto* start = effect.AsStartLine())
    return Swarm::Messages::encode(work_->start_line(*start));
  if (const auto* merge = effect.AsMergeFacets())
    return Swarm::Messages::encode(work_->merge(*merge));
  if (const auto* move = effect.AsMoveGreen())
    return Swarm::Messages::encode(work_->move_green(*move));
  throw std::logic_error("an effect that nobody executes");
}

bool soak() {
  return std::getenv("MUSTER_SOAK") != nullptr;
}

void killed_before_writes(WorkRepository& repository, int writes, int step, const MakeOptions& make,
                          const CheckWorld& check) {
  for (int kill_at = 0; kill_at < writes; kill_at += soak() ? 1 : step) {
    INFO("killed before write " << kill_at);
    SwarmWorld world(repository, make(1, kill_at));
    world.run();
    check(world);
  }
}

void SwarmWorld::end_run() {
  const std::size_t at = random_() % disk_.runs.size();
  const Run run = disk_.runs[at];
  const fbs::SwarmRunEndedT ended = work_of(run);
  write();
  if (!ended.head_sha.empty() && ended.reason != kNotPushed) disk_.made.insert(ended.head_sha);
  disk_.inbox.push_back(Swarm::Messages::encode(ended));
  if (options_.doubled && chance(6)) disk_.inbox.push_back(Swarm::Messages::encode(ended));
  disk_.runs.erase(disk_.runs.begin() + static_cast<std::ptrdiff_t>(at));
}

/// As the run of a verification, which makes files anew first when it is told so.
void SwarmWorld::verify(const Run& run, fbs::SwarmRunEndedT& ended) {
  std::map<std::string, std::string> files;
  for (const std::string& path : remade_by(run.create.input_json))
    if (const std::string made = options_.remake(ended.base_sha);
        made != repository_.read(ended.base_sha, path))
      files[path] = made;
  const std::string made =
      files.empty() ? std::string() : repository_.commit(ended.base_sha, files, "Anew " + run.id);
  const bool good = options_.passes(made.empty() ? ended.base_sha : made);
  ended.state = !good ? RunState::failed : made.empty() ? RunState::unchanged : RunState::delivered;
  if (good) ended.head_sha = made;
  ended.class_ = good           ? fbs::FailureClass::none
                 : made.empty() ? fbs::FailureClass::agent
                                : fbs::FailureClass::verification;
  if (good && made.empty() && ++passed_ % 3 == 0) {  // it left files behind: a commit that is in no repository
    ended.state = RunState::delivered;
    ended.reason = kNotPushed;
    ended.head_sha = std::string(40, 'e');
  }
  ended.message = good ? "" : "agent exited with 1";
  ended.output = good ? "" : "tests are red";
}

fbs::SwarmRunEndedT SwarmWorld::work_of(const Run& run) {
  fbs::SwarmRunEndedT ended;
  ended.run = run.id;
  const auto local = repository_.open();
  auto refs = local.refs();
  ended.base_sha = refs.read(run.create.base_branch).value().value();
  const auto labels = nlohmann::json::parse(run.create.labels_json);
  if (labels.contains("verify")) {
    verify(run, ended);
    return ended;
  }
  if (chance(options_.lost_one_in)) {
    ended.state = RunState::failed;
    ended.class_ = fbs::FailureClass::infrastructure;
    ended.message = "the host was lost";
    return ended;
  }
  const std::string facet = labels["facet"].get<std::string>(), role = labels.value("role", "");
  const bool told = !run.create.feedback_json.empty();
  const auto input = nlohmann::json::parse(run.create.input_json, nullptr, false);
  const int round = input.is_object() ? input.value("round", 0) : 0;
  if (options_.says) ended.result = options_.says(facet, told, round);
  if (role == "score") ended.result = R"({"score": )" + std::to_string(random_() % 9) + "}";
  if (role == "judge") ended.result = R"({"best": 1})";
  if (role == "plan" || role == "score" || role == "judge") {
    ended.state = RunState::unchanged;
    return ended;
  }
  const auto files = options_.work(role == "resolve" ? facet + " resolved" : facet, told);
  if (files.empty()) {
    ended.state = RunState::unchanged;
    return ended;
  }
  // Whoever does it again makes another commit.
  ended.state = RunState::delivered;
  ended.head_sha =
      repository_.commit(ended.base_sha, files, "Work " + std::to_string(++works_) + " " + run.id);
  if (role == "candidate") {  // whoever scores it begins there
    const std::string& branch = run.create.policy->branch;
    REQUIRE(refs.swap(branch, refs.read(branch).value(), ended.head_sha));
  }
  return ended;
}

fbs::LineRowT SwarmWorld::line() {
  return must_decode<fbs::LineRowT>(disk_.rows.row(numbered("line/", 0)).value());
}

std::map<std::string, fbs::FacetRowT> SwarmWorld::facets() {
  std::map<std::string, fbs::FacetRowT> all;
  for (const auto& [key, bytes] : disk_.rows.rows(kFacetPrefix, kFacetEnd, 100'000)) {
    auto row = must_decode<fbs::FacetRowT>(bytes);
    all.emplace(row.id, std::move(row));
  }
  return all;
}

std::string SwarmWorld::proof() {
  std::string out;
  const fbs::LineRowT where = line();
  LineClaim claim{repository_.path(), where.begin, where.green, green_branch(name_), {}, false};
  std::set<std::string> known;
  for (const auto& [key, bytes] : disk_.rows.rows(kCommitPrefix, kCommitEnd, 100'000)) {
    const std::string commit = key.substr(kCommitPrefix.size());
    const auto row = must_decode<fbs::CommitRowT>(bytes);
    known.insert(commit);
    if (row.made.empty())
      REQUIRE(claim.ledger.received(std::to_string(row.facet), commit));
    else
      REQUIRE(claim.ledger.remade(commit, row.made));
    if (row.fate == fbs::CommitFate::merged) REQUIRE(claim.ledger.merged(commit, row.merge));
    if (row.fate == fbs::CommitFate::superseded)
      REQUIRE(claim.ledger.superseded(commit, row.successor));
    if (row.fate == fbs::CommitFate::rejected) REQUIRE(claim.ledger.rejected(commit, row.reason));
  }
  for (const std::string& commit : disk_.made)
    if (!known.contains(commit)) out += "delivered and not in the ledger: " + commit + "\n";
  if (!where.begin.empty()) {
    const auto proof = prove_line(claim, repository_.scratch());
    REQUIRE(proof);
    for (const Finding& finding : proof->findings)
      out += std::string(to_string(finding.kind)) + " " + finding.text + "\n";
  }
  std::vector<fbs::FacetRowT> rows;
  for (auto& [id, row] : facets()) rows.push_back(row);
  if (recount(rows) != disk_.head.counts) out += "counts do not agree\n";
  return out;
}

/// The branch is where the swarm says, or where a move that is under way puts it; and it passes.
void SwarmWorld::check_green() {
  if (!disk_.exists) return;
  const fbs::LineRowT where = line();
  if (where.green.empty()) return;
  const std::string ref = repository_.open().refs().read(green_branch(name_)).value().value();
  const bool moving = where.state == fbs::LineState::moving && ref == where.tip;
  REQUIRE((ref == where.green || moving));
  if (ref == checked_) return;
  REQUIRE(options_.passes(ref));
  checked_ = ref;
}

}  // namespace muster::actors::swarm::test
