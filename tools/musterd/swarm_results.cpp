#include "tools/musterd/swarm_results.hpp"

#include "actors/swarm/markdown_template.hpp"
#include "actors/swarm/reduce.hpp"
#include "actors/swarm/result_schema.hpp"
#include "actors/swarm/swarm_spec.hpp"
#include "tools/musterd/swarm_render.hpp"

namespace muster::musterd {
namespace {

namespace swarm = actors::swarm;

struct Collected {
  std::vector<std::string> numbers;     ///< Every facet, by number.
  std::vector<std::string> facets;      ///< Every one that was asked: without planners.
  nlohmann::json outcomes = nlohmann::json::array();  ///< Of these, for templates.
  std::map<std::string, nlohmann::json> results;  ///< Those that meet the schema.
  Json invalid = Json::array();
};

Result<Collected> collect(const View& view, const std::string& name, const std::string& schema) {
  Collected all;
  auto scanned = view.each_facet(name, "", [&](const std::string&, const fbs::FacetRowT& row) {
    all.numbers.push_back(row.id);
    if (row.planner) return true;  // It plans, and finds out nothing.
    all.facets.push_back(row.id);
    all.outcomes.push_back({{"id", row.id},
                            {"state", std::string(name_of(row.state))},
                            {"why", row.why},
                            {"result", nullptr}});
    return true;
  });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  std::size_t bytes = 0;
  scanned = view.each_result(name, [&](std::uint32_t number, std::string_view text) {
    bytes += text.size();
    if (bytes > kMaxResultBytes || number >= all.numbers.size()) return false;
    const std::string& facet = all.numbers[number];
    nlohmann::json result = nlohmann::json::parse(text, nullptr, false);
    const std::string trouble = swarm::trouble_with_result(text, schema);
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

Json value_of(const swarm::Reducer& reducer, const Collected& all) {
  const auto made = swarm::reduce(reducer, all.facets, all.results);
  if (!made) return {{"error", made.error().message}};
  return {{"value", Json(made->value)},
          {"decided", made->decided},
          {"missing", made->missing},
          {"left_out", made->left_out}};
}

/// What a template may speak of.
nlohmann::json template_data(const Collected& all, const Json& values, const Json& reduced) {
  nlohmann::json data = {{"facets", all.outcomes}, {"missing", nlohmann::json::array()}};
  for (auto& facet : data["facets"]) {
    const auto result = all.results.find(facet["id"].get<std::string>());
    if (result != all.results.end())
      facet["result"] = result->second;
    else
      data["missing"].push_back(facet["id"]);
  }
  data["values"] = nlohmann::json::parse(values.dump());
  data["reduced"] = nlohmann::json::parse(reduced.dump());
  return data;
}

/// First what is reduced, then the templates, which speak of it.
Json values_of(const std::vector<swarm::ResultSpec>& declared, const Collected& all,
               const Json& reduced) {
  Json values = Json::object(), filled = Json::object();
  std::vector<std::pair<std::string, std::string>> templates;
  for (const auto& one : declared) {
    const auto reducer = swarm::parse_reducer(nlohmann::json::parse(one.reducer));
    if (!reducer)
      values[one.name] = {{"error", reducer.error().message}};
    else if (reducer->kind == swarm::ReducerKind::markdown)
      templates.emplace_back(one.name, reducer->text);
    else
      values[one.name] = value_of(*reducer, all);
  }
  if (templates.empty()) return values;
  const auto data = template_data(all, values, reduced);
  for (const auto& [name, text] : templates) {
    const auto made = swarm::fill_template(text, data);
    values[name] = made ? Json{{"markdown", *made}} : Json{{"error", made.error().message}};
  }
  return values;
}

/// Each with whom it is for: a planner, or nobody but the report.
Result<Json> notes_of(const View& view, const std::string& name, const Collected& all) {
  Json notes = Json::array();
  auto scanned = view.each_note(name, [&](const std::string& box, const fbs::NoteRowT& note) {
    const bool planned = !box.empty() && box[0] >= '0' && box[0] <= '9';
    const std::size_t planner = planned ? std::stoul(box) : all.numbers.size();
    notes.push_back({{"facet", note.facet},
                     {"run", note.run},
                     {"text", note.text},
                     {"to", planner < all.numbers.size() ? Json(all.numbers[planner]) : Json(nullptr)},
                     {"given", note.given != 0},
                     {"at", time_json(note.at_unix_ms)}});
    return true;
  });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  return notes;
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
  const auto made = view.swarm_reduced(head.name);
  if (!made) return tl::unexpected<Error>(made.error());
  const Json reduced = made->empty() ? Json(nullptr) : Json::parse(*made, nullptr, false);
  const auto notes = notes_of(view, head.name, *all);
  if (!notes) return tl::unexpected<Error>(notes.error());
  const Json values = values_of(spec->results, *all, reduced);
  Json missing = Json::array();
  for (const std::string& facet : all->facets)
    if (!all->results.contains(facet)) missing.push_back(facet);
  return Json{{"swarm", head.name},           {"state", name_of(head.state)},
              {"facets", all->facets.size()}, {"answered", all->results.size()},
              {"missing", missing},
              {"invalid", all->invalid},      {"values", values},
              {"reduced", reduced},           {"notes", *notes}};
}

}  // namespace muster::musterd
