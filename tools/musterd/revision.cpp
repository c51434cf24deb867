#include "tools/musterd/revision.hpp"

#include <algorithm>

#include "engine/core/revision.hpp"
#include "storage/journal/journal.hpp"
#include "tools/musterd/limits_store.hpp"
#include "tools/musterd/problem.hpp"

namespace muster::musterd {
namespace {

constexpr std::string_view kLimits = "/v1/limits";
constexpr std::size_t kMostTags = 16;
constexpr std::size_t kLongestTag = 64;

struct NamedRevision {
  std::string_view pattern;
  std::string_view kind;
  std::string_view parameter;
  std::string_view rows;  ///< Which of its rows are part of it; empty: none.
};
constexpr NamedRevision kNamed[] = {{"/v1/fleets/{name}", "fleet", "name", ""},
                            {"/v1/swarms/{name}", "swarm", "name", "line/"},
                            {"/v1/runs/{id}", "run", "id", "attempt/"},
                            {"/v1/pulls/{id}", "pull", "id", "body"},
                            {"/v1/hosts/{name}", "host", "name", ""}};

const NamedRevision* resource_of(std::string_view pattern) {
  for (const NamedRevision& named : kNamed)
    if (pattern == named.pattern ||
        (pattern.starts_with(named.pattern) && pattern[named.pattern.size()] == '/'))
      return &named;
  return nullptr;
}

Result<engine::ActorId> actor_at(const ApiContext& api, const Request& request,
                                 const NamedRevision& named) {
  const std::string& key = request.params.find(named.parameter)->second;
  if (named.kind != "run") return api.view.actor(named.kind, key);
  auto run = api.view.find_run(key);
  if (!run) return tl::unexpected<Error>(run.error());
  return api.view.actor("run", *run);
}

Result<std::string> revision_of(const ApiContext& api, const engine::ActorId& actor,
                                std::string_view prefix) {
  const auto head = api.parts.engine.head(actor);
  if (!head) return tl::unexpected<Error>(head.error());
  if (!*head) return std::string();
  engine::NamedRows rows;
  if (!prefix.empty()) {
    const auto read = api.parts.engine.rows(actor, prefix, storage::prefix_end(std::string(prefix)),
                                            [&](std::string_view key, std::string_view value) {
                                              rows.emplace_back(key, value);
                                              return rows.size() < engine::kRevisionRows;
                                            });
    if (!read) return tl::unexpected<Error>(read.error());
  }
  return engine::revision_of(**head, rows);
}

/// The tags of a header, without their quotes; "*" as it is. What is no tag is passed over.
std::vector<std::string> tags_of(std::string_view header) {
  std::vector<std::string> tags;
  while (!header.empty()) {
    const std::size_t comma = std::min(header.find(','), header.size());
    std::string_view tag = header.substr(0, comma);
    header.remove_prefix(std::min(comma + 1, header.size()));
    while (!tag.empty() && (tag.front() == ' ' || tag.front() == '\t')) tag.remove_prefix(1);
    while (!tag.empty() && (tag.back() == ' ' || tag.back() == '\t')) tag.remove_suffix(1);
    if (tag.starts_with("W/")) tag.remove_prefix(2);
    if (tag == "*") tags.emplace_back(tag);
    if (tag.size() < 3 || tag.size() > kLongestTag || tag.front() != '"' || tag.back() != '"')
      continue;
    tag = tag.substr(1, tag.size() - 2);
    if (tag.find(' ') == std::string_view::npos && tags.size() < kMostTags) tags.emplace_back(tag);
  }
  return tags;
}

}  // namespace

bool names_revision(std::string_view header, std::string_view revision) {
  for (const std::string& tag : tags_of(header))
    if (tag == "*" || tag == revision) return true;
  return false;
}

Result<std::string> revision_at(const ApiContext& api, const Request& request,
                                std::string_view pattern) {
  if (pattern == kLimits)
    return api.parts.limits != nullptr ? api.parts.limits->state().revision : std::string();
  const NamedRevision* named = resource_of(pattern);
  if (named == nullptr) return std::string();
  const auto actor = actor_at(api, request, *named);
  if (!actor) return tl::unexpected<Error>(actor.error());
  return revision_of(api, *actor, named->rows);
}

std::string revision_to_tell(const ApiContext& api, const Request& request,
                             std::string_view pattern) {
  const NamedRevision* named = resource_of(pattern);
  if (pattern != kLimits && (named == nullptr || pattern != named->pattern)) return "";
  // What can't be found or read is told by the handler.
  return revision_at(api, request, pattern).value_or("");
}

std::optional<Response> check_precondition(const Request& request, std::string_view pattern) {
  const std::string wanted = request.header("If-Match");
  if (wanted.empty()) return std::nullopt;
  if (resource_of(pattern) == nullptr && pattern != kLimits)
    return problem({Errc::invalid, "If-Match: what is changed here has no revision"});
  if (tags_of(wanted).empty())
    return problem({Errc::invalid, "If-Match: '" + wanted + "' is no ETag in its quotes"});
  return std::nullopt;
}

void put_precondition(const Request& request, engine::Call& call) {
  const std::vector<std::string> tags = tags_of(request.header("If-Match"));
  if (std::find(tags.begin(), tags.end(), "*") != tags.end()) return;
  for (const std::string& tag : tags) call.only_if += (call.only_if.empty() ? "" : " ") + tag;
  for (const NamedRevision& named : kNamed)
    if (!tags.empty() && named.kind == call.to.kind) call.only_if_rows = named.rows;
}

Response not_modified(const std::string& revision) {
  Response response;
  response.status = 304;
  response.content_type.clear();
  response.headers.emplace_back("ETag", '"' + revision + '"');
  return response;
}

Response precondition_failed(const std::string& revision) {
  static const ProblemKind kKind = {412, "precondition-failed", "It is not as you saw it",
                                    "read it again, and repeat with its ETag and a new key"};
  Response response =
      problem(kKind, Errc::conflict, "it has changed since: its revision is \"" + revision + '"');
  response.headers.emplace_back("ETag", '"' + revision + '"');
  return response;
}

}  // namespace muster::musterd
