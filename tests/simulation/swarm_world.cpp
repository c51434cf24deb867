// The work of swarms, its agents, people and git.
#include "tests/simulation/swarm_world.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/fleet/fleet.hpp"
#include "actors/swarm/plan.hpp"
#include "tests/simulation/fleet_parts.hpp"

namespace muster::sim {

using kfbs::RunState;
using kinds::Swarm;
namespace swarm = muster::actors::swarm;

namespace {

constexpr std::int64_t kMinute = 60'000;
constexpr const char* kBefore = "before\n";
constexpr const char* kRed = "red\n";
constexpr const char* kPair = "pair\n";

std::string place_of(const std::string& facet) {
  return "parts/" + facet;
}

std::string url_of_line(std::size_t line) {
  return "/srv/git/acme/s" + std::to_string(line);
}

std::string label(const std::string& labels_json, const char* key) {
  return nlohmann::json::parse(labels_json).value(key, std::string());
}

bool told_of_integration(const std::string& feedback_json) {
  return feedback_json.find("\"integration\"") != std::string::npos;
}

std::string url_of(const kfbs::EffectBodyUnion& body) {
  if (const auto* start = body.AsStartLine()) return start->url;
  if (const auto* merge = body.AsMergeFacets()) return merge->url;
  if (const auto* move = body.AsMoveGreen()) return move->url;
  return {};
}

void fail_host(wire::AttemptReportT& report, const char* reason) {
  report.outcome = wire::Outcome::failed;
  report.reason = reason;
}

}  // namespace

bool is_green(const Files& files) {
  const auto with = [&files](const char* bytes) {
    return std::count_if(files.begin(), files.end(),
                         [&](const auto& file) { return file.second == bytes; });
  };
  return with(kRed) == 0 && with(kPair) <= 1;
}

SwarmWorld::SwarmWorld(std::uint64_t seed, Sabotage sabotage, FleetOptions options)
    : FleetWorld(seed, sabotage, options) {
  flaws_.drops_peers = sabotage == Sabotage::peers_dropped;
  flaws_.ignores_scopes = sabotage == Sabotage::scope_unchecked;
  flaws_.forgets_moves = sabotage == Sabotage::move_not_looked_up;
}

SwarmWorld::~SwarmWorld() = default;

// ---- the work ----

void SwarmWorld::invent() {
  Scheduler& s = scheduler_;
  const std::int64_t lines = s.chance(30) ? 2 : 1;
  for (std::size_t line = 0; line < static_cast<std::size_t>(lines); ++line) {
    GitModel& git = git_[url_of_line(line)];
    git.branches["main"] = git.add({{{"shared", kBefore}, {"CHANGELOG.md", kBefore}}, {}, "begin"});
  }
  const std::int64_t swarms = s.chance(25) ? 2 : 1;
  for (std::int64_t i = 0; i < swarms; ++i) {
    const std::string name = "swarm" + std::to_string(i);
    fleets_.push_back(name);
    invent_swarm(name, lines);
    people_.push_back(std::make_unique<Person>());
    people_.back()->name = people_.back()->fleet = name;
    people_.back()->wishes = options_.faults ? static_cast<int>(s.between(0, 4)) : 0;
    people_.back()->retries = options_.faults ? static_cast<int>(s.between(0, 2)) : 0;
    if (options_.faults && s.chance(5))
      s.post_after(Duration{s.between(kMinute, 20 * kMinute)}, "world",
                   [this, name] { meddle(name); });
  }
}

void SwarmWorld::invent_swarm(const std::string& name, std::int64_t lines) {
  Scheduler& s = scheduler_;
  Invented& invented = swarms_[name];
  swarm::SwarmSpec spec;
  spec.name = name;
  spec.shared = {"shared", "CHANGELOG.md"};
  spec.verify.push_back({"tests", {}, Duration{5 * kMinute}});
  for (std::int64_t line = 0; line < lines; ++line)
    spec.repositories.push_back(
        {"r" + std::to_string(line), url_of_line(static_cast<std::size_t>(line)), "", ""});
  const std::int64_t facets = s.between(2, 12);
  for (std::int64_t i = 0; i < facets; ++i) {
    swarm::Facet facet;
    facet.id = "f" + std::to_string(i);
    facet.repository = "r" + std::to_string(s.between(0, lines - 1));
    facet.scope = {place_of(facet.id)};
    facet.attempts = static_cast<std::uint32_t>(options_.faults ? s.between(1, 3) : 3);
    if (i > 0 && s.chance(25)) facet.needs.push_back("f" + std::to_string(s.between(0, i - 1)));
    const std::int64_t draw = s.between(1, 100);
    invented.habits[facet.id] = draw <= 30   ? Habit::good
                                : draw <= 50 ? Habit::shares
                                : draw <= 60 ? Habit::logs
                                : draw <= 70 ? Habit::red_until_told
                                : draw <= 76 ? Habit::red
                                : draw <= 86 ? Habit::pair
                                : draw <= 93 ? Habit::strays_until_told
                                             : Habit::idle;
    spec.facets.push_back(std::move(facet));
  }
  if (const auto problems = swarm::plan_problems(spec); !problems.empty())
    throw std::logic_error("the invented plan: " + problems.front().message);

  kfbs::CreateSwarmT& create = invented.create;
  create.digest = create.plan_digest = name;
  create.author = "alice";
  create.facets = static_cast<std::uint32_t>(facets);
  create.agents = static_cast<std::uint32_t>(s.between(1, 6));
  create.conflicts = static_cast<std::uint32_t>(options_.faults ? s.between(0, 4) : 12);
  create.batch = static_cast<std::uint32_t>(s.between(1, 6));
  create.stall_ms = options_.faults ? s.between(20 * kMinute, 120 * kMinute) : 600 * kMinute;
  if (options_.faults && s.chance(70)) create.timeout_ms = s.between(15 * kMinute, 240 * kMinute);
  for (const swarm::SwarmRepository& repository : spec.repositories) {
    create.lines.push_back(std::make_unique<kfbs::SwarmLineT>());
    kfbs::SwarmLineT& line = *create.lines.back();
    line.id = repository.id;
    line.repository = "acme/" + repository.id;
    line.url = line.canonical_url = repository.path;
    line.checks = true;
    line.check_timeout_ms = 5 * kMinute;
  }
  invented.plan = swarm::make_plan(std::move(spec));
}

// ---- agents ----

void SwarmWorld::sandbox_ordered(const kfbs::StartSandboxT& start) {
  works_[{start.run, start.epoch->attempt()}].start = start;
}

/// It clones what the branch says now. Whoever was sent back is told why, whatever came of its
/// earlier attempts.
void SwarmWorld::sandbox_begun(const SandboxId& sandbox) {
  Work& work = works_.at(sandbox);
  work.base = git_.at(work.start.url).branch(work.start.base_branch);
  const auto first = works_.find({sandbox.first, 1});
  if (first != works_.end() && told_of_integration(first->second.start.feedback_json) &&
      !told_of_integration(work.start.feedback_json))
    throw Violation("attempt " + std::to_string(sandbox.second) + " of " + sandbox.first +
                    " is not told why its facet was sent back");
}

std::shared_ptr<wire::AttemptReportT> SwarmWorld::draw_report(const SandboxId& sandbox) {
  auto report = std::make_shared<wire::AttemptReportT>();
  Work& work = works_.at(sandbox);
  report->base_sha = work.base;
  if (work.base.empty())
    fail_host(*report, "base_missing");
  else if (options_.faults && scheduler_.chance(4))
    fail_host(*report, "fetch_failed");
  else if (!label(work.start.labels_json, "verify").empty())
    check_tree(work, *report);
  else
    change_tree(sandbox, work, *report);
  return report;
}

void SwarmWorld::check_tree(const Work& work, wire::AttemptReportT& report) {
  const bool by_chance = options_.faults && scheduler_.chance(3);
  if (by_chance || !is_green(git_.at(work.start.url).commits.at(work.base).files))
    return fail_step(report, "agent", 1, "tests are red");
  report.outcome = wire::Outcome::unchanged;
  passed_.insert(work.base);
}

void SwarmWorld::change_tree(const SandboxId& sandbox, Work& work, wire::AttemptReportT& report) {
  const std::int64_t draw = options_.faults ? scheduler_.between(1, 100) : 100;
  if (draw <= 4) return fail_step(report, "agent", 1, "it crashed");
  if (draw <= 7) return fail_step(report, "verify:tests", 1, "its own tests are red");
  if (draw <= 9) return fail_step(report, "agent", 77, "");
  const Invented& invented = swarms_.at(work.start.fleet);
  const Files& before = git_.at(work.start.url).commits.at(work.base).files;
  Files after = files_after(invented, label(work.start.labels_json, "facet"),
                            told_of_integration(work.start.feedback_json), before);
  if (after == before) {
    report.outcome = wire::Outcome::unchanged;
    return;
  }
  const ModelCommit commit{std::move(after),
                           {work.base},
                           "Work of " + sandbox.first + "-" + std::to_string(sandbox.second)};
  work.made = commit.id();
  packs_.emplace(work.made, commit);
  report.outcome = wire::Outcome::changed;
  report.head_sha = work.made;
  report.pack_digest = std::string(64, 'c');
  report.result_json = R"({"lines": 1})";
}

Files SwarmWorld::files_after(const Invented& invented, const std::string& facet, bool told,
                              Files files) const {
  const Habit habit = invented.habits.at(facet);
  if (habit == Habit::idle) return files;
  std::string& own = files[place_of(facet)];
  own = "work of " + facet + "\n";
  const bool careless = habit == Habit::red || (habit == Habit::red_until_told && !told);
  if (careless) own = kRed;
  if (habit == Habit::pair && !told) own = kPair;
  if (habit == Habit::shares) files["shared"] = "by " + facet + "\n";
  if (habit == Habit::logs) files["CHANGELOG.md"] = facet + "\n" + files["CHANGELOG.md"];
  if (habit == Habit::strays_until_told && !told) files["parts/of-nobody"] = "by " + facet + "\n";
  return files;
}

std::string SwarmWorld::made_by(const SandboxId& sandbox) const {
  const auto work = works_.find(sandbox);
  return work == works_.end() ? std::string() : work->second.made;
}

/// What a run said comes again, sometimes: at once, or when nobody waits for it any more.
void SwarmWorld::run_ended(const std::string& run) {
  if (!options_.faults || !scheduler_.chance(20)) return;
  const auto head = state<kinds::Run>(run);
  kfbs::SwarmRunEndedT ended;
  ended.run = run;
  ended.state = head->state;
  ended.class_ = head->class_;
  ended.reason = head->reason;
  ended.message = head->message;
  ended.head_sha = head->head_sha;
  ended.base_sha = head->base_sha;
  say_again(head->fleet, Swarm::Messages::encode(ended));
}

void SwarmWorld::say_again(const std::string& name, const engine::Payload& payload) {
  scheduler_.post_after(Duration{scheduler_.between(1, 40 * kMinute)}, "late",
                        [this, name, payload] { tell(id<Swarm>(name), payload); });
}

// ---- people ----

void SwarmWorld::next_wish(Person& person) {
  using Messages = Swarm::Messages;
  Scheduler& s = scheduler_;
  const engine::ActorId whose = id<Swarm>(person.fleet);
  const auto head = state<Swarm>(person.fleet);
  const bool over = head && swarm::is_end(head->state);
  const auto later = [&](std::int64_t low, std::int64_t high) {
    s.post_after(Duration{s.between(low, high)}, "people/" + person.name,
                 [this, &person] { next_wish(person); });
  };
  if (!person.created) {
    person.created = true;
    call(person, whose, Messages::encode(swarms_.at(person.fleet).create));
  } else if (person.paused) {  // Nobody leaves a swarm paused; some forget it for a while.
    if (s.chance(10)) return later(10 * kMinute, 60 * kMinute);
    person.paused = false;
    call(person, whose, Messages::encode(kfbs::ResumeSwarmT{}));
  } else if (person.wishes-- > 0) {
    const std::int64_t wish = s.between(1, 100);
    if (wish <= 40) {
      person.paused = true;
      call(person, whose, Messages::encode(kfbs::PauseSwarmT{}));
    } else if (wish <= 55) {
      call(person, whose, Messages::encode(kfbs::DrainSwarmT{}));
    } else if (wish <= 70) {
      call(person, whose, Messages::encode(kfbs::CancelSwarmT{}));
    } else if (wish <= 85) {
      call(person, whose, Messages::encode(kfbs::RetrySwarmT{}));
    } else if (wish <= 95) {
      kfbs::SteerSwarmT say;
      say.text = "be brief";
      call(person, whose, Messages::encode(say));
    } else {
      call(person, whose, Messages::encode(swarms_.at(person.fleet).create));
    }
  } else {
    person.wishes = std::max(person.wishes, 0);
    if (person.retries == 0) {
      person.wishes = -1;
    } else if (!over) {
      later(kMinute, 10 * kMinute);
    } else {
      --person.retries;
      person.wishes = static_cast<int>(s.between(0, 1));
      call(person, whose, Messages::encode(kfbs::RetrySwarmT{}));
    }
  }
}

bool SwarmWorld::everybody_done() const {
  for (const auto& [name, invented] : swarms_) {
    const auto head = state<Swarm>(name);
    if (!head || !swarm::is_end(head->state)) return false;
  }
  return FleetWorld::everybody_done();
}

/// Somebody pushes to a swarm's green branch.
void SwarmWorld::meddle(const std::string& name) {
  GitModel& git = git_.begin()->second;
  const std::string green = git.branch(swarm::green_branch(name));
  if (green.empty()) return;
  installation_.tell_story("somebody moves the green branch of " + name);
  swarms_.at(name).foreign = true;
  ModelCommit commit{git.commits.at(green).files, {green}, "somebody's"};
  commit.files["README.md"] = "mine\n";
  git.branches[swarm::green_branch(name)] = git.add(commit);
}

// ---- git ----

std::string& SwarmWorld::branch_for(const kfbs::PushBranchT& m) {
  GitModel& git = git_.at(m.url);
  git.add(packs_.at(m.head_sha));
  return git.branches[m.branch];
}

/// A thread of the port does everything of one repository, in the order in which it is asked.
void SwarmWorld::perform_other(std::uint32_t shard, const engine::PendingEffect& effect,
                               const kfbs::EffectT& asked) {
  const std::string url = url_of(asked.body);
  auto& queue = orders_[url];
  queue.push_back({shard, effect});
  if (queue.size() == 1) next_order(url);
}

void SwarmWorld::next_order(const std::string& url) {
  const bool hangs = options_.faults && scheduler_.chance(2);  // Longer than some deadlines.
  engine_task(1, hangs ? 20 * kMinute : 3'000,
              [this, url] { carry_out(url, Order(orders_.at(url).front())); });
}

void SwarmWorld::carry_out(const std::string& url, const Order& order) {
  const auto asked = kinds::must_decode<kfbs::EffectT>(order.effect.bytes);
  bool repeat = true;
  if (const auto* read = asked.body.AsReadPlan()) {
    finish(url, order, Swarm::Messages::encode(read_plan(swarms_.at(read->digest).plan, *read)),
           repeat);
  } else if (const auto* start = asked.body.AsStartLine()) {
    finish(url, order, Swarm::Messages::encode(start_line(git_.at(url), *start)), repeat);
  } else if (const auto* batch = asked.body.AsMergeFacets()) {
    merge(url, order, *batch);
  } else if (const auto* moved = asked.body.AsMoveGreen()) {
    const engine::Payload answer = move(url, *moved, repeat);
    finish(url, order, answer, repeat);
  } else {
    throw Violation("an effect that nobody carries out: " + order.effect.key);
  }
}

/// The pack, then the branch; the engine may die before each.
void SwarmWorld::merge(const std::string& url, const Order& order, const kfbs::MergeFacetsT& m) {
  GitModel& git = git_.at(url);
  const auto batch =
      std::make_shared<ModelBatch>(merge_facets(git, swarms_.at(m.swarm).plan, m, flaws_));
  const bool trouble = options_.faults && scheduler_.chance(2);
  if (trouble) {
    batch->made.clear();
    batch->answer.heads.clear();
    batch->answer.error = "the disk is full";
  }
  const bool done = batch->answer.error.empty();
  const engine::Payload answer = Swarm::Messages::encode(batch->answer);
  if (!done || batch->made.empty()) return finish(url, order, answer, done);
  engine_task(1, 500, [this, url, order, batch, answer, &git, branch = m.try_branch] {
    for (const ModelCommit& commit : batch->made) git.add(commit);
    engine_task(1, 500, [this, url, order, batch, answer, &git, branch] {
      git.branches[branch] = batch->answer.tip;
      finish(url, order, answer, true);
    });
  });
}

engine::Payload SwarmWorld::move(const std::string& url, const kfbs::MoveGreenT& m, bool& repeat) {
  kfbs::GreenMovedT answer;
  if (options_.faults && scheduler_.chance(2)) {
    answer.line = m.line;
    answer.number = m.number;
    answer.error = "the disk is full";
    repeat = false;
  } else {
    GitModel& git = git_.at(url);
    answer = move_green(git, m, flaws_);
    const std::string& green = git.branch(m.green_branch);
    if (!answer.lost && (!passed_.contains(green) || !is_green(git.commits.at(green).files)))
      throw Violation("branch " + m.green_branch + " is moved to what no verification passed");
  }
  return Swarm::Messages::encode(answer);
}

/// Answered some time later, or never, or once more when nobody asks.
void SwarmWorld::finish(const std::string& url, const Order& order, const engine::Payload& answer,
                        bool repeat) {
  auto& queue = orders_.at(url);
  queue.pop_front();
  if (!queue.empty()) next_order(url);
  if (options_.faults && repeat && scheduler_.chance(8)) say_again(order.effect.actor.key, answer);
  if (options_.faults && scheduler_.chance(3)) return;
  engine_task(1, 2'000, [this, order, answer] {
    installation_.post(order.shard, [effect = order.effect, answer](engine::Shard& shard) {
      shard.effect_done(effect, answer);
    });
  });
}

}  // namespace muster::sim
