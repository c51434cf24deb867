// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids are hexadecimal there,
// 64-bit numbers text.
#include "tools/musterd/otlp.hpp"

#include <curl/curl.h>

#include <nlohmann/json.hpp>
#include <tuple>

#include "tools/musterd/version.hpp"

namespace muster::musterd {
namespace {

using nlohmann::ordered_json;

constexpr int kServer = 2;    // SPAN_KIND_SERVER
constexpr int kInternal = 1;  // SPAN_KIND_INTERNAL
constexpr int kError = 2;     // STATUS_CODE_ERROR

std::string nanoseconds(Instant t) {
  return std::to_string(t.unix_ms) + "000000";
}

ordered_json attribute(const std::string& key, const std::string& value) {
  return {{"key", key}, {"value", {{"stringValue", value}}}};
}

ordered_json span_json(const Span& span) {
  ordered_json json = {{"traceId", span.trace_id},
                       {"spanId", span.span_id},
                       {"name", span.name},
                       {"kind", span.server ? kServer : kInternal},
                       {"startTimeUnixNano", nanoseconds(span.begin)},
                       {"endTimeUnixNano", nanoseconds(span.end)}};
  if (!span.parent.empty()) json["parentSpanId"] = span.parent;
  ordered_json attributes = ordered_json::array();
  for (const auto& [key, value] : span.attributes) attributes.push_back(attribute(key, value));
  json["attributes"] = std::move(attributes);
  if (!span.cause_trace.empty())
    json["links"] =
        ordered_json::array({{{"traceId", span.cause_trace}, {"spanId", span.cause_span}}});
  if (span.failed) json["status"] = {{"code", kError}};
  return json;
}

std::size_t ignore(char*, std::size_t size, std::size_t count, void*) {
  return size * count;
}

}  // namespace

std::string otlp_json(const std::vector<Span>& spans, const std::string& version) {
  ordered_json list = ordered_json::array();
  for (const Span& span : spans) list.push_back(span_json(span));
  const ordered_json resource = {
      {"attributes",
       {attribute("service.name", "musterd"), attribute("service.version", version)}}};
  const ordered_json scope = {{"scope", {{"name", "muster"}}}, {"spans", std::move(list)}};
  const ordered_json document = {
      {"resourceSpans", ordered_json::array({{{"resource", resource},
                                              {"scopeSpans", ordered_json::array({scope})}}})}};
  return document.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

OtlpExporter::OtlpExporter(std::string endpoint, OtlpLimits limits)
    : url_(std::move(endpoint) + "/v1/traces"), limits_(limits), thread_([this] { run(); }) {}

OtlpExporter::~OtlpExporter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_one();
  }
  thread_.join();
}

void OtlpExporter::add(Span span) {
  const std::lock_guard lock(mutex_);
  link(span);
  if (waiting_.size() >= limits_.waiting) {
    ++dropped_;
    return;
  }
  waiting_.push_back(std::move(span));
  if (waiting_.size() >= limits_.batch) changed_.notify_one();
}

void OtlpExporter::link(Span& span) {
  const auto correlation = span.attributes.find(kCorrelation);
  if (correlation == span.attributes.end() || correlation->second.empty()) return;
  if (!span.server) {
    if (const auto found = requests_.find(correlation->second); found != requests_.end())
      std::tie(span.cause_trace, span.cause_span) = found->second;
    return;
  }
  const bool known = requests_.contains(correlation->second);
  requests_[correlation->second] = {span.trace_id, span.span_id};
  if (known) return;
  requests_order_.push_back(correlation->second);
  if (requests_order_.size() <= limits_.remembered) return;
  requests_.erase(requests_order_.front());
  requests_order_.pop_front();
}

void OtlpExporter::run() {
  for (;;) {
    std::vector<Span> batch;
    bool last = false;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, limits_.gather,
                        [this] { return stopping_ || waiting_.size() >= limits_.batch; });
      const std::size_t count = std::min(waiting_.size(), limits_.batch);
      for (std::size_t i = 0; i < count; ++i) {
        batch.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
      }
      last = stopping_ && waiting_.empty();
    }
    // A collector that is away is not waited for: its spans are gone, and counted.
    if (!batch.empty())
      (post(otlp_json(batch, std::string(kVersion))) ? sent_ : dropped_) += batch.size();
    if (last) return;
  }
}

bool OtlpExporter::post(const std::string& body) const {
  CURL* curl = ::curl_easy_init();
  curl_slist* headers = ::curl_slist_append(nullptr, "Content-Type: application/json");
  ::curl_easy_setopt(curl, CURLOPT_URL, url_.c_str());
  ::curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  ::curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  ::curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(limits_.timeout.count()));
  ::curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  ::curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  ::curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
  ::curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
  const CURLcode code = ::curl_easy_perform(curl);
  long status = 0;
  ::curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  ::curl_slist_free_all(headers);
  ::curl_easy_cleanup(curl);
  return code == CURLE_OK && status / 100 == 2;
}

}  // namespace muster::musterd
