// Every kind of record, as each released version wrote it, stays readable. The files in tests/golden are never
// written again; a new version adds its own (MUSTER_WRITE_GOLDEN=DIR test_engine_golden writes them).
#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "engine/core/records.hpp"
#include "engine/core/testing.hpp"

using namespace muster;
using namespace muster::engine;

namespace {

const ActorId kActor{"acme", "run", "7K2M"};
const ActorId kOther{"acme", "fleet", "libgreet-2"};
const Payload kPayload{3, "bytes"};

std::string envelope() {
  Envelope m;
  m.sequence = 42;
  m.from = kOther;
  m.to = kActor;
  m.lane = Lane::operator_;
  m.payload = kPayload;
  m.enqueued_at = {1'700'000'000'123};
  m.correlation = "root";
  m.causation = 41;
  m.dedup_key = "018bcfe5-687b-7000-8000-000000000000";
  m.timer = "state";
  m.timer_generation = 9;
  return encode_envelope(m);
}

std::string head() {
  fbs::HeadRecordT head;
  head.kind_version = 2;
  head.incarnation = 7;
  head.consumed = {42, 40};
  head.decision = 12;
  head.timer_generation = 9;
  head.finished = true;
  head.state = record_of(std::string_view("state"));
  head.timers.push_back(std::make_unique<fbs::HeadTimerT>());
  head.timers.back()->name = "state";
  head.timers.back()->generation = 9;
  head.timers.back()->due_unix_ms = 1'700'000'060'000;
  return encode_record(head);
}

std::string timer() {
  fbs::TimerRecordT timer;
  timer.actor = record_of(kActor);
  timer.name = "state";
  timer.generation = 9;
  timer.payload = record_of(kPayload);
  timer.correlation = "root";
  timer.effect_sequence = 42;
  timer.effect_ordinal = 1;
  return encode_record(timer);
}

std::string effect() {
  flatbuffers::FlatBufferBuilder builder;
  const PendingEffect effect{
      kActor, 42, 1, "forge", "pr/libgreet-2/acme/api", "ask", {1'700'000'060'000}, false};
  return std::string(encode_effect(builder, effect, kPayload, Duration{0}, "root"));
}

std::string snapshot() {
  fbs::SnapshotRecordT snapshot;
  snapshot.kind_version = 2;
  snapshot.decision = 1'000;
  snapshot.position = 5;
  snapshot.sequence = 42;
  snapshot.at_unix_ms = 1'700'000'000'123;
  snapshot.state = record_of(std::string_view("state"));
  snapshot.rows.push_back(std::make_unique<fbs::SnapshotRowT>());
  snapshot.rows.back()->key = record_of(std::string_view("k"));
  snapshot.rows.back()->value = record_of(std::string_view("v"));
  return encode_record(snapshot);
}

std::string call() {
  fbs::CallRecordT call;
  call.digest = "abc";
  call.state = fbs::CallState::done;
  call.failed = true;
  call.error = static_cast<std::uint8_t>(Errc::conflict);
  call.reply = record_of(std::string_view("why"));
  call.at_unix_ms = 1'700'000'000'123;
  return encode_record(call);
}

std::string dead() {
  fbs::DeadRecordT dead;
  dead.envelope = record_of(std::string_view("envelope"));
  dead.reason = "the step failed";
  dead.at_unix_ms = 1'700'000'000'123;
  dead.kind_version = 2;
  return encode_record(dead);
}

std::string audit() {
  fbs::AuditRecordT audit;
  audit.actor = record_of(kActor);
  audit.sequence = 42;
  audit.at_unix_ms = 1'700'000'000'123;
  audit.who = "alice";
  audit.action = "cancel";
  audit.detail = "too slow";
  return encode_record(audit);
}

std::string changes() {
  fbs::ChangesRecordT changes;
  auto change = std::make_unique<fbs::ChangeRecordT>();
  change->position = 5;
  change->actor = record_of(kActor);
  change->sequence = 42;
  change->lane = 1;
  change->type = 3;
  change->at_unix_ms = 1'700'000'000'123;
  change->kind_version = 2;
  change->decision = 12;
  change->dead = true;
  change->effects = {"pr/libgreet-2/acme/api"};
  change->sent.push_back(std::make_unique<fbs::SentRefT>());
  change->sent.back()->to = record_of(kOther);
  change->sent.back()->type = 4;
  change->sent.back()->sequence = 43;
  change->indexes.push_back(std::make_unique<fbs::ChangedIndexT>());
  change->indexes.back()->index = "run";
  change->indexes.back()->key = "7K2M";
  change->indexes.back()->removed = true;
  changes.changes.push_back(std::move(change));
  return encode_record(changes);
}

std::string shard() {
  fbs::ShardRecordT shard;
  shard.format = 1;
  shard.shard = 1;
  shard.shards = 3;
  shard.generation = 1;
  shard.next_sequence = 43;
  shard.low_water = 40;
  shard.position = 5;
  shard.now_unix_ms = 1'700'000'000'123;
  shard.sent = {1, 2, 3};
  return encode_record(shard);
}

std::string archive() {
  fbs::ArchiveRecordT archive;
  archive.head = record_of(std::string_view("head"));
  archive.rows.push_back(std::make_unique<fbs::ArchivedRowT>());
  archive.rows.back()->name = record_of(std::string_view("at"));
  archive.rows.back()->value = record_of(std::string_view("row"));
  return encode_record(archive);
}

template <class T>
std::string text(std::string_view bytes) {
  const Result<T> record = decode_record<T>(bytes);
  if (!record) return record.error().message;
  return engine::describe_table(encode_record(*record),
                                       T::TableType::MiniReflectTypeTable());
}

struct Golden {
  std::string name;
  std::string (*write)();
  std::string (*read)(std::string_view);
  std::string expected;
};

const std::vector<Golden>& goldens() {
  static const std::vector<Golden> all{
      {"envelope", envelope, text<fbs::EnvelopeRecordT>,
       R"({ sequence: 42, from: { org: "acme", kind: "fleet", key: "libgreet-2" }, to: { org: "acme", kind: "run", key: "7K2M" }, lane: 1, payload: { type: 3, bytes: [ 98, 121, 116, 101, 115 ] }, enqueued_unix_ms: 1700000000123, correlation: "root", causation: 41, dedup_key: "018bcfe5-687b-7000-8000-000000000000", timer: "state", timer_generation: 9 })"},
      {"head", head, text<fbs::HeadRecordT>,
       R"({ kind_version: 2, incarnation: 7, consumed: [ 42, 40 ], decision: 12, timers: [ { name: "state", generation: 9, due_unix_ms: 1700000060000 } ], timer_generation: 9, finished: true, state: [ 115, 116, 97, 116, 101 ] })"},
      {"timer", timer, text<fbs::TimerRecordT>,
       R"({ actor: { org: "acme", kind: "run", key: "7K2M" }, name: "state", generation: 9, payload: { type: 3, bytes: [ 98, 121, 116, 101, 115 ] }, correlation: "root", effect_sequence: 42, effect_ordinal: 1 })"},
      {"effect", effect, text<fbs::EffectRecordT>,
       R"({ actor: { org: "acme", kind: "run", key: "7K2M" }, sequence: 42, ordinal: 1, port: "forge", key: "pr/libgreet-2/acme/api", bytes: [ 97, 115, 107 ], deadline_unix_ms: 1700000060000, on_unknown: { type: 3, bytes: [ 98, 121, 116, 101, 115 ] }, correlation: "root" })"},
      {"snapshot", snapshot, text<fbs::SnapshotRecordT>,
       R"({ kind_version: 2, decision: 1000, position: 5, sequence: 42, at_unix_ms: 1700000000123, state: [ 115, 116, 97, 116, 101 ], rows: [ { key: [ 107 ], value: [ 118 ] } ] })"},
      {"call", call, text<fbs::CallRecordT>,
       R"({ digest: "abc", state: done, failed: true, error: 3, reply: [ 119, 104, 121 ], at_unix_ms: 1700000000123 })"},
      {"dead", dead, text<fbs::DeadRecordT>,
       R"({ envelope: [ 101, 110, 118, 101, 108, 111, 112, 101 ], reason: "the step failed", at_unix_ms: 1700000000123, kind_version: 2 })"},
      {"audit", audit, text<fbs::AuditRecordT>,
       R"({ actor: { org: "acme", kind: "run", key: "7K2M" }, sequence: 42, at_unix_ms: 1700000000123, who: "alice", action: "cancel", detail: "too slow" })"},
      {"changes", changes, text<fbs::ChangesRecordT>,
       R"({ changes: [ { position: 5, actor: { org: "acme", kind: "run", key: "7K2M" }, sequence: 42, lane: 1, type: 3, at_unix_ms: 1700000000123, kind_version: 2, decision: 12, dead: true, sent: [ { to: { org: "acme", kind: "fleet", key: "libgreet-2" }, type: 4, sequence: 43 } ], effects: [ "pr/libgreet-2/acme/api" ], indexes: [ { index: "run", key: "7K2M", removed: true } ] } ] })"},
      {"shard", shard, text<fbs::ShardRecordT>,
       R"({ format: 1, shard: 1, shards: 3, generation: 1, next_sequence: 43, low_water: 40, position: 5, now_unix_ms: 1700000000123, sent: [ 1, 2, 3 ] })"},
      {"archive", archive, text<fbs::ArchiveRecordT>,
       R"({ head: [ 104, 101, 97, 100 ], rows: [ { name: [ 97, 116 ], value: [ 114, 111, 119 ] } ] })"},
  };
  return all;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("Records of version 1 read as they were written") {
  const char* write_to = std::getenv("MUSTER_WRITE_GOLDEN");
  for (const Golden& golden : goldens()) {
    const std::string name = "record-v1-" + golden.name + ".bin";
    if (write_to != nullptr)
      std::ofstream(std::filesystem::path(write_to) / name, std::ios::binary) << golden.write();
    INFO(name);
    const std::string bytes = read_file(std::filesystem::path(MUSTER_GOLDEN_DIR) / name);
    REQUIRE_FALSE(bytes.empty());
    CHECK(golden.read(bytes) == golden.expected);
    CHECK(golden.read(golden.write()) == golden.expected);
  }
}

TEST_CASE("An envelope reads as it was written, whatever it bears and however long its parts are") {
  std::string buffer;
  for (std::uint32_t with = 0; with < 1u << 12; ++with) {
    const auto has = [with](int bit) { return (with >> bit & 1u) != 0; };
    std::size_t length = with % 9;
    const auto some = [&](bool there) { return there ? std::string(++length, 'x') : std::string(); };
    Envelope m;
    m.sequence = has(0) ? 42 : 0;
    m.to = {"acme", "run", some(true)};
    if (has(1)) m.from = {has(2) ? "acme" : "other", has(3) ? "run" : "fleet", some(true)};
    m.lane = has(4) ? Lane::operator_ : Lane::normal;
    m.payload = {static_cast<std::uint16_t>(with), some(has(5))};
    m.enqueued_at = {has(0) ? 1'700'000'000'123 : 0};
    m.correlation = some(has(6));
    m.causation = has(7) ? 41 : 0;
    m.dedup_key = some(has(8));
    m.timer = some(has(9));
    m.timer_generation = has(9) ? 9 : 0;
    m.only_if = some(has(10));
    m.only_if_rows = some(has(11));
    const std::string bytes(encode_envelope(buffer, m));
    const auto read = decode_envelope(bytes);
    REQUIRE(read);
    const auto built = *decode_record<fbs::EnvelopeRecordT>(bytes);  // As flatc's own builder writes it.
    const auto again = decode_envelope(encode_record(built));
    REQUIRE(again);
    for (const Envelope& got : {*read, *again}) {
      REQUIRE(got.sequence == m.sequence);
      REQUIRE(got.from == m.from);
      REQUIRE(got.to == m.to);
      REQUIRE(got.lane == m.lane);
      REQUIRE(got.payload == m.payload);
      REQUIRE(got.enqueued_at == m.enqueued_at);
      REQUIRE(got.correlation == m.correlation);
      REQUIRE(got.causation == m.causation);
      REQUIRE(got.dedup_key == m.dedup_key);
      REQUIRE(got.timer == m.timer);
      REQUIRE(got.timer_generation == m.timer_generation);
      REQUIRE(got.only_if == m.only_if);
      REQUIRE(got.only_if_rows == m.only_if_rows);
    }
  }
}

TEST_CASE("A record of another kind, or a torn one, is corrupt") {
  CHECK(decode_record<fbs::HeadRecordT>(envelope()).error().code == Errc::corrupt);
  const std::string whole = head();
  for (std::size_t size = 0; size < whole.size(); size += 7)
    CHECK(decode_record<fbs::HeadRecordT>(whole.substr(0, size)).error().code == Errc::corrupt);
}
