#include "tools/musterd/swarm_request.hpp"

#include <algorithm>
#include <set>

#include "actors/spec/derive.hpp"
#include "actors/swarm/reduce.hpp"
#include "actors/swarm/swarm_fleets.hpp"
#include "storage/base/ids.hpp"
#include "tools/musterd/api_base.hpp"
#include "tools/musterd/fleet_request.hpp"

namespace muster::musterd {
namespace {

namespace swarm = actors::swarm;

Result<swarm::SwarmSpec> read_swarm_spec(const Json& spec) {
  auto parsed = swarm::parse_swarm(spec.dump());
  if (parsed) return std::move(*parsed);
  return fail(Errc::invalid, problem_lines(parsed.error()));
}

/// One repository as the client resolved it, which must be what its path says.
Result<fbs::SwarmLineT> read_line(const Json& entry, const swarm::SwarmRepository& meant) {
  if (!entry.is_object()) return fail(Errc::invalid, "must be an object");
  fbs::SwarmLineT line;
  for (const auto& [key, to] :
       {std::pair{"id", &line.id}, std::pair{"repository", &line.repository},
        std::pair{"url", &line.url}, std::pair{"canonical_url", &line.canonical_url}}) {
    auto text = read_text(entry, key);
    if (!text) return tl::unexpected<Error>(text.error());
    *to = std::move(*text);
  }
  if (line.id != meant.id)
    return fail(Errc::invalid, "is '" + line.id + "', and the file's is '" + meant.id + "'");
  line.base_branch = meant.base_branch;
  const auto name = parse_repository(line.url, "/");
  if (!name) return tl::unexpected<Error>(name.error());
  if (line.canonical_url != name->canonical_url || line.repository != name->owner_name)
    return fail(Errc::invalid, "the path " + line.url + " is repository " + name->owner_name +
                                   " at " + name->canonical_url +
                                   ", not what 'repository' and 'canonical_url' say");
  if (!line.url.starts_with("/"))
    return fail(Errc::invalid, "'" + line.url +
                                   "': a swarm's repositories must be paths on musterd's machine; "
                                   "others can't be integrated yet");
  return line;
}

Result<void> read_lines(const Json& body, SwarmRequest& request) {
  const auto list = body.find("repositories");
  const auto& meant = request.spec.repositories;
  if (list == body.end() || !list->is_array() || list->size() != meant.size())
    return fail(Errc::invalid, "'repositories' must list the file's " +
                                   std::to_string(meant.size()) + " repositories, resolved");
  std::set<std::string> names, urls;
  const Duration check_time = actors::attempt_timeout(swarm::check_fleet(request.spec));
  for (std::size_t i = 0; i < meant.size(); ++i) {
    auto line = read_line((*list)[i], meant[i]);
    if (!line) return fail(line.error(), "repositories[" + std::to_string(i) + "]");
    if (!names.insert(line->repository).second || !urls.insert(line->canonical_url).second)
      return fail(Errc::invalid, "repository " + line->repository + " is listed twice");
    line->checks = !request.spec.verify.empty();
    line->check_timeout_ms = check_time.count();
    request.create.lines.push_back(std::make_unique<fbs::SwarmLineT>(std::move(*line)));
  }
  return {};
}

/// What the swarm decides by, beside its plan.
void add_rules(const swarm::SwarmSpec& spec, fbs::CreateSwarmT& create) {
  create.result_schema = spec.result_schema;
  create.converge_answers = spec.converge.answers;
  create.converge_after_ms = spec.converge.after.count();
  for (const auto& declared : spec.results) {
    if (spec.converge.vote.empty() || declared.name != spec.converge.vote) continue;
    const auto vote = swarm::parse_reducer(nlohmann::json::parse(declared.reducer));
    create.converge_vote = vote ? vote->from.to_string() : "";
    create.converge_quorum = vote ? static_cast<std::uint32_t>(vote->quorum) : 0;
  }
  if (!spec.reducer.run.empty())
    create.reduce_timeout_ms =
        actors::attempt_timeout(
            swarm::helper_fleet(spec, "", spec.reducer.run, spec.reducer.timeout))
            .count();
  if (!spec.resolver.run.empty()) {
    create.resolves = spec.resolver.tries;
    Duration longest{0};
    for (const auto& facet : spec.facets)
      longest = std::max(longest, actors::attempt_timeout(swarm::resolver_fleet(spec, facet)));
    create.resolve_timeout_ms = longest.count();
  }
  create.most_evictions = spec.limits.evictions;
  create.most_tokens = spec.limits.tokens;
  create.most_cost_micros = spec.limits.cost_micros;
  create.cpus_milli = spec.environment.cpus_milli;
  create.memory_bytes = spec.environment.memory_bytes;
}

}  // namespace

Result<SwarmRequest> read_swarm_request(const Json& body) {
  SwarmRequest request;
  const auto document = body.find("spec");
  if (document == body.end() || !document->is_object())
    return fail(Errc::invalid, "'spec' must be the swarm file as an object");
  auto spec = read_swarm_spec(*document);
  if (!spec) return tl::unexpected<Error>(spec.error());
  request.spec = std::move(*spec);
  request.plan = nlohmann::json::parse(document->dump()).dump();  // keys sorted
  if (auto lines = read_lines(body, request); !lines) return tl::unexpected<Error>(lines.error());
  auto bundle = read_text(body, "agent_bundle");
  if (!bundle) return tl::unexpected<Error>(bundle.error());
  if (!bundle->empty() && !is_sha256_hex(*bundle))
    return fail(Errc::invalid, "'agent_bundle' must be a SHA-256 in hexadecimal, or \"\"");
  auto author = read_text(body, "author");
  if (!author) return tl::unexpected<Error>(author.error());

  fbs::CreateSwarmT& create = request.create;
  create.plan_digest = sha256_hex(request.plan);
  create.agent_bundle = std::move(*bundle);
  create.author = std::move(*author);
  std::string identity = "muster swarm 1\n" + create.plan_digest + "\n" + create.agent_bundle;
  for (const auto& line : create.lines) identity += "\n" + line->canonical_url;
  create.digest = sha256_hex(identity);
  create.prompt = request.spec.prompt.substr(0, 16u << 10);
  const std::string first = request.spec.prompt.substr(0, request.spec.prompt.find('\n'));
  create.title = first.empty() ? "Muster: swarm " + request.spec.name : first;
  create.facets = static_cast<std::uint32_t>(request.spec.facets.size());
  create.agents = request.spec.limits.agents;
  create.conflicts = request.spec.limits.conflicts;
  create.batch = request.spec.limits.batch;
  create.stall_ms = request.spec.limits.stall.count();
  create.timeout_ms = request.spec.limits.timeout.count();
  add_rules(request.spec, create);
  return request;
}

}  // namespace muster::musterd
