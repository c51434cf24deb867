#include "tools/musterd/revision.hpp"

#include <cctype>

#include "engine/core/inspect.hpp"
#include "engine/core/keys.hpp"
#include "storage/base/ids.hpp"
#include "storage/journal/journal.hpp"
#include "tools/musterd/problem.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kRevisionLength = 16;

struct Named {
  std::string_view pattern;
  std::string_view kind;
  std::string_view parameter;
  std::string_view rows;  ///< Which of its rows are part of it; empty: none.
};
constexpr Named kNamed[] = {{"/v1/fleets/{name}", "fleet", "name", ""},
                            {"/v1/runs/{id}", "run", "id", "attempt/"},
                            {"/v1/pulls/{id}", "pull", "id", "body"},
                            {"/v1/hosts/{name}", "host", "name", ""}};

const Named* resource_of(std::string_view pattern) {
  for (const Named& named : kNamed)
    if (pattern == named.pattern ||
        (pattern.starts_with(named.pattern) && pattern[named.pattern.size()] == '/'))
      return &named;
  return nullptr;
}

Result<engine::ActorId> actor_at(const ApiContext& api, const Request& request,
                                 const Named& named) {
  const std::string& key = request.params.find(named.parameter)->second;
  if (named.kind != "run") return api.view.actor(named.kind, key);
  auto run = api.view.find_run(key);
  if (!run) return tl::unexpected<Error>(run.error());
  return api.view.actor("run", *run);
}

/// Whether the engine keeps the reply of that call.
bool is_repeat(const ApiContext& api, const Request& request, const engine::ActorId& actor) {
  const auto* inside = dynamic_cast<engine::Inside*>(&api.parts.engine);
  if (inside == nullptr) return false;
  std::string key = request.header("Idempotency-Key");  // As the shard spells it.
  for (char& c : key) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto kept = engine::journal_of(inside->journals(), actor)
                        .get(storage::Family::dedup, engine::keys::call(key));
  return kept && kept->has_value();
}

Result<std::string> revision_of(const ApiContext& api, const engine::ActorId& actor,
                                std::string_view rows) {
  const auto head = api.parts.engine.head(actor);
  if (!head) return tl::unexpected<Error>(head.error());
  if (!*head) return std::string();
  std::string text = **head;
  if (!rows.empty()) {
    const auto read =
        api.parts.engine.rows(actor, rows, storage::prefix_end(std::string(rows)),
                              [&](std::string_view key, std::string_view value) {
                                text += '\0' + std::string(key) + '\0' + std::string(value);
                                return true;
                              });
    if (!read) return tl::unexpected<Error>(read.error());
  }
  return sha256_hex(text).substr(0, kRevisionLength);
}

}  // namespace

bool names_revision(std::string_view header, std::string_view revision) {
  while (!header.empty()) {
    const std::size_t comma = std::min(header.find(','), header.size());
    std::string_view tag = header.substr(0, comma);
    header.remove_prefix(std::min(comma + 1, header.size()));
    while (!tag.empty() && (tag.front() == ' ' || tag.front() == '\t')) tag.remove_prefix(1);
    while (!tag.empty() && (tag.back() == ' ' || tag.back() == '\t')) tag.remove_suffix(1);
    if (tag == "*") return true;
    if (tag.starts_with("W/")) tag.remove_prefix(2);
    if (tag.size() == revision.size() + 2 && tag.front() == '"' && tag.back() == '"' &&
        tag.substr(1, revision.size()) == revision)
      return true;
  }
  return false;
}

Result<std::string> revision_at(const ApiContext& api, const Request& request,
                                std::string_view pattern) {
  const Named* named = resource_of(pattern);
  if (named == nullptr) return std::string();
  const auto actor = actor_at(api, request, *named);
  if (!actor) return tl::unexpected<Error>(actor.error());
  return revision_of(api, *actor, named->rows);
}

std::string revision_to_tell(const ApiContext& api, const Request& request,
                             std::string_view pattern) {
  const Named* named = resource_of(pattern);
  if (named == nullptr || pattern != named->pattern) return "";
  // What can't be found or read is told by the handler.
  return revision_at(api, request, pattern).value_or("");
}

std::optional<Response> check_precondition(const ApiContext& api, const Request& request,
                                           std::string_view pattern) {
  const std::string wanted = request.header("If-Match");
  if (wanted.empty()) return std::nullopt;
  const Named* named = resource_of(pattern);
  if (named == nullptr)
    return problem({Errc::invalid, "If-Match: what is changed here has no revision"});
  const auto revision = revision_at(api, request, pattern);
  if (!revision) return problem(revision.error());
  if (revision->empty()) return std::nullopt;  // The handler says that it is not there.
  if (names_revision(wanted, *revision)) return std::nullopt;
  if (const auto actor = actor_at(api, request, *named); actor && is_repeat(api, request, *actor))
    return std::nullopt;
  return precondition_failed(*revision);
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
