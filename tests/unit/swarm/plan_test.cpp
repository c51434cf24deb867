// The swarm file: what is read, what is refused and where, overlaps and order.
#include "actors/swarm/plan.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "actors/spec/derive.hpp"
#include "actors/spec/schema.hpp"
#include "actors/swarm/scope.hpp"
#include "actors/swarm/swarm_fleets.hpp"
#include "tools/muster/yaml_source.hpp"

using namespace muster;
using namespace muster::actors::swarm;
using nlohmann::json;

namespace {

json swarm_of(const json& facets) {
  return {{"name", "s"},
          {"repositories", {{{"id", "api"}, {"path", "/srv/api.git"}}}},
          {"agent", {{"run", "./agent"}}},
          {"shared", {"CHANGELOG.md"}},
          {"facets", facets}};
}

json facet_of(const std::string& id, const std::string& scope,
              const std::vector<std::string>& needs = {}) {
  return {{"id", id}, {"task", "Do it"}, {"scope", {scope}}, {"needs", needs}};
}

/// "POINTER: MESSAGE", one a line.
std::string problems_of(const json& swarm) {
  const auto parsed = parse_swarm(swarm.dump());
  std::string out;
  if (!parsed)
    for (const auto& problem : parsed.error())
      out += (out.empty() ? "" : "\n") + problem.pointer + ": " + problem.message;
  return out;
}

std::string rendered(const std::string& yaml) {
  const auto source = cli::read_yaml("swarm.yaml", yaml);
  const auto parsed = parse_swarm(source.json);
  std::string out;
  if (!parsed)
    for (const auto& problem : parsed.error())
      out += cli::render_problem(
          {source.file, source.place(problem), actors::dotted(problem.pointer), problem.message},
          source.text);
  return out;
}

}  // namespace

TEST_CASE("values of all results are declared by name, and a wrong one is named") {
  json whole = swarm_of(json::array({facet_of("a", "a")}));
  whole["results"] = {{"schema", {{"type", "object"}}},
                      {"values", {{"lines", {{"kind", "sum"}, {"from", "/lines"}}}}}};
  REQUIRE(problems_of(whole) == "");
  const auto parsed = parse_swarm(whole.dump());
  CHECK(parsed->results == std::vector<ResultSpec>{{"lines", R"({"from":"/lines","kind":"sum"})"}});
  CHECK(parsed->result_schema == R"({"type":"object"})");
  whole["results"]["values"]["lines"]["kind"] = "onion";
  CHECK(problems_of(whole).find("/results/values/lines: reducer: kind must be one of") == 0);
  whole["results"] = {{"reduce", 1}};
  CHECK(problems_of(whole).find("/results/reduce: ") == 0);
}

