// What musterd tells of itself: trace context, spans over OTLP to a collector that listens, phases
// of attempts, metrics, and the dashboard and alerts that name them.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "tests/unit/musterd/api_fixture.hpp"
#include "tools/musterd/attempt_watch.hpp"
#include "tools/musterd/engine_metrics.hpp"
#include "tools/musterd/http_server.hpp"
#include "tools/musterd/otlp.hpp"
#include "tools/musterd/problem.hpp"
#include "tools/musterd/trace.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

constexpr const char* kKey = "0193577e-4d58-7cc3-98c4-dc0c0c07398f";

/// A collector on a loopback port.
struct Collector {
  Collector() {
    server = std::move(*HttpServer::start({"", "127.0.0.1:0", {}},
                                          {[this](Request& request) {
                                             const std::lock_guard lock(mutex);
                                             bodies.push_back(request.path + " " + request.body);
                                             Response response;
                                             response.status = status;
                                             return response;
                                           },
                                           [](Request&) { return 1u << 20; }, refusal}));
  }
  [[nodiscard]] std::string address() const {
    return "http://127.0.0.1:" + std::to_string(server->tcp_port());
  }
  std::mutex mutex;
  std::vector<std::string> bodies;
  std::atomic<int> status{200};
  std::unique_ptr<HttpServer> server;
};

Span span(const std::string& name) {
  Span made;
  made.trace_id = std::string(32, 'a');
  made.span_id = std::string(16, 'b');
  made.name = name;
  made.server = true;
  made.begin = Instant{1'800'000'000'000};
  made.end = made.begin + Duration{5};
  made.attributes = {{"http.route", "/v1/fleets"}};
  return made;
}

/// Every metric's name in a text that Prometheus scrapes, or that names metrics in expressions.
std::set<std::string> names_in(const std::string& text) {
  std::set<std::string> names;
  for (std::size_t at = 0; (at = text.find("muster_", at)) != std::string::npos;) {
    const std::size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_", at);
    std::string name = text.substr(at, end - at);
    for (const char* suffix : {"_bucket", "_sum", "_count"})
      if (name.ends_with(suffix)) name.resize(name.size() - std::strlen(suffix));
    names.insert(name);
    at = end;
  }
  return names;
}

std::string file_text(const char* name) {
  std::ifstream file(std::string(MUSTER_SOURCE_DIR) + "/tools/musterd/observability/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

engine::ShardStats busy_shard() {
  engine::ShardStats shard;
  shard.commits = 3;
  shard.batch.observe(1);
  shard.batch.observe(5);
  shard.sync_us.observe(250);
  shard.steps_us["run"].observe(40);
  shard.dead_letters["run"] = 2;
  shard.mailbox_messages = 7;
  for (const char* name : {"live_sst_bytes", "memtable_bytes", "pending_compaction_bytes",
                           "running_compactions", "running_flushes", "write_stopped",
                           "delayed_write_rate", "background_errors", "estimated_keys"})
    shard.store[name] = 1;
  return shard;
}

}  // namespace

TEST_CASE("a trace is the caller's, or its key's, and malformed ones are as none") {
  const std::string theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const TraceContext given = trace_of(theirs, kKey);
  CHECK(given.trace_id == "0af7651916cd43dd8448eb211c80319c");
  CHECK(given.parent == "b7ad6b7169203331");
  CHECK(given.sampled);
  CHECK(given.span.size() == 16);
  CHECK(given.traceparent() == "00-0af7651916cd43dd8448eb211c80319c-" + given.span + "-01");
  CHECK(!trace_of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "").sampled);
  // A later version may say more after what we know.
  CHECK(trace_of("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", "").parent ==
        "b7ad6b7169203331");
  for (const char* wrong : {"", "00", "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"}) {
    INFO(wrong);
    const TraceContext own = trace_of(wrong, kKey);
    CHECK(own.trace_id == "0193577e4d587cc398c4dc0c0c07398f");
    CHECK(own.parent.empty());
  }
  CHECK(trace_of("", "no key").trace_id.size() == 32);
}

TEST_CASE("log lines know their request, and nested ones the inner") {
  CHECK(LogContext::correlation().empty());
  {
    const LogContext outer("K1", "T1");
    {
      const LogContext inner("K2", "T2");
      CHECK(LogContext::correlation() == "K2");
    }
    CHECK(LogContext::correlation() == "K1");
    CHECK(LogContext::trace_id() == "T1");
    std::thread([] { CHECK(LogContext::correlation().empty()); }).join();
  }
  CHECK(LogContext::trace_id().empty());
}

