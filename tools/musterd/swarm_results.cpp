#include "tools/musterd/swarm_results.hpp"

#include "actors/spec/schema.hpp"
#include "actors/swarm/reduce.hpp"
#include "actors/swarm/swarm_spec.hpp"
#include "tools/musterd/swarm_render.hpp"

namespace muster::musterd {
namespace {

namespace swarm = actors::swarm;

struct Collected {
  std::vector<std::string> facets;      ///< Every one that was asked, by number.
  std::map<std::string, nlohmann::json> results;  ///< Those that meet the schema.
  Json invalid = Json::array();
};

Result<Collected> collect(const View& view, const std::string& name, const std::string& schema) {
  Collected all;
  auto scanned = view.each_facet(name, "", [&](const std::string&, const fbs::FacetRowT& row) {
    all.facets.push_back(row.id);
    return true;
  });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  std::size_t bytes = 0;
  scanned = view.each_result(name, [&](std::uint32_t number, std::string_view text) {
    bytes += text.size();
    if (bytes > kMaxResultBytes || number >= all.facets.size()) return false;
    const std::string& facet = all.facets[number];
    nlohmann::json result = nlohmann::json::parse(text, nullptr, false);
    std::string trouble = result.is_discarded() ? "is not JSON" : "";
    if (trouble.empty() && !schema.empty())
      if (const auto problems = actors::schema_problems(text, schema); !problems.empty())
        trouble = problems[0].pointer + " " + problems[0].message;
    if (trouble.empty())
      all.results.emplace(facet, std::move(result));
    else
      all.invalid.push_back({{"facet", facet}, {"problem", trouble}});
    return true;
  });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  if (bytes > kMaxResultBytes)
    return fail(Errc::refused, "the facets' results are more than " +
                                   std::to_string(kMaxResultBytes) + " bytes together");
  return all;
}

Json value_of(const swarm::ResultSpec& declared, const Collected& all) {
  const auto reducer = swarm::parse_reducer(nlohmann::json::parse(declared.reducer));
  if (!reducer) return {{"error", reducer.error().message}};
  const auto made = swarm::reduce(*reducer, all.facets, all.results);
  if (!made) return {{"error", made.error().message}};
  return {{"value", Json(made->value)},
          {"decided", made->decided},
          {"missing", made->missing},
          {"left_out", made->left_out}};
}

}  // namespace

Result<Json> swarm_results(const View& view, const Blobs& blobs, const fbs::SwarmHeadT& head) {
  const auto create = view.swarm_create(head.name);
  if (!create) return tl::unexpected<Error>(create.error());
  const auto file = blobs.get(create->plan_digest);
  if (!file) return tl::unexpected<Error>(file.error());
  const auto spec = swarm::parse_swarm(*file);
  if (!spec) return fail(Errc::corrupt, "the stored swarm file is not valid");
  const auto all = collect(view, head.name, spec->result_schema);
  if (!all) return tl::unexpected<Error>(all.error());
  Json values = Json::object();
  for (const auto& declared : spec->results) values[declared.name] = value_of(declared, *all);
  return Json{{"swarm", head.name},           {"state", name_of(head.state)},
              {"facets", all->facets.size()}, {"answered", all->results.size()},
              {"invalid", all->invalid},      {"values", values}};
}

}  // namespace muster::musterd
