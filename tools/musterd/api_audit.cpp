// /v1/audit
#include "storage/base/ids.hpp"
#include "tools/musterd/api_base.hpp"
#include "tools/musterd/sse.hpp"

namespace muster::musterd {
namespace {

struct AuditFilter {
  std::string who;
  std::string action;
  std::string text;
  std::optional<Instant> since;

  [[nodiscard]] bool takes(const Json& entry, const std::string& payload) const {
    if (!who.empty() && entry.value("who", "") != who) return false;
    if (!action.empty() && entry.value("action", "").find(action) == std::string::npos)
      return false;
    if (!text.empty() && payload.find(text) == std::string::npos) return false;
    if (!since) return true;
    const auto at = parse_rfc3339(entry.value("at", ""));
    return at && *at >= *since;
  }
};

Result<AuditFilter> read_audit_filter(const Request& request) {
  AuditFilter filter{request.parameter("who"), request.parameter("action"),
                     request.parameter("text"), std::nullopt};
  auto since = read_since(request);
  if (!since) return tl::unexpected<Error>(since.error());
  filter.since = *since;
  return filter;
}

/// The entry's own fields between its number and its hash.
Json entry_json(const AuditRecord& record, const Json& fields) {
  Json json = {{"number", record.number}};
  for (const auto& [key, value] : fields.items()) json[key] = value;
  json["hash"] = record.hash;
  return json;
}

Json fields_of(const AuditRecord& record) {
  Json fields = Json::parse(record.payload, nullptr, false);
  // Whatever stands there is shown: an audit log does not hide what it can't read.
  return fields.is_object() ? fields : Json{{"unreadable", record.payload}};
}

/// New entries that a filter takes, from a number on.
class AuditStream final : public SseSource {
 public:
  AuditStream(const AuditLog& log, AuditFilter filter, std::uint64_t number)
      : log_(log), filter_(std::move(filter)), number_(number) {}

  bool more(std::string& to) override {
    constexpr std::size_t kPage = 256;
    const auto records = log_.after(number_, kPage);
    if (!records) return false;
    for (const AuditRecord& record : *records) {
      number_ = record.number;
      const Json fields = fields_of(record);
      if (filter_.takes(fields, record.payload))
        to += sse_event(std::to_string(record.number), "", entry_json(record, fields));
    }
    return records->size() == kPage;
  }

 private:
  const AuditLog& log_;
  AuditFilter filter_;
  std::uint64_t number_;
};

Result<Response> list_audit(const ApiContext& api, const Request& request) {
  AuditLog& log = *api.parts.audit_log;
  auto filter = read_audit_filter(request);
  if (!filter) return tl::unexpected<Error>(filter.error());
  if (wants_events(request)) {
    const auto head = log.head();
    if (!head) return tl::unexpected<Error>(head.error());
    const auto from = last_event_id(request, head->number);
    if (!from) return tl::unexpected<Error>(from.error());
    return sse_response(std::make_shared<AuditStream>(log, std::move(*filter), *from),
                        [&log](Wakes::Wake wake) { return log.on_append(std::move(wake)); });
  }
  const auto page = read_page(request);
  if (!page) return tl::unexpected<Error>(page.error());
  const auto from = read_number(request, "after", 0, ~std::uint64_t{0} >> 1);
  if (!from) return tl::unexpected<Error>(from.error());
  std::uint64_t number =
      page->after.empty() ? *from : std::strtoull(page->after.c_str(), nullptr, 10);
  PageFill fill(*page);
  for (bool full = false; !full;) {
    constexpr std::size_t kChunk = 1'000;
    const auto records = log.after(number, kChunk);
    if (!records) return tl::unexpected<Error>(records.error());
    for (const AuditRecord& record : *records) {
      full = !fill.room();
      if (full) break;
      number = record.number;
      fill.seen(std::to_string(number));
      const Json fields = fields_of(record);
      if (filter->takes(fields, record.payload)) fill.items.push_back(entry_json(record, fields));
    }
    full = full || records->size() < kChunk;
  }
  const auto head = log.head();
  if (!head) return tl::unexpected<Error>(head.error());
  return json_response({{"entries", fill.items}, {"next", fill.next()}, {"last", head->number}});
}

Json report_json(const storage::AuditReport& report) {
  Json json = {{"sound", report.findings.empty()},
               {"first", report.first},
               {"last", report.head.number},
               {"hash", report.head.hash},
               {"entries", report.entries},
               {"signed_heads", report.signed_heads},
               {"newest_signed", nullptr},
               {"checkpoint", nullptr},
               {"torn", report.torn},
               {"findings", report.findings}};
  if (report.newest_signed)
    json["newest_signed"] = {{"number", report.newest_signed->head.number},
                             {"at", to_rfc3339(report.newest_signed->at)}};
  if (report.checkpoint)
    json["checkpoint"] = {{"number", report.checkpoint->head.number},
                          {"at", to_rfc3339(report.checkpoint->at)},
                          {"export_sha256", report.checkpoint->export_sha256}};
  return json;
}

Result<Response> verify_audit_log(const ApiContext& api, const Request&) {
  const auto report = api.parts.audit_log->verify();
  if (!report) return tl::unexpected<Error>(report.error());
  return json_response(report_json(*report));
}

/// Everything that is kept up to a number, as the lines of the chain's own files.
class ExportStream final : public BodyStream {
 public:
  ExportStream(const AuditLog& log, std::uint64_t upto) : log_(log), upto_(upto) {}

