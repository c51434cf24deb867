// The messages and rows of the kind Swarm, as each released version wrote them, stay readable and keep their meaning.
// The files in tests/golden are never written again; a new version adds its own (MUSTER_WRITE_GOLDEN=DIR
// test_swarm_kind writes them).
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "actors/swarm/swarm.hpp"

using namespace muster;
using namespace muster::actors;

namespace {

const std::string kSha(40, 'a'), kDigest(64, 'd');

std::unique_ptr<fbs::SwarmLineT> line_sample() {
  auto line = std::make_unique<fbs::SwarmLineT>();
  line->id = "api";
  line->repository = "acme/api";
  line->url = line->canonical_url = "/srv/git/api.git";
  line->base_branch = "main";
  line->checks = true;
  line->check_timeout_ms = 600'000;
  return line;
}

std::unique_ptr<fbs::MergedFacetT> merged_sample() {
  auto merged = std::make_unique<fbs::MergedFacetT>();
  merged->facet = 3;
  merged->outcome = fbs::HeadOutcome::conflict;
  merged->merge = kSha;
  merged->why = "it conflicts";
  merged->context = "==== a (base)";
  merged->by_driver = {"CHANGELOG.md"};
  return merged;
}

std::string create_record() {
  fbs::CreateSwarmT m;
  m.digest = m.plan_digest = m.agent_bundle = kDigest;
  m.author = "ann";
  m.title = "Move on";
  m.prompt = "Move on, all of you";
  m.facets = 30;
  m.lines.push_back(line_sample());
  m.agents = 7;
  m.conflicts = 2;
  m.batch = 5;
  m.stall_ms = 1000;
  m.timeout_ms = 2000;
  return Swarm::Messages::encode(m).bytes;
}

std::string merged_record() {
  fbs::LineMergedT m;
  m.line = 1;
  m.number = 9;
  m.tip = kSha;
  m.heads.push_back(merged_sample());
  m.error = "none";
  return Swarm::Messages::encode(m).bytes;
}

std::string run_ended() {
  fbs::SwarmRunEndedT m;
  m.run = "7K2M000000000";
  m.state = fbs::RunState::failed;
  m.class_ = fbs::FailureClass::agent;
  m.reason = "exit_code";
  m.message = "agent exited with 1";
  m.head_sha = m.base_sha = kSha;
  m.output = "red";
  return Swarm::Messages::encode(m).bytes;
}

std::string facet_record() {
  fbs::FacetRowT row;
  row.id = "docs";
  row.line = 1;
  row.state = fbs::FacetState::trying;
  row.runs = 2;
  row.run = "7K2M000000000";
  row.base = row.commit = row.merge = kSha;
  row.open_needs = 1;
  row.evictions = 1;
  row.why = "it conflicts";
  row.held = true;
  row.changed_unix_ms = 1'700'000'000'000;
  return engine::encode_table(row);
}

std::string line_record() {
  fbs::LineRowT row;
  row.line = line_sample();
  row.state = fbs::LineState::verifying;
  row.begin = row.green = row.onto = row.tip = kSha;
  row.number = 4;
  row.at_unix_s = 1'700'000'000;
  row.batch = {1, 2};
  row.tried.push_back(merged_sample());
  row.halves.push_back(std::make_unique<fbs::FacetHalfT>());
  row.halves.back()->facets = {5, 6};
  row.tries = 1;
  row.check_run = "8K2M000000000";
  row.verified = 3;
  row.failed = 2;
  row.pull_asked = true;
  row.pull = 12;
  row.pull_url = "/srv/git/api.git#12";
  row.pull_error = "no";
  return engine::encode_table(row);
}

std::string commit_record() {
  fbs::CommitRowT row;
  row.facet = 3;
  row.run = "7K2M000000000";
  row.base = row.merge = row.successor = kSha;
  row.fate = fbs::CommitFate::superseded;
  row.reason = "late";
  return engine::encode_table(row);
}

std::string head() {
  fbs::SwarmHeadT h;
  h.name = "docs-2";
  h.digest = kDigest;
  h.author = "ann";
  h.title = "Move on";
  h.state = fbs::SwarmState::completed_with_rejections;
  h.reason = "why";
  h.facets = h.loaded = 30;
  h.counts = {1, 2, 3, 4, 5, 6, 9};
  h.lines = 2;
  h.lines_starting = 1;
  h.agents = 7;
  h.conflicts = 2;
  h.batch = 5;
  h.stall_ms = 1000;
  h.timeout_ms = 2000;
  h.deadline_unix_ms = h.progress_unix_ms = h.created_unix_ms = 1'700'000'000'000;
  h.started_unix_ms = h.ended_unix_ms = 1'700'000'000'001;
  h.evictions = 4;
  h.runs = 40;
  h.stopping = h.retrying = h.cancelled = h.continuing = true;
  h.stop_from = h.retry_from = 12;
  h.pulls_asked = 1;
  return engine::encode_table(h);
}

// ---- what came since, each in a file of its own ----

std::string create_full() {
  fbs::CreateSwarmT m;
  m.digest = m.plan_digest = kDigest;
  m.facets = 3;
  m.lines.push_back(line_sample());
  m.result_schema = "{}";
  m.converge_answers = 2;
  m.converge_after_ms = 3000;
  m.converge_vote = "/verdict";
  m.converge_quorum = 4;
  m.reduce_timeout_ms = 5000;
  m.resolves = 6;
  m.resolve_timeout_ms = 7000;
  m.most_evictions = 8;
  m.most_tokens = 9'000'000'000;
  m.most_cost_micros = 10'000'000;
  return Swarm::Messages::encode(m).bytes;
}

std::unique_ptr<fbs::PlanFacetT> plan_facet() {
  auto facet = std::make_unique<fbs::PlanFacetT>();
  facet->id = "docs";
  facet->line = 1;
  facet->needs = {0};
  facet->needed_by = {4, 5};
  facet->attempts = 2;
  facet->timeout_ms = 1000;
  facet->planner = facet->judged = true;
  facet->rounds = 3;
  facet->owner = 7;
  facet->candidates = 4;
  facet->judge_timeout_ms = 2000;
  return facet;
}

std::string plan_page() {
  fbs::PlanPageT m;
  m.first = 100;
  m.facets.push_back(plan_facet());
  m.error = "it ends too early";
  return Swarm::Messages::encode(m).bytes;
}

std::string adopted() {
  fbs::PlanAdoptedT m;
  m.number = 2;
  m.digest = kDigest;
  m.facets.push_back(plan_facet());
  m.problems = "/facets/0/id: is missing";
  m.error = "gone";
  return Swarm::Messages::encode(m).bytes;
}

std::string candidates_shown() {
  fbs::CandidatesShownT m;
  m.facet = 3;
  m.run = "7K2M000000000";
  m.diffs = {"--- a", "--- b"};
  m.error = "gone";
  return Swarm::Messages::encode(m).bytes;
}

std::string merged_full() {
  fbs::LineMergedT m;
  m.line = 1;
  m.number = 9;
  m.tip = kSha;
  m.heads.push_back(merged_sample());
  m.heads.back()->marked = kSha;
  m.remake = {"package-lock.json"};
  return Swarm::Messages::encode(m).bytes;
}

std::string green_moved() {
  fbs::GreenMovedT m;
  m.line = 1;
  m.number = 9;
  m.lost = true;
  m.error = "somebody moved it";
  m.unfit = "it changed others too";
  return Swarm::Messages::encode(m).bytes;
}

std::string run_ended_full() {
  fbs::SwarmRunEndedT m;
  m.run = "7K2M000000000";
  m.state = fbs::RunState::delivered;
  m.result = R"({"count": 1})";
  m.tokens = 5'000'000'000;
  m.cost_micros = 250'000;
  m.attempts = 2;
  return Swarm::Messages::encode(m).bytes;
}

template <class M>
std::string by_ann() {
  M m;
  m.by = "ann";
  m.reason = "lunch";
  return Swarm::Messages::encode(m).bytes;
}

std::string steer() {
  fbs::SteerSwarmT m;
  m.by = "ann";
  m.text = "be brief";
  m.facet = "docs";
  return Swarm::Messages::encode(m).bytes;
}

std::string facet_full() {
  fbs::FacetRowT row;
  row.id = "docs";
  row.state = fbs::FacetState::merged;
  row.unfit = 1;
  row.planner = row.told_owner = row.chosen = row.holds = row.remerge = true;
  row.owner = 2;
  row.rounds = 3;
  row.children = 4;
  row.lost = 5;
  row.candidates.push_back(std::make_unique<fbs::CandidateT>());
  fbs::CandidateT& tried = *row.candidates.back();
  tried.run = "7K2M000000000";
  tried.over = tried.scored = true;
  tried.commit = tried.base = kSha;
  tried.state = fbs::RunState::delivered;
  tried.why = "it is the best";
  tried.score_run = "8K2M000000000";
  tried.score = 0.5;
  row.choosing = "9K2M000000000";
  row.resolves = 6;
  row.by_driver = {"CHANGELOG.md"};
  return engine::encode_table(row);
}

std::string line_full() {
  fbs::LineRowT row;
  row.line = line_sample();
  row.state = fbs::LineState::moving;
  row.remake = {"package-lock.json", "gen/all.list"};
  row.merged = kSha;
  row.remade = 3;
  return engine::encode_table(row);
}

std::string commit_made() {
  fbs::CommitRowT row;
  row.run = "7K2M000000000";
  row.base = row.merge = kSha;
  row.fate = fbs::CommitFate::merged;
  row.made = {"package-lock.json"};
  row.line = 1;
  return engine::encode_table(row);
}

std::string note() {
  fbs::NoteRowT row;
  row.facet = "docs";
  row.run = "7K2M000000000";
  row.text = "look at the end";
  row.at_unix_ms = 1'700'000'000'000;
  row.given = 2;
  return engine::encode_table(row);
}

std::string said() {
  fbs::MessageRowT row;
  row.number = 4;
  row.by = "ann";
  row.text = "be brief";
  row.facet = "docs";
  row.at_unix_ms = 1'700'000'000'000;
  return engine::encode_table(row);
}

std::string use() {
  fbs::RunUseT row;
  row.check = row.over = true;
  row.facet = 3;
  row.line = 1;
  row.number = 9;
  row.purpose = fbs::RunPurpose::resolve;
  row.candidate = 2;
  return engine::encode_table(row);
}

std::string head_full() {
  fbs::SwarmHeadT h;
  h.name = "docs-2";
  h.state = fbs::SwarmState::running;
  h.paused = "paused by ann: lunch";
  h.draining = "drained by ann";
  h.plan_digest = kDigest;
  h.adopting = 1;
  h.adoptions = 2;
  h.owners = 3;
  h.extra_agents = 4;
  h.answers = 5;
  h.converge_answers = 6;
  h.converge_at_unix_ms = 1'700'000'000'000;
  h.converge_quorum = 7;
  h.resolves = 8;
  h.most_evictions = 9;
  h.converged = h.reduced = h.steer_page = true;
  h.reduce_run = "7K2M000000000";
  h.reduce_tries = 1;
  h.reduce_error = "it left nothing";
  h.messages = 10;
  h.steer_from = 11;
  h.steer_first = 12;
  h.notes = 13;
  h.tokens = h.most_tokens = 5'000'000'000;
  h.cost_micros = h.most_cost_micros = 6'000'000'000;
  return engine::encode_table(h);
}

template <class T>
std::string shown(std::string_view bytes) {
  return engine::decode_table<T>(bytes)
             ? engine::describe_table(bytes, T::TableType::MiniReflectTypeTable())
             : "unreadable";
}

struct Sample {
  const char* name;
  std::string (*make)();
  std::string (*show)(std::string_view);
};
const Sample kSamples[] = {{"create", create_record, shown<fbs::CreateSwarmT>},
                           {"merged", merged_record, shown<fbs::LineMergedT>},
                           {"run-ended", run_ended, shown<fbs::SwarmRunEndedT>},
                           {"facet", facet_record, shown<fbs::FacetRowT>},
                           {"line", line_record, shown<fbs::LineRowT>},
                           {"commit", commit_record, shown<fbs::CommitRowT>},
                           {"head", head, shown<fbs::SwarmHeadT>},
                           {"create-full", create_full, shown<fbs::CreateSwarmT>},
                           {"plan-page", plan_page, shown<fbs::PlanPageT>},
                           {"adopted", adopted, shown<fbs::PlanAdoptedT>},
                           {"candidates", candidates_shown, shown<fbs::CandidatesShownT>},
                           {"merged-full", merged_full, shown<fbs::LineMergedT>},
                           {"green-moved", green_moved, shown<fbs::GreenMovedT>},
                           {"run-ended-full", run_ended_full, shown<fbs::SwarmRunEndedT>},
                           {"pause", by_ann<fbs::PauseSwarmT>, shown<fbs::PauseSwarmT>},
                           {"resume", by_ann<fbs::ResumeSwarmT>, shown<fbs::ResumeSwarmT>},
                           {"drain", by_ann<fbs::DrainSwarmT>, shown<fbs::DrainSwarmT>},
                           {"steer", steer, shown<fbs::SteerSwarmT>},
                           {"facet-full", facet_full, shown<fbs::FacetRowT>},
                           {"line-full", line_full, shown<fbs::LineRowT>},
                           {"commit-made", commit_made, shown<fbs::CommitRowT>},
                           {"note", note, shown<fbs::NoteRowT>},
                           {"message", said, shown<fbs::MessageRowT>},
                           {"run-use", use, shown<fbs::RunUseT>},
                           {"head-full", head_full, shown<fbs::SwarmHeadT>}};

std::string file_of(const std::string& directory, const Sample& sample) {
  return directory + "/swarm-v1-" + sample.name + ".bin";
}

}  // namespace

