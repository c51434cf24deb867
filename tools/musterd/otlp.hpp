// Spans over OTLP/HTTP as JSON, to one collector. A bounded queue and a thread: whoever ends a span
// never waits, and what finds no room is dropped and counted. The collector's trouble is nobody
// else's.
//
//   OtlpExporter exporter("http://127.0.0.1:4318");
//   exporter.add({.trace_id = …, .name = "POST /v1/fleets", …});
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "storage/base/time.hpp"

namespace muster::musterd {

struct Span {
  std::string trace_id;
  std::string span_id;
  std::string parent;  ///< May be empty.
  std::string name;
  bool server = false;  ///< A request that we answered; else work of our own.
  Instant begin;
  Instant end;
  bool failed = false;
  std::map<std::string, std::string> attributes;
  // A link: the request that it comes of, in its caller's trace. May be empty.
  std::string cause_trace;
  std::string cause_span;
};

/// The attribute by which a request and what comes of it are known: its Idempotency-Key.
constexpr const char* kCorrelation = "muster.correlation";

/// ExportTraceServiceRequest in OTLP's JSON.
std::string otlp_json(const std::vector<Span>& spans, const std::string& version);

struct OtlpLimits {
  std::size_t waiting = 2'048;
  std::size_t batch = 256;
  std::size_t remembered = 4'096;  ///< Requests, for what comes of them later.
  Duration gather{2'000};   ///< For more spans before a batch that is not full goes.
  Duration timeout{5'000};  ///< Of one request.
};

class OtlpExporter {
 public:
  /// `endpoint` without /v1/traces.
  explicit OtlpExporter(std::string endpoint, OtlpLimits limits = {});
  /// Sends what waits, once.
  ~OtlpExporter();
  OtlpExporter(const OtlpExporter&) = delete;
  OtlpExporter& operator=(const OtlpExporter&) = delete;

  /// Work of our own is linked to the request with its kCorrelation, while that is remembered.
  void add(Span span);
  [[nodiscard]] std::uint64_t sent() const { return sent_; }
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 private:
  void link(Span& span);
  void run();
  bool post(const std::string& body) const;

  const std::string url_;
  const OtlpLimits limits_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Span> waiting_;  ///< Under mutex_.
  bool stopping_ = false;     ///< Under mutex_.
  std::map<std::string, std::pair<std::string, std::string>> requests_;  ///< Under mutex_.
  std::deque<std::string> requests_order_;                               ///< Under mutex_.
  std::atomic<std::uint64_t> sent_{0};
  std::atomic<std::uint64_t> dropped_{0};
  std::thread thread_;
};

}  // namespace muster::musterd