  Piece next() override {
    constexpr std::size_t kPage = 1'000;
    Piece piece;
    const auto records = log_.after(number_, kPage);
    // A client that gets no last line knows by the number it asked for that something is missing.
    if (!records || records->empty()) return {"", true};
    for (const AuditRecord& record : *records) {
      if (record.number > upto_) break;
      piece.bytes += storage::export_line({record.number, record.hash, record.payload});
      number_ = record.number;
    }
    piece.end = number_ >= upto_ || piece.bytes.empty();
    return piece;
  }
  void on_more(std::function<void()>) override {}

 private:
  const AuditLog& log_;
  const std::uint64_t upto_;
  std::uint64_t number_ = 0;
};

Result<Response> export_audit(const ApiContext& api, const Request& request) {
  const auto head = api.parts.audit_log->head();
  if (!head) return tl::unexpected<Error>(head.error());
  const auto upto = read_number(request, "upto", head->number, head->number);
  if (!upto) return tl::unexpected<Error>(upto.error());
  Response response;
  response.content_type = "text/plain; charset=utf-8";
  response.headers.emplace_back("Muster-Audit-Upto", std::to_string(*upto));
  response.stream = std::make_shared<ExportStream>(*api.parts.audit_log, *upto);
  return response;
}

Result<Response> prune_audit(const ApiContext& api, const Request& request) {
  const auto body = read_object(request, {"upto", "export_sha256", "reason", "by"});
  if (!body) return tl::unexpected<Error>(body.error());
  const auto upto = body->find("upto");
  if (upto == body->end() || !upto->is_number_unsigned())
    return fail(Errc::invalid, "'upto' must be the number of the last exported entry");
  const auto digest = read_text(*body, "export_sha256");
  if (!digest) return tl::unexpected<Error>(digest.error());
  if (!is_sha256_hex(*digest))
    return fail(Errc::invalid, "'export_sha256' must be the SHA-256 of the exported file");
  const auto reason = read_text(*body, "reason");
  if (!reason) return tl::unexpected<Error>(reason.error());
  const auto by = read_by(*body, request);
  if (!by) return tl::unexpected<Error>(by.error());
  // Before it happens: what goes must not go unseen.
  AuditLog& log = *api.parts.audit_log;
  const std::string number = std::to_string(upto->get<std::uint64_t>());
  if (auto noted = log.note_now({*by, request.who.how, request.peer.address, "audit.prune",
                                 "entries up to " + number, "asked", *reason,
                                 request.header("Idempotency-Key")});
      !noted)
    return tl::unexpected<Error>(noted.error());
  const auto checkpoint = log.prune(upto->get<std::uint64_t>(), *digest);
  if (!checkpoint) return tl::unexpected<Error>(checkpoint.error());
  return json_response({{"checkpoint",
                         {{"number", checkpoint->head.number},
                          {"hash", checkpoint->head.hash},
                          {"at", to_rfc3339(checkpoint->at)},
                          {"export_sha256", checkpoint->export_sha256}}}});
}

}  // namespace

void add_audit_routes(Router& router, ApiContext api) {
  const auto with = [api](auto handler) {
    return [api, handler](const Request& request) { return handler(api, request); };
  };
  router.add({"GET", "/v1/audit", with(list_audit), 0});
  router.add({"GET", "/v1/audit/verify", with(verify_audit_log), 0});
  router.add({"GET", "/v1/audit/export", with(export_audit), 0});
  router.add({"POST", "/v1/audit/prune", with(prune_audit), kMaxBody});
}

}  // namespace muster::musterd
