// A swarm file on its way to musterd, and what is shown of a swarm.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/unit/muster/scratch.hpp"
#include "tools/muster/commands/template.hpp"
#include "tools/muster/prepare_swarm.hpp"
#include "tools/muster/render/swarm_report.hpp"
#include "tools/muster/render/swarm_view.hpp"

namespace muster::cli {
namespace {

using Json = nlohmann::json;

std::string swarm_problems(const Scratch& s) {
  const auto swarm = prepare_swarm((s.path() / "swarm.yaml").string());
  return swarm ? "none\n" : s.anonymous(render_problems(swarm.error()));
}

TEST_CASE("a swarm file is resolved: repositories, agents, what travels") {
  const Scratch s;
  s.repository("acme/api.git");
  s.write("agent.sh", "true\n", true);
  s.write("other.sh", "true\n", true);
  s.write("swarm.yaml", R"(name: docs
repositories: [{id: api, path: acme/api.git}]
agent: {run: ./agent.sh fast}
facets:
  - {id: a, task: A, scope: [a]}
  - {id: b, task: B, scope: [b], agent: {run: [./other.sh, x]}}
)");
  const auto swarm = prepare_swarm((s.path() / "swarm.yaml").string());
  INFO((swarm ? "" : render_problems(swarm.error())));
  REQUIRE(swarm);
  CHECK(swarm->repositories.at(0).repository == "acme/api");
  CHECK(swarm->bundle.files == std::vector<std::string>{"agent.sh", "other.sh"});
  CHECK(swarm->document.at("agent").at("run") == "\"$MUSTER_AGENT_DIR\"/agent.sh fast");
  CHECK(swarm->document.at("facets").at(1).at("agent").at("run").at(0) == "sh");
  CHECK_FALSE(swarm->document.at("facets").at(0).contains("agent"));
  CHECK(actors::swarm::parse_swarm(swarm->document.dump()));
}

TEST_CASE("what a swarm's agents need travels: files of theirs, and files that lie in each sandbox") {
  const Scratch s;
  s.repository("acme/api.git");
  s.write("agent.sh", "true\n");  // run by name, so it need not be executable here
  s.write("lib/words.txt", "hello\n");
  s.write("npmrc", "audit=false\n");
  const auto file = [&](const std::string& files, const std::string& placed) {
    s.write("swarm.yaml", "name: docs\nrepositories: [{id: api, path: acme/api.git}]\n"
                          "agent: {run: ./agent.sh, files: [" + files + "]}\n"
                          "environment: {image: host, files: [{source: " + placed +
                              ", path: /home/agent/.npmrc}]}\n"
                          "facets: [{id: a, task: A, scope: [a]}]\n");
  };
  file("lib/", "./npmrc");
  const auto swarm = prepare_swarm((s.path() / "swarm.yaml").string());
  INFO((swarm ? "" : render_problems(swarm.error())));
  REQUIRE(swarm);
  CHECK(swarm->bundle.files == std::vector<std::string>{"agent.sh", "lib/words.txt", "npmrc"});
  CHECK(swarm->bundle.tar.substr(100, 7) == "0000755");
  CHECK(swarm->document.at("environment").at("files").at(0).at("source") == "npmrc");
  file("nothing", "./npmrc");
  CHECK(swarm_problems(s).find("swarm.yaml:3:34: error: agent.files[0]: there is no") != std::string::npos);
  file("lib", "../npmrc");
  CHECK(swarm_problems(s).find("environment.files[0].source: must be a path") != std::string::npos);
}

TEST_CASE("the file that swarm init writes is valid, but for its repository") {
  const Scratch s;
  s.repository("acme/api.git");
  std::string text(kSwarmTemplate);
  const std::string path = "/srv/git/acme/api.git";
  text.replace(text.find(path), path.size(), "acme/api.git");
  s.write("swarm.yaml", text);
  CHECK(swarm_problems(s) == "none\n");
}

TEST_CASE("what is wrong with a swarm file has its line") {
  const Scratch s;
  s.write("swarm.yaml", R"(name: docs
repositories: [{id: api, path: acme/api.git}, {id: web, url: "https://x/y.git"}]
agent: {run: ./missing.sh}
facets:
  - {id: a, task: A, repository: api, scope: [a]}
)");
  const std::string text = swarm_problems(s);
  INFO(text);
  CHECK(text.find("swarm.yaml:2:") != std::string::npos);
  CHECK(text.find("a swarm integrates in repositories on musterd's machine") != std::string::npos);
  CHECK(text.find("swarm.yaml:3:14: error: agent.run: there is no file ./missing.sh") !=
        std::string::npos);
  s.write("swarm.yaml", "name: [\n");
  CHECK(swarm_problems(s).find("swarm.yaml:") != std::string::npos);
  s.write("swarm.yaml", "- a\n");
  CHECK(swarm_problems(s).find("a swarm file is a mapping") != std::string::npos);
}

TEST_CASE("facets come from a command, which is run beside the file") {
  const Scratch s;
  s.repository("acme/api.git");
  s.write("areas/x.txt", "");
  s.write("areas/y.txt", "");
  s.write("list-facets",
          "#!/bin/sh\nfor f in areas/*; do n=$(basename \"$f\" .txt)\n"
          "echo \"- {id: $n, task: Do $n, scope: [$f]}\"\ndone\n",
          true);
  const auto file = [&](const std::string& command) {
    s.write("swarm.yaml",
            "name: docs\nrepositories: [{id: api, path: acme/api.git}]\nagent: {run: \"true\"}\n"
            "facets: {run: " +
                command + "}\n");
  };
  file("./list-facets");
  const auto swarm = prepare_swarm((s.path() / "swarm.yaml").string());
  INFO((swarm ? "" : render_problems(swarm.error())));
  REQUIRE(swarm);
  REQUIRE(swarm->spec.facets.size() == 2);
  CHECK(swarm->spec.facets[1].task == "Do y");
  CHECK(swarm->document.at("facets").at(0).at("scope").at(0) == "areas/x.txt");

  const auto says = [&](const std::string& command, const std::string& problem) {
    file(command);
    const std::string text = swarm_problems(s);
    INFO(text);
    CHECK(text.find("swarm.yaml:4:15: error: facets.run: " + problem) != std::string::npos);
  };
  says("\"echo no advisory >&2; exit 3\"", "exited with 3: no advisory");
  says("\"exit 4\"", "exited with 4\n");
  says("\"echo word\"", "did not print a list of facets");
  says("\"echo '- ['\"", "did not print a list of facets");
  file("\"echo '- {id: a, task: A}'\"");  // what it prints is checked as what is written
  CHECK(swarm_problems(s).find("scope") != std::string::npos);
}

const Json kSwarm = {{"name", "docs"},
                     {"state", "running"},
                     {"facets", 4},
                     {"counts", {{"merged", 1}, {"working", 1}, {"waiting", 1}, {"rejected", 1}}},
                     {"reason", ""},
                     {"repositories", Json::array({{{"id", "api"},
                                                    {"repository", "acme/api"},
                                                    {"begin", "b0"},
                                                    {"green", "0123456789abcdef"},
                                                    {"state", "verifying"},
                                                    {"trying", 2}}})}};

std::vector<Json> facets() {
  return {
      {{"id", "guide"},
       {"repository", "api"},
       {"state", "merged"},
       {"merge", "aaaaaaaaaabbbb"},
       {"evictions", 1}},
      {{"id", "tour"},
       {"repository", "api"},
       {"state", "working"},
       {"run", {{"id", "7K2M4A8888888"}, {"state", "running"}, {"host", "local"}}}},
      {{"id", "index"},
       {"repository", "api"},
       {"state", "waiting"},
       {"waits_for", 2},
       {"needs", Json::array({"guide", "tour"})}},
      {{"id", "bad"}, {"repository", "api"}, {"state", "rejected"}, {"why", "tests\x1b[31m red"}}};
}

TEST_CASE("a swarm is shown as its tree, and nothing from outside reaches the terminal raw") {
  CHECK(swarm_tree(kSwarm, facets(), {}, 100) ==
        "docs  running  1 of 4 facets merged, 1 working, 1 waiting, 1 rejected\n"
        "└─ acme/api  green 0123456789  verifying 2 facets\n"
        "   ├─ guide  merged     as aaaaaaaaaa; sent back 1 time\n"
        "   ├─ tour   working    run 7K2M4A running on local\n"
        "   ├─ index  waiting    needs guide, tour\n"
        "   └─ bad    rejected   tests\\x1b[31m red\n");
  CHECK(swarm_tree(kSwarm, facets(), {}, 2) ==
        "docs  running  1 of 4 facets merged, 1 working, 1 waiting, 1 rejected\n"
        "└─ acme/api  green 0123456789  verifying 2 facets\n"
        "   ├─ tour  working    run 7K2M4A running on local\n"
        "   ├─ bad   rejected   tests\\x1b[31m red\n"
        "   └─ and 2 more\n");
  CHECK(swarm_line(kSwarm) ==
        "docs: running, 1 of 4 facets merged, 1 working, 1 waiting, 1 rejected");
  CHECK(exit_code_of_swarm({{"state", "completed"}}) == 0);
  CHECK(exit_code_of_swarm({{"state", "completed_with_rejections"}}) == 1);
}

TEST_CASE("a facet's story has what was asked, and the whole of its trouble") {
  const Json facet = {{"id", "tour"},
                      {"repository", "api"},
                      {"state", "rejected"},
                      {"why", "it conflicts with what was integrated meanwhile in tour.md"},
                      {"task", "Write the tour\nwith pictures"},
                      {"scope", {"docs/tour/**", "tour.md"}},
                      {"runs", 4},
                      {"evictions", 4},
                      {"trouble", {{"reason", "conflict"}, {"output", "<<<<<<< ours\nA\x1b[31m\n>>>>>>> theirs\n"}}}};
  const std::string text = facet_text(facet, {});
  INFO(text);
  for (const char* part : {"Write the tour …\n", "docs/tour/**, tour.md\n", "4 times\n",
                           "\nconflict\n  | <<<<<<< ours\n  | A\\x1b[31m\n  | >>>>>>> theirs\n"})
    CHECK(text.find(part) != std::string::npos);
}

TEST_CASE("a report has the values, who is missing, and every facet; what agents say stays text") {
  Json swarm = kSwarm;
  swarm["title"] = "Better";
  const Json results = {
      {"answered", 3},
      {"invalid", Json::array({{{"facet", "tour"}, {"problem", "/lines is missing"}}})},
      {"values",
       {{"lines", {{"value", 7}, {"decided", true}, {"missing", Json::array({"tour", "bad"})}}},
        {"odd", {{"error", "facet a: <b>"}}}}}};
  CHECK(swarm_report_markdown(swarm, facets(), results) ==
        "# Better\n\nSwarm docs: running; 3 of 4 facets gave a result.\n\n"
        "## lines\n\n**7**\n\nMissing: tour, bad.\n\n"
        "## odd\n\nNot made: facet a: \\<b\\>\n\n"
        "## Facets\n\n| Facet | Outcome | |\n|---|---|---|\n"
        "| guide | merged | aaaaaaaaaa |\n"
        "| tour | working |  |\n"
        "| index | waiting |  |\n"
        "| bad | rejected | tests\\\\x1b\\[31m red |\n"
        "\nThe result of tour does not count: /lines is missing\n");
}

TEST_CASE("the ledger says of each commit what became of it, and what could not be proven") {
  const Json ledger = {
      {"proven", false},
      {"open", 0},
      {"commits", Json::array({{{"commit", "c1c1c1c1c1c1c1"},
                                {"facet", "guide"},
                                {"run", "7K2M4A888"},
                                {"fate", "merged"},
                                {"merge", "aaaaaaaaaabbbb"}}})},
      {"repositories",
       Json::array(
           {{{"repository", "acme/api"}, {"merges", 1}, {"begin", "b0"}, {"deliverable", "d0"}}})},
      {"findings",
       Json::array({{{"kind", "lost"}, {"commit", "c1c1c1c1c1c1c1"}, {"text", "gone"}}})}};
  const std::string text = ledger_text(ledger, {});
  INFO(text);
  CHECK(text.find("c1c1c1c1c1  guide  7K2M4A  merged  as aaaaaaaaaa\n") != std::string::npos);
  CHECK(text.find("acme/api: 1 merge from b0 to d0\n") != std::string::npos);
  CHECK(text.find("lost c1c1c1c1c1: gone\n1 commit, 1 finding\n") != std::string::npos);
}

}  // namespace
}  // namespace muster::cli
