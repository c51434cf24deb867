// What the handlers of the API share: reading bodies and parameters, pages, and calls of the
// engine. Private to the api_*.cpp files.
#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>

#include "engine/core/kind.hpp"
#include "tools/musterd/api.hpp"
#include "tools/musterd/render.hpp"

namespace muster::musterd {

// Named limits of the API.
inline constexpr std::size_t kMaxBody = 1u << 20;
inline constexpr std::size_t kMaxBlob = 64u << 20;
inline constexpr std::size_t kMaxFleetBody = 32u << 20;  ///< 50,000 repositories beside a spec.
inline constexpr std::size_t kMaxDiff = 8u << 20;
inline constexpr std::size_t kDefaultPage = 100;
inline constexpr std::size_t kMaxPage = 1000;
inline constexpr std::size_t kMaxScanned = 20'000;  ///< Entries looked at for one page.
inline constexpr Duration kCallLimit{30'000};       ///< For the engine to answer a write.

struct ApiContext {
  const ApiParts& parts;
  const View& view;
  ListMemory& lists;
  RowMemory& rows;
};

void add_fleet_routes(Router& router, ApiContext api);
void add_swarm_routes(Router& router, ApiContext api);
void add_run_routes(Router& router, ApiContext api);
void add_snapshot_routes(Router& router, ApiContext api);
void add_pull_routes(Router& router, ApiContext api);
void add_host_routes(Router& router, ApiContext api);
void add_system_routes(Router& router, ApiContext api);
void add_limits_routes(Router& router, ApiContext api);
void add_audit_routes(Router& router, ApiContext api);
void add_admin_routes(Router& router, ApiContext api);

Response json_response(const Json& json, int status = 200);

/// The body as an object with no other keys than these; an empty body is {}.
Result<Json> read_object(const Request& request, std::initializer_list<std::string_view> keys);
/// A text member; absent: "". Errc::invalid when it is not text, or longer than 4 KiB.
Result<std::string> read_text(const Json& object, std::string_view key);

/// A member that is true or false; absent: false.
Result<bool> read_flag(const Json& object, std::string_view key);

/// `state`, or `status`, which means the same.
std::string state_parameter(const Request& request);

/// The filters that every list has: `since` and `text`.
struct CommonFilter {
  std::optional<Instant> since;
  std::string text;

  /// Whether it was `changed` late enough and one of the `fields` holds the text, in any case.
  [[nodiscard]] bool takes(std::int64_t changed_unix_ms,
                           std::initializer_list<std::string_view> fields) const;
};
Result<CommonFilter> read_common_filter(const Request& request);

/// The `since` parameter: a time, or a duration back from now ("10m"). Nothing when absent.
Result<std::optional<Instant>> read_since(const Request& request);

/// Who a write is put down to: the caller; on the owner's socket whoever "by" names.
Result<std::string> read_by(const Json& object, const Request& request);

/// The body of a write that bears only who and why: {"reason", "by"}.
struct OrderWords {
  std::string reason, by;
};
Result<OrderWords> read_order(const Request& request);

/// An order that concerns more than one actor's own decision.
struct OrderNote {
  std::string by;
  std::string action;  ///< "operation.retry", "message.send", "backup.create"
  std::string target;
  std::string reason;
};
/// Into the audit log, on disk before the order is carried out. An installation without a log, as
/// some tests are, notes nothing.
Result<void> note_order(const ApiContext& api, const Request& request, const OrderNote& note);

struct Page {
  std::string after;  ///< The last key shown; "": from the start.
  std::size_t limit = kDefaultPage;
  std::string list;  ///< Which list the page goes on with (list_memory.hpp); "": it begins one.
};
Result<Page> read_page(const Request& request);

/// Counts what a page shows and what it looked at, and remembers where to go on.
class PageFill {
 public:
  explicit PageFill(const Page& page) : limit_(page.limit) {}
  /// Before an entry: false when the page is full, or enough was looked at.
  bool room() {
    more_ = items.size() >= limit_ || scanned_ >= kMaxScanned;
    ++scanned_;
    return !more_;
  }
  void seen(std::string key) { last_ = std::move(key); }
  /// The cursor of the next page; null without one.
  [[nodiscard]] Json next(const std::string& list = {}) const;

  Json items = Json::array();

 private:
  std::size_t limit_;
  std::size_t scanned_ = 0;
  bool more_ = false;
  std::string last_;
};

/// Errc::invalid unless `value` is empty or one of the enum's names.
template <class Enum, std::size_t N>
Result<void> check_name(std::string_view parameter, const std::string& value,
                        const Enum (&values)[N]) {
  if (value.empty()) return {};
  std::string known;
  for (const Enum each : values) {
    if (name_of(each) == value) return {};
    known += (known.empty() ? "" : ", ") + std::string(name_of(each));
  }
  return fail(Errc::invalid, std::string(parameter) + "=" + value + " is none of " + known);
}

/// A number parameter; absent: `absent`. Errc::invalid for anything but digits up to `max`.
Result<std::uint64_t> read_number(const Request& request, std::string_view name,
                                  std::uint64_t absent, std::uint64_t max);

/// A message of a kind, numbered by its place in the union `Traits` belongs to.
template <template <class> class Traits, class Message>
engine::Payload payload_of(const Message& message) {
  return {static_cast<std::uint16_t>(Traits<Message>::enum_value), engine::encode_table(message)};
}

/// Sends a write under the request's Idempotency-Key and waits for its durable reply, kCallLimit at
/// most.
Result<std::string> call_actor(const ApiContext& api, const Request& request, engine::ActorId to,
                               engine::Payload payload,
                               engine::Lane lane = engine::Lane::operator_);

/// Runs of a fleet that wait, by what they wait for.
Result<std::map<std::string, std::uint32_t>> why_waiting(const ApiContext& api,
                                                         const fbs::FleetHeadT& head);
Result<Response> fleet_response(const ApiContext& api, const std::string& name, int status = 200);

}  // namespace muster::musterd
