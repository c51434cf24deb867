// What planners say, made part of a plan; scopes within scopes; schemas of results; templates.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "actors/swarm/markdown_template.hpp"
#include "actors/swarm/plan.hpp"
#include "actors/swarm/result_schema.hpp"
#include "actors/swarm/scope.hpp"

using namespace muster;
using namespace muster::actors::swarm;
using nlohmann::json;

namespace {

json file_with_planner() {
  return json::parse(R"({
    "name": "s", "repositories": [{"id": "api", "path": "/srv/api.git"}],
    "agent": {"run": "./agent"}, "shared": ["CHANGELOG.md"],
    "limits": {"facets": 6},
    "facets": [
      {"id": "first", "task": "x", "scope": ["docs/**"]},
      {"id": "plan", "task": "x", "scope": ["src/**"], "needs": ["first"], "planner": {"rounds": 2}},
      {"id": "last", "task": "x", "scope": ["src/**"], "needs": ["plan"]}]})");
}

SwarmSpec planned_file() {
  return parse_swarm(file_with_planner().dump()).value();
}

json part(const std::string& id, const std::string& scope, const json& more = json::object()) {
  json one = {{"id", id}, {"task", "Do " + id}, {"scope", json::array({scope})}};
  one.update(more);
  return one;
}

template <class... Parts>
json list_of(const Parts&... parts) {
  json list = json::array();
  (list.push_back(parts), ...);
  return list;
}

/// The ids in their order, or the problems.
std::string added(const json& facets, bool again = false, const std::string& planner = "plan") {
  json plan = json::object();
  plan["facets"] = facets;
  const auto spec = add_plan(planned_file(), planner, plan.dump(), again);
  std::string out;
  if (spec)
    for (std::size_t i = spec->listed; i < spec->facets.size(); ++i)
      out += (out.empty() ? "" : " ") + spec->facets[i].id;
  else
    for (const auto& problem : spec.error())
      out += (out.empty() ? "" : "\n") + problem.pointer + ": " + problem.message;
  return out;
}

template <class... Parts>
std::string with(const Parts&... parts) {
  return added(list_of(parts...));
}

std::string plan_of(const json& one) {
  json plan = json::object();
  plan["facets"] = list_of(one);
  return plan.dump();
}

}  // namespace

TEST_CASE(
    "a plan's facets follow all others, under their planner's name, each after what it needs") {
  CHECK(with(part("b", "src/b/**", {{"needs", json::array({"a", "first"})}}), part("a", "src/a")) ==
        "plan.a plan.b");
  const auto spec = add_plan(planned_file(), "plan",
                             R"({"facets": [{"id": "a", "task": "t", "scope": ["src/a"]}],
                                 "notes": "n", "usage": {"input_tokens": 3}})",
                             false);
  REQUIRE(spec);
  CHECK(spec->facets[3].owner == "plan");
  CHECK(spec->facets[3].repository == "api");
  CHECK(spec->facets[3].agent.shell == "./agent");
}

TEST_CASE("plans that are kept with the file are read again as they were") {
  const std::string file = file_with_planner().dump();
  const std::string once =
      keep_plan(file, "plan", R"({"facets": [{"id": "a", "task": "t", "scope": ["src/a"]}]})");
  const std::string twice = keep_plan(once, "plan", R"({"facets": []})");
  const auto spec = parse_kept_swarm(twice);
  REQUIRE(spec);
  CHECK(spec->facets.size() == 4);
  CHECK(spec->listed == 3);
  CHECK(parse_kept_swarm(file)->facets.size() == 3);
}

TEST_CASE("a wrong plan is told what is wrong, and where in what it said") {
  CHECK(added(json::array()) == "/facets: is an empty plan: nothing would be done");
  CHECK(added(json::array(), true) == "");
  CHECK(with(part("a", "docs/a")) ==
        "/facets/0/scope/0: \"docs/a\" is not within the scope of plan, and so nobody's here");
  CHECK(with(part("a", "CHANGELOG.md")) == "plan.a");
  CHECK(with(part("a", "src/x"), part("b", "src/*")) ==
        "/facets/1/scope/0: \"src/*\" and \"src/x\" of facet plan.a can be the same path: let one "
        "need the other, or make it shared");
  CHECK(with(part("a", "src/a"), part("a", "src/b")).find("called \"plan.a\" already") !=
        std::string::npos);
  CHECK(with(part("a", "src/a", {{"needs", json::array({"nobody"})}})) ==
        "/facets/0/needs/0: no facet is called \"nobody\"");
  CHECK(with(part("a", "src/a", {{"needs", json::array({"b"})}}),
             part("b", "src/b", {{"needs", json::array({"a"})}}))
            .find("need each other in a circle") != std::string::npos);
  // Who needs the planner waits for its facets: they can't wait for it.
  CHECK(with(part("a", "src/a", {{"needs", json::array({"last"})}})).find("circle") !=
        std::string::npos);
  CHECK(with(part("a", "src/a", {{"needs", json::array({"plan"})}})).find("circle") !=
        std::string::npos);
  CHECK(with(part("a", "src/a"), part("b", "src/b"), part("c", "src/c"), part("d", "src/d")) ==
        "/facets: make the swarm's facets 7, and at most 6 are allowed");
  CHECK(with(json::object({{"id", "a"}})).find("task") != std::string::npos);
  CHECK(added(list_of(part("a", "src/a")), false, "first") == ": no planner is called \"first\"");
  CHECK(with(part(std::string(60, 'a'), "src/a")).find("at most 63 characters") !=
        std::string::npos);
  CHECK(with(part("a", "src/a", {{"agnet", 1}})).find("did you mean \"agent\"") !=
        std::string::npos);
  CHECK_FALSE(add_plan(planned_file(), "plan", "nonsense", false));
}

