#include "tools/musterd/fleet_request.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "storage/base/ids.hpp"
#include "tools/musterd/api_base.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kNamed = 5;  // Repositories named in a difference.

Result<Json> read_labels(const Json& entry) {
  const auto labels = entry.find("labels");
  if (labels == entry.end() || labels->is_null()) return Json::object();
  if (!labels->is_object()) return fail(Errc::invalid, "'labels' must be an object of texts");
  for (const auto& [name, value] : labels->items())
    if (!value.is_string()) return fail(Errc::invalid, "label '" + name + "' must be text");
  return *labels;
}

/// One repository, in the snapshot's form. What the client resolved must be what its URL says: ids
/// of runs and of repositories follow from it.
Result<Json> read_repository(const Json& entry) {
  if (!entry.is_object()) return fail(Errc::invalid, "must be an object");
  Json out;
  for (const char* key : {"repository", "url", "canonical_url", "base_branch"}) {
    auto text = read_text(entry, key);
    if (!text) return tl::unexpected<Error>(text.error());
    out[key] = std::move(*text);
  }
  auto labels = read_labels(entry);
  if (!labels) return tl::unexpected<Error>(labels.error());
  out["labels"] = std::move(*labels);
  const auto name = parse_repository(out["url"].get<std::string>(), "/");
  if (!name) return tl::unexpected<Error>(name.error());
  if (out["canonical_url"] != name->canonical_url || out["repository"] != name->owner_name)
    return fail(Errc::invalid, "the URL " + out["url"].get<std::string>() + " is repository " +
                                   name->owner_name + " at " + name->canonical_url +
                                   ", not what 'repository' and 'canonical_url' say");
  return out;
}

struct Snapshot {
  std::string lines;
  std::uint32_t count = 0;
};

Result<Snapshot> read_repositories(const Json& body) {
  const auto list = body.find("repositories");
  if (list == body.end() || !list->is_array() || list->empty())
    return fail(Errc::invalid, "'repositories' must list at least one repository");
  if (list->size() > kMaxRepositories)
    return fail(Errc::invalid, "more than " + std::to_string(kMaxRepositories) + " repositories");
  Snapshot out;
  std::map<std::string, std::string> url_of;  // By OWNER/NAME.
  for (std::size_t i = 0; i < list->size(); ++i) {
    auto entry = read_repository((*list)[i]);
    if (!entry) return fail(entry.error(), "repositories[" + std::to_string(i) + "]");
    const auto name = (*entry)["repository"].get<std::string>();
    const auto url = (*entry)["canonical_url"].get<std::string>();
    const auto [known, fresh] = url_of.emplace(name, url);
    if (!fresh && known->second == url)
      return fail(Errc::invalid, "repository " + name + " is listed twice");
    if (!fresh)
      return fail(Errc::invalid, "two repositories are called " + name + ": " + known->second +
                                     " and " + url + "; a fleet can't tell them apart");
    out.lines += entry->dump() + "\n";
    ++out.count;
  }
  return out;
}

Result<actors::FleetSpec> read_spec(const Json& body) {
  const auto spec = body.find("spec");
  if (spec == body.end() || !spec->is_object())
    return fail(Errc::invalid, "'spec' must be the fleet file as an object");
  auto parsed = actors::parse_fleet(spec->dump());
  if (parsed) return std::move(*parsed);
  return fail(Errc::invalid, problem_lines(parsed.error()));
}

std::set<std::string> urls_of(const std::string& snapshot) {
  std::set<std::string> urls;
  std::istringstream lines(snapshot);
  for (std::string line; std::getline(lines, line);) {
    const Json entry = Json::parse(line, nullptr, false);
    if (entry.is_object()) urls.insert(entry.value("canonical_url", ""));
  }
  return urls;
}

void add_missing(std::vector<std::string>& lines, const std::set<std::string>& in,
                 const std::set<std::string>& not_in, std::string_view what) {
  std::string names;
  std::size_t count = 0;
  for (const std::string& url : in) {
    if (not_in.contains(url)) continue;
    if (++count <= kNamed) names += (count == 1 ? " " : ", ") + url;
  }
  if (count == 0) return;
  lines.push_back("repositories: " + std::to_string(count) + " " + std::string(what) + ":" + names +
                  (count > kNamed ? ", …" : ""));
}

}  // namespace

std::string problem_lines(const std::vector<actors::Problem>& problems) {
  std::string lines;
  for (const auto& problem : problems)
    lines += (lines.empty() ? "" : "\n") + (problem.pointer.empty() ? "/" : problem.pointer) +
             ": " + problem.message;
  return lines;
}

actors::FleetDigests FleetRequest::digests() const {
  return {sha256_hex(spec_json), sha256_hex(snapshot), agent_bundle};
}

Result<FleetRequest> read_fleet_request(const Json& body) {
  FleetRequest request;
  auto spec = read_spec(body);
  if (!spec) return tl::unexpected<Error>(spec.error());
  auto repositories = read_repositories(body);
  if (!repositories) return tl::unexpected<Error>(repositories.error());
  auto bundle = read_text(body, "agent_bundle");
  if (!bundle) return tl::unexpected<Error>(bundle.error());
  if (!bundle->empty() && !is_sha256_hex(*bundle))
    return fail(Errc::invalid, "'agent_bundle' must be a SHA-256 in hexadecimal, or \"\"");
  auto author = read_text(body, "author");
  if (!author) return tl::unexpected<Error>(author.error());
  const auto dry_run = body.find("dry_run");
  if (dry_run != body.end() && !dry_run->is_boolean())
    return fail(Errc::invalid, "'dry_run' must be true or false");
  request.dry_run = dry_run != body.end() && dry_run->get<bool>();
  request.spec = std::move(*spec);
  request.spec_json = actors::to_canonical_json(request.spec);
  request.repositories = repositories->count;
  request.snapshot = std::move(repositories->lines);
  request.agent_bundle = std::move(*bundle);
  request.author = std::move(*author);
  return request;
}

std::vector<std::string> fleet_differences(const FleetRequest& now, const fbs::CreateFleetT& old,
                                           const std::string& old_spec_json,
                                           const std::string& old_snapshot) {
  std::vector<std::string> lines = actors::differences(old_spec_json, now.spec_json);
  const std::set<std::string> before = urls_of(old_snapshot);
  const std::set<std::string> after = urls_of(now.snapshot);
  add_missing(lines, after, before, "more");
  add_missing(lines, before, after, "fewer");
  if (before == after && old_snapshot != now.snapshot)
    lines.push_back("repositories: the same, with other branches, labels, spelling or order");
  if (old.agent_bundle != now.agent_bundle)
    lines.push_back("agent: the script or its files have other content");
  const bool was_dry = old.policy && old.policy->dry_run;
  if (was_dry != now.dry_run)
    lines.push_back(std::string("dry run: ") + (was_dry ? "true" : "false") + " -> " +
                    (now.dry_run ? "true" : "false"));
  return lines;
}

}  // namespace muster::musterd