TEST_CASE("spans are OTLP's JSON") {
  Span failed = span("GET /v1/fleets");
  failed.failed = true;
  failed.parent = std::string(16, 'c');
  CHECK(
      otlp_json({failed}, "1.2") ==
      R"({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"musterd"}},)"
      R"({"key":"service.version","value":{"stringValue":"1.2"}}]},"scopeSpans":[{"scope":{"name":"muster"},)"
      R"("spans":[{"traceId":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","spanId":"bbbbbbbbbbbbbbbb","name":"GET /v1/fleets",)"
      R"("kind":2,"startTimeUnixNano":"1800000000000000000","endTimeUnixNano":"1800000000005000000",)"
      R"("parentSpanId":"cccccccccccccccc","attributes":[{"key":"http.route","value":{"stringValue":"/v1/fleets"}}],)"
      R"("status":{"code":2}}]}]}]})");
}

TEST_CASE("spans reach a collector in batches; without one they are counted and nobody waits") {
  Collector collector;
  {
    OtlpExporter exporter(collector.address());
    for (int i = 0; i < 300; ++i) exporter.add(span("s" + std::to_string(i)));
    while (exporter.sent() < 256) std::this_thread::yield();
  }  // What waits is sent before it ends.
  const std::lock_guard lock(collector.mutex);
  REQUIRE(collector.bodies.size() == 2);
  CHECK(collector.bodies[0].find("/v1/traces {\"resourceSpans\"") == 0);
  CHECK(collector.bodies[1].find("\"s299\"") != std::string::npos);

  OtlpLimits limits;
  limits.waiting = 10;
  limits.batch = 100;
  limits.gather = Duration{60'000};
  OtlpExporter nobody("http://127.0.0.1:1", limits);
  for (int i = 0; i < 15; ++i) nobody.add(span("lost"));
  CHECK(nobody.dropped() == 5);
}

TEST_CASE("work is linked to the request that it comes of, while that is remembered") {
  Collector collector;
  OtlpLimits limits;
  limits.remembered = 2;
  {
    OtlpExporter exporter(collector.address(), limits);
    const auto add = [&](bool server, const std::string& name, const std::string& key, char trace) {
      Span one = span(name);
      one.server = server;
      one.trace_id = std::string(32, trace);
      one.attributes[kCorrelation] = key;
      exporter.add(std::move(one));
    };
    add(true, "call", "K1", '1');
    add(true, "call", "K1", '2');  // Repeated under its key, in another trace.
    add(true, "read", "", '3');
    add(false, "attempt 1", "K1", 'a');
    add(true, "call", "K2", '4');
    add(true, "call", "K3", '5');
    add(false, "attempt 2", "K1", 'a');
    add(false, "attempt 3", "", 'a');
  }
  const std::lock_guard lock(collector.mutex);
  REQUIRE(collector.bodies.size() == 1);
  const auto document = Json::parse(collector.bodies.front().substr(std::strlen("/v1/traces ")));
  std::map<std::string, std::string> links;
  for (const auto& one : document.at("resourceSpans").at(0).at("scopeSpans").at(0).at("spans"))
    if (one.contains("links"))
      links[one.at("name")] = one.at("links").at(0).at("traceId").get<std::string>() + " " +
                              one.at("links").at(0).at("spanId").get<std::string>();
  CHECK(links == std::map<std::string, std::string>{
                     {"attempt 1", std::string(32, '2') + " " + std::string(16, 'b')}});
}

TEST_CASE("a collector that says no loses the batch, and the count says so") {
  Collector collector;
  collector.status = 503;
  OtlpLimits limits;
  limits.batch = 2;
  OtlpExporter exporter(collector.address(), limits);
  exporter.add(span("a"));
  exporter.add(span("b"));
  while (exporter.dropped() < 2) std::this_thread::yield();
  CHECK(exporter.sent() == 0);
}

TEST_CASE_METHOD(ApiFixture, "an attempt that ended is measured once, phase by phase") {
  fbs::AttemptRowT attempt;
  attempt.attempt = 1;
  attempt.host = "h1";
  attempt.queued_unix_ms = 1'000;
  attempt.placed_unix_ms = 3'000;
  attempt.running_unix_ms = 3'500;
  attempt.verifying_unix_ms = 4'500;
  attempt.finished_unix_ms = 5'000;
  attempt.report = std::make_unique<wire::AttemptReportT>();
  attempt.report->warm_sandbox = wire::Reuse::hit;
  attempt.report->fetch_ms = 100;
  attempt.report->create_ms = 300;
  engine.put_row("run", "7K2M", "attempt/0001", attempt);
  fbs::RunHeadT head;
  head.fleet = "bump";
  head.repository = "acme/api";
  head.attempt = 1;
  head.state = fbs::RunState::verifying;
  engine.put_head("run", "7K2M", head);

  std::mutex mutex;
  std::string told;
  {
    AttemptWatch watch(engine, View(engine),
                       {[&](const std::string& phase, double seconds) {
                          const std::lock_guard lock(mutex);
                          told += phase + " " + std::to_string(seconds).substr(0, 3) + "\n";
                        },
                        nullptr,
                        [&](const char* what, bool hit) {
                          const std::lock_guard lock(mutex);
                          told += std::string(what) + (hit ? " hit\n" : " miss\n");
                        }});
    const auto commit = [&](fbs::RunBody type, std::vector<engine::IndexChange> indexes = {}) {
      engine.subscriber(
          {{1, {"default", "run", "7K2M"}, static_cast<std::uint16_t>(type), std::move(indexes)}});
    };
    commit(fbs::RunBody::HostEvent);
    commit(fbs::RunBody::StateTimeout);  // It may have ended the attempt, and has not.
    head.state = fbs::RunState::failed;
    engine.put_head("run", "7K2M", head);
    commit(fbs::RunBody::HostEvent, {{"placed", "7K2M", std::nullopt}});
    for (bool done = false; !done; std::this_thread::yield()) {
      const std::lock_guard lock(mutex);
      done = told.find("warm_sandbox") != std::string::npos;
    }
    commit(fbs::RunBody::CancelRun);
  }
  CHECK(told == "queue 2.0\nstart 0.5\nagent 1.0\nverify 0.5\nfetch 0.1\ncreate 0.3\nwarm_sandbox hit\n");

  attempt.class_ = fbs::FailureClass::verification;
  const auto spans = spans_of("7K2M", head, attempt);
  REQUIRE(spans.size() == 5);
  CHECK(spans[0].failed);
  CHECK(spans[0].attributes.at("muster.fleet") == "bump");
  for (std::size_t i = 1; i < spans.size(); ++i) {
    CHECK(spans[i].parent == spans[0].span_id);
    CHECK(spans[i].trace_id == spans[0].trace_id);
  }
}

TEST_CASE("the engine's histograms are cumulative, in base units, and end at infinity") {
  const auto families = engine_families({busy_shard()});
  const auto batch = std::find_if(families.begin(), families.end(), [](const auto& family) {
    return family.name == "muster_commit_batch_decisions";
  });
  REQUIRE(batch != families.end());
  const auto& histogram = batch->metric.at(0).histogram;
  CHECK(histogram.sample_count == 2);
  CHECK(histogram.sample_sum == 6);
  CHECK(histogram.bucket.front().upper_bound == 1);
  CHECK(histogram.bucket.front().cumulative_count == 1);
  CHECK(histogram.bucket.at(1).upper_bound == 7);
  CHECK(histogram.bucket.at(1).cumulative_count == 2);
  CHECK(std::isinf(histogram.bucket.back().upper_bound));
  const auto sync = std::find_if(families.begin(), families.end(), [](const auto& family) {
    return family.name == "muster_commit_sync_seconds";
  });
  CHECK(sync->metric.at(0).histogram.sample_sum == Approx(250e-6));
}

TEST_CASE_METHOD(
    ApiFixture,
    "what the dashboard and the alerts name is what is scraped, and the other way round") {
  metrics.count_request("GET", "/v1/fleets", 200, 0.01);
  metrics.count_request("BREW-" + std::string(100, 'x'), "none", 405, 0.01);
  metrics.observe_phase("agent", 3);
  Metrics::Now now;
  now.shards = {busy_shard()};
  now.runs["queued"] = now.failed_runs["agent"] = now.fleets["running"] = now.hosts["ready"] = 1;
  now.queued_by_cause["no_host"] = 1;
  now.longest_wait_by_cause["no_host"] = Duration{1'500};
  metrics.count_reuse("warm_sandbox", true);
  metrics.count_reuse("warm_sandbox", false);
  metrics.count_reuse("warm_sandbox", true);
  const std::string text = metrics.scrape(now);
  CHECK(text.find("BREW") == std::string::npos);
  CHECK(text.find("muster_attempt_reuse_total{result=\"hit\",what=\"warm_sandbox\"} 2") != std::string::npos);
  CHECK(text.find("muster_attempt_reuse_total{result=\"miss\",what=\"warm_sandbox\"} 1") != std::string::npos);
  const std::set<std::string> scraped = names_in(text);
  const std::string dashboard = file_text("dashboard.json");
  const std::string alerts = file_text("alerts.yaml");
  REQUIRE(Json::parse(dashboard, nullptr, false).is_object());
  REQUIRE(!alerts.empty());
  std::set<std::string> named = names_in(dashboard);
  named.merge(names_in(alerts));
  for (const std::string& name : named) {
    INFO(name);
    CHECK(scraped.contains(name));
  }
  CHECK(text.find("muster_queue_wait_seconds{cause=\"no_host\"} 1.5") != std::string::npos);
  // A cause that nobody waits for any more goes to zero, not away.
  now.queued_by_cause.clear();
  CHECK(metrics.scrape(now).find("muster_runs_held{cause=\"no_host\"} 0") != std::string::npos);
}

TEST_CASE_METHOD(ApiFixture, "every answer passes the trace on") {
  const Response response = send("GET", "/healthz/live");
  REQUIRE(!response.headers.empty());
  CHECK(response.headers.back().first == "traceparent");
  CHECK(response.headers.back().second.substr(0, 3) == "00-");
}