TEST_CASE("planners plan planners so deep, and not deeper") {
  const json sub = part("sub", "src/sub/**", {{"planner", json::object()}});
  const auto one = add_plan(planned_file(), "plan", plan_of(sub), false);
  REQUIRE(one);
  const json deeper = part("deep", "src/sub/x/**", {{"planner", json::object()}});
  const auto two = add_plan(*one, "plan.sub", plan_of(deeper), false);
  REQUIRE_FALSE(two);
  CHECK(two.error()[0].message == "planners may plan 2 deep, not deeper");
  const json leaf = part("leaf", "src/sub/x/**");
  CHECK(add_plan(*one, "plan.sub", plan_of(leaf), false));
  // A sibling of the sub-planner must keep out of its scope.
  const json thief = part("thief", "src/sub/y");
  CHECK_FALSE(add_plan(*one, "plan", plan_of(thief), true));
}

TEST_CASE("a facet of a plan is as a facet of the file, in both schemas") {
  const json file = json::parse(swarm_schema()), plan = json::parse(plan_schema());
  CHECK(plan["properties"]["facets"]["items"] == file["properties"]["facets"]["items"]);
  for (const auto& [name, definition] : plan["definitions"].items()) {
    INFO(name);
    CHECK(definition == file["definitions"][name]);
  }
}

TEST_CASE("one pattern within another") {
  for (const auto& [pattern, outer] : {std::pair{"src/a", "src/**"},
                                       {"src/**", "src/**"},
                                       {"src/a/**", "src/**"},
                                       {"src/*.md", "src/*"},
                                       {"a*", "a*"},
                                       {"src/a/*.md", "**/*.md"},
                                       {"x", "**"}}) {
    CAPTURE(pattern, outer);
    CHECK(within(pattern, outer));
  }
  for (const auto& [pattern, outer] : {std::pair{"src/**", "src/*"},
                                       {"src/*", "src/a"},
                                       {"docs/a", "src/**"},
                                       {"**", "src/**"},
                                       {"src/a*", "src/*b"},
                                       {"*", "a*"}}) {
    CAPTURE(pattern, outer);
    CHECK_FALSE(within(pattern, outer));
  }
}

TEST_CASE("results are checked in bounded time and depth") {
  const std::string schema =
      R"({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"},
          "pattern": {"type": "string"}}})";
  CHECK(trouble_in_result_schema(schema).empty());
  CHECK(trouble_with_result(R"({"n": 1})", schema).empty());
  CHECK(trouble_with_result(R"({"n": "1"})", schema).find("/n: ") == 0);
  CHECK(trouble_with_result("{", schema) == "result.json is no JSON, or nested too deep");
  CHECK_FALSE(trouble_with_result(std::string(30'000, '['), "").empty());
  for (const char* wrong : {R"({"pattern": "a*"})", R"({"$ref": "#"})", R"([])",
                            R"({"properties": {"a": {"uniqueItems": true}}})",
                            R"({"allOf": [{"patternProperties": {}}]})", R"({"type": 7})"})
    CHECK_FALSE(trouble_in_result_schema(wrong).empty());
}

TEST_CASE("a template makes Markdown of values, within bounds") {
  const json data = json::parse(R"({"title": "a|b", "list": [{"id": "x"}, {"id": "y"}],
                                    "none": [], "deep": {"value": 3}, "raw": "# h"})");
  const auto filled = [&](const std::string& text) {
    const auto made = fill_template(text, data);
    return made ? *made : "! " + made.error().message;
  };
  CHECK(filled("{{title}} {{deep.value}} {{absent}}") == "a\\|b 3 ");
  CHECK(filled("{{#list}}- {{id}} of {{title}}\n{{/list}}") == "- x of a\\|b\n- y of a\\|b\n");
  CHECK(filled("{{^none}}nothing{{/none}}{{^list}}no{{/list}}") == "nothing");
  CHECK(filled("{{{raw}}} {{raw}}") == "# h \\# h");
  CHECK(filled("{{#list}}{{.}}{{/list}}").find("{\"id\":\"x\"}") == 0);
  CHECK(trouble_in_template("{{#a}}") == "does not close {{#a}}");
  CHECK(trouble_in_template("{{#a}}{{/b}}").find("another section") != std::string::npos);
  CHECK(trouble_in_template("{{a") == "has a {{ that nothing closes");
  json many = {{"a", json::array()}};
  for (int i = 0; i < 2000; ++i) many["a"].push_back(i);
  CHECK(fill_template("{{#a}}{{#a}}{{/a}}{{/a}}", many).error().code == Errc::refused);
}