TEST_CASE("what version 1 wrote of a swarm is read with the same meaning") {
  if (const char* directory = std::getenv("MUSTER_WRITE_GOLDEN"))
    for (const Sample& sample : kSamples)
      std::ofstream(file_of(directory, sample), std::ios::binary) << sample.make();
  for (const Sample& sample : kSamples) {
    INFO(sample.name);
    std::ifstream file(file_of(MUSTER_GOLDEN_DIR, sample), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    CHECK(sample.show(bytes) == sample.show(sample.make()));
    CHECK(sample.show(bytes) != "unreadable");
  }
}

TEST_CASE("a message's number is its place in the union, for ever") {
  CHECK(Swarm::Messages::number<fbs::CreateSwarmT> == 1);
  CHECK(Swarm::Messages::number<fbs::PlanPageT> == 2);
  CHECK(Swarm::Messages::number<fbs::LineStartedT> == 3);
  CHECK(Swarm::Messages::number<fbs::SwarmRunEndedT> == 4);
  CHECK(Swarm::Messages::number<fbs::LineMergedT> == 5);
  CHECK(Swarm::Messages::number<fbs::GreenMovedT> == 6);
  CHECK(Swarm::Messages::number<fbs::SwarmPullOpenedT> == 7);
  CHECK(Swarm::Messages::number<fbs::FleetTakenT> == 8);
  CHECK(Swarm::Messages::number<fbs::CancelSwarmT> == 9);
  CHECK(Swarm::Messages::number<fbs::RetrySwarmT> == 10);
  CHECK(Swarm::Messages::number<fbs::SwarmTickT> == 11);
  CHECK(Swarm::Messages::number<fbs::ContinueSwarmT> == 12);
  CHECK(Swarm::Messages::number<fbs::EffectUnknownT> == 13);
  CHECK(Swarm::Messages::number<fbs::PauseSwarmT> == 14);
  CHECK(Swarm::Messages::number<fbs::ResumeSwarmT> == 15);
  CHECK(Swarm::Messages::number<fbs::DrainSwarmT> == 16);
  CHECK(Swarm::Messages::number<fbs::PlanAdoptedT> == 17);
  CHECK(Swarm::Messages::number<fbs::CandidatesShownT> == 18);
  CHECK(Swarm::Messages::number<fbs::SteerSwarmT> == 19);
}
