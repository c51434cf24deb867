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
                           {"head", head, shown<fbs::SwarmHeadT>}};

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
}