TEST_CASE("a swarm file is read with every default") {
  json whole = swarm_of({facet_of("core", "src/**"), facet_of("docs", "docs/**", {"core"})});
  whole["version"] = 1;
  whole["prompt"] = "Two";
  whole["verify"] = {{{"name", "all"}, {"run", {"make", "test"}}, {"timeout", "3m"}}};
  whole["limits"] = {{"agents", 7}, {"stall", "10m"}};
  whole["facets"][0]["agent"] = {{"run", "./special"}};
  whole["facets"][0]["budget"] = {{"attempts", 5}};
  REQUIRE(problems_of(whole).empty());
  const SwarmSpec spec = parse_swarm(whole.dump()).value();
  CHECK(spec.facets[0].agent.shell == "./special");
  CHECK(spec.facets[1].agent.shell == "./agent");
  CHECK(spec.facets[1].repository == "api");
  CHECK(spec.facets[0].attempts == 5);
  CHECK(spec.facets[1].timeout == Duration{20 * 60'000});
  CHECK(spec.limits.agents == 7);
  CHECK(spec.limits.conflicts == 3);
  CHECK(spec.limits.stall == Duration{600'000});
  CHECK(spec.verify.at(0).run.argv.at(1) == "test");
}

TEST_CASE("agents of a swarm work where a fleet's would, and so do its verifications and helpers") {
  json whole = swarm_of(json::array({facet_of("core", "src/**")}));
  whole["environment"] = json::parse(R"({
    "image": "docker://debian/bookworm", "setup": ["npm ci"], "env": {"CI": "true"}, "secrets": ["MODEL_KEY"],
    "files": [{"source": "npmrc", "path": "/home/agent/.npmrc"}], "network": "host",
    "resources": {"cpus": 0.5, "memory": "512MiB"}})");
  whole["agent"]["files"] = json::array({"lib"});
  whole["verify"] = {{{"name", "all"}, {"run", "make test"}, {"timeout", "3m"}}};
  whole["resolver"] = {{"run", "./resolve"}, {"timeout", "2m"}};
  REQUIRE(problems_of(whole) == "");
  const SwarmSpec spec = parse_swarm(whole.dump()).value();
  CHECK(spec.files == std::vector<std::string>{"lib"});
  CHECK(spec.environment.secrets == std::vector<std::string>{"MODEL_KEY"});
  CHECK(spec.environment.host_network);
  CHECK(spec.environment.cpus_milli == 500);
  const actors::FleetSpec parts[] = {facet_fleet(spec, spec.facets[0]), resolver_fleet(spec, spec.facets[0]),
                                     check_fleet(spec), helper_fleet(spec, "", spec.agent, Duration{1})};
  for (const actors::FleetSpec& part : parts) CHECK(part.environment == spec.environment);
  // Every setup command may take as long as the agent behind it.
  CHECK(actors::attempt_timeout(check_fleet(spec)) == Duration{2 * 3 * 60'000} + actors::kAttemptMargin);

  CHECK(json::parse(swarm_schema())["properties"]["environment"] ==
        json::parse(actors::fleet_schema())["properties"]["environment"]);
  whole["environment"] = {{"secret", json::array()}};
  CHECK(problems_of(whole).find("did you mean \"secrets\"") != std::string::npos);
  whole["environment"] = {{"env", {{"MUSTER_RUN_ID", "x"}}}};
  CHECK(problems_of(whole).find("is set by Muster itself") != std::string::npos);
}

TEST_CASE("errors say file, line and column") {
  const std::string text = rendered(
      "name: s\n"
      "repositories:\n"
      "  - {id: api, path: /srv/api.git}\n"
      "agent: {run: ./agent}\n"
      "facets:\n"
      "  - id: core\n"
      "    task: One\n"
      "    scope: [src/**]\n"
      "    needs: [cor]\n");
  CHECK(text.starts_with("swarm.yaml:9:13: error: "));
  CHECK(text.find("no facet is called \"cor\"; did you mean \"core\"?") != std::string::npos);
  CHECK(text.find("    needs: [cor]\n") != std::string::npos);
}

TEST_CASE("plans that are none are refused, each with its reason and place") {
  CHECK(problems_of(swarm_of(json::array())) == "/facets: is an empty plan: nothing would be done");
  CHECK(problems_of(swarm_of({facet_of("a", "a/**", {"c"}), facet_of("b", "b/**", {"a"}),
                              facet_of("c", "c/**", {"b"}), facet_of("d", "d/**", {"a"})})) ==
        "/facets/0/needs: facets need each other in a circle: a -> c -> b -> a");
  CHECK(problems_of(swarm_of(json::array({facet_of("a", "a/**", {"a"})}))) ==
        "/facets/0/needs: facets need each other in a circle: a -> a");
  CHECK(problems_of(swarm_of({facet_of("a", "a/**"), facet_of("a", "b/**")})) ==
        "/facets/1/id: another facet is called \"a\" already");
  CHECK(problems_of(swarm_of({facet_of("a", "src/**"), facet_of("b", "src/*.md")})) ==
        "/facets/1/scope/0: \"src/*.md\" and \"src/**\" of facet a can be the same path: let one "
        "need "
        "the other, or make it shared");
  CHECK(problems_of(swarm_of({facet_of("a", "src/**"), facet_of("m", "x", {"a"}),
                              facet_of("b", "src/*.md", {"m"})}))
            .empty());
  CHECK(problems_of(swarm_of({facet_of("a", "CHANGELOG.md"), facet_of("b", "CHANGELOG.md")}))
            .empty());
  CHECK(problems_of(swarm_of(json::array({facet_of("a", "../x")}))).find("holds \"..\"") !=
        std::string::npos);
  CHECK(problems_of(swarm_of(json::array({facet_of("a", "/x")}))).find("relative") !=
        std::string::npos);
  CHECK(problems_of(swarm_of(json::array({facet_of("A b", "x")}))).starts_with("/facets/0/id: "));

  json many = json::array();
  for (int i = 0; i < 400; ++i) many.push_back(facet_of("f" + std::to_string(i), "**"));
  const auto problems = parse_swarm(swarm_of(many).dump());
  REQUIRE_FALSE(problems);
  CHECK(problems.error().size() == kMaxPlanProblems);
}

TEST_CASE("slips in any key are named, and the schema refuses them too") {
  const auto slip = [](const std::string& pointer, const json& value) {
    json swarm = swarm_of(json::array({facet_of("a", "a/**")}));
    swarm[json::json_pointer(pointer)] = value;
    return problems_of(swarm);
  };
  CHECK(slip("/facets/0/scop", "x").find("did you mean \"scope\"") != std::string::npos);
  CHECK(slip("/facets/0/scope", json::array()).starts_with("/facets/0/scope: names no path"));
  CHECK(slip("/facets/0/repository", "apu").find("did you mean \"api\"") != std::string::npos);
  CHECK(slip("/limits", {{"batch", 0}}).starts_with("/limits/batch: must be between"));
  CHECK(slip("/agent", json::object()).find("\"run\" is missing") != std::string::npos);
  CHECK(slip("/repositories/0/url", "https://x/y").find("exactly one") != std::string::npos);
  CHECK(
      slip("/repositories/1", {{"id", "web"}, {"path", "/w"}}).find("\"repository\" is missing") !=
      std::string::npos);
  CHECK_FALSE(parse_swarm("{"));
  CHECK(json::parse(swarm_schema())["title"] == "Muster swarm file, version 1");
}

TEST_CASE("a path's pattern") {
  const auto in = [](const std::string& pattern, const std::string& path) {
    return matches(pattern, path);
  };
  CHECK(in("src/**", "src/a/b.txt"));
  CHECK(in("src/**", "src"));
  CHECK_FALSE(in("src/**", "srcs/a"));
  CHECK(in("**/*.md", "a.md"));
  CHECK(in("**/*.md", "x/y/a.md"));
  CHECK_FALSE(in("*.md", "x/a.md"));
  CHECK(in("a*c*", "abcd"));
  CHECK_FALSE(in("a*c", "abcd"));
  CHECK(in("a/**/z", "a/z"));
  CHECK(outside({"src/a", "../x", "CHANGELOG.md", "src*", "b"}, {"src/**"}, {"CHANGELOG.md"}) ==
        std::vector<std::string>{"../x", "src*", "b"});
}

TEST_CASE("two patterns overlap exactly when some path matches both") {
  // Two patterns of up to three parts that meet do so in a path of up to four, of these names.
  const std::vector<std::string> names = {"a", "b", "aa", "ab"};
  std::vector<std::string> paths = names;
  for (std::size_t begin = 0, depth = 1; depth < 4; ++depth) {
    const std::size_t end = paths.size();
    for (; begin < end; ++begin)
      for (const auto& name : names) paths.push_back(paths[begin] + "/" + name);
  }
  std::mt19937 random(7);
  const std::vector<std::string> parts = {"a", "b", "*", "a*", "*b", "aa", "**", "*a*"};
  const auto pattern = [&] {
    std::string out;
    for (std::size_t i = 0, n = random() % 3 + 1; i < n; ++i)
      out += (i == 0 ? "" : "/") + parts[random() % parts.size()];
    return out;
  };
  int meeting = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::string a = pattern(), b = pattern();
    const bool wanted = std::any_of(paths.begin(), paths.end(), [&](const std::string& path) {
      return matches(a, path) && matches(b, path);
    });
    INFO(a << " and " << b);
    CHECK(overlap(a, b) == wanted);
    CHECK(overlap(b, a) == wanted);
    meeting += wanted ? 1 : 0;
  }
  CHECK(meeting > 200);
  CHECK(meeting < 1800);
}

TEST_CASE("10,000 facets are checked, and integrated in one order that respects their needs") {
  SwarmSpec spec;
  std::mt19937 random(11);
  for (int i = 0; i < 10'000; ++i) {
    Facet facet;
    facet.id = "f" + std::to_string(i);
    facet.repository = "api";
    facet.scope = {"src/d" + std::to_string(i) + "/**"};
    for (int n = 0; n < 3 && i > 0; ++n)
      facet.needs.push_back("f" + std::to_string(random() % static_cast<unsigned>(i)));
    spec.facets.push_back(facet);
  }
  std::shuffle(spec.facets.begin(), spec.facets.end(), random);
  CHECK(plan_problems(spec).empty());
  const auto order = integration_order(spec);
  REQUIRE(order.size() == spec.facets.size());
  CHECK(order == integration_order(spec));
  std::set<std::string> done;
  for (const std::size_t at : order) {
    for (const auto& need : spec.facets[at].needs) REQUIRE(done.count(need) == 1);
    done.insert(spec.facets[at].id);
  }
}
