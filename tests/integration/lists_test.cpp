// openapi.yaml and the running server: every address answers as it says, and every list that it names is a stream.
#include <catch2/catch.hpp>
#include <yaml-cpp/yaml.h>

#include <cstdlib>
#include <map>
#include <regex>
#include <set>

#include "tests/integration/waiting_fleet.hpp"
#include "tests/unit/musterd/openapi_check.hpp"

using namespace muster;
using nlohmann::json;
using tests::ApiReply;
using tests::Followed;

namespace {

/// Answers that hold lists and are none that could change under a reader.
const std::map<std::string, std::string> kNoLists{
    {"/v1/whoami", "what a token may do"},
    {"/v1/kinds", "the same as long as musterd runs"},
    {"/v1/hot", "a count of the moment; /v1/steps is followed"},
    {"/v1/messages/{sequence}/tree", "what a message led to"},
    {"/v1/actors/{kind}/{key}/states/{sequence}", "a state of the past"},
    {"/v1/admin/backups", "files in a directory"},
    {"/v1/runs/{id}/snapshots", "what hosts say when they are asked"},
};

/// What stands there; nothing, and no throw, where nothing does.
YAML::Node child(const YAML::Node& node, const std::string& key) {
  if (!node || !node.IsMap()) return YAML::Node();
  const YAML::Node found = node[key];
  return found ? found : YAML::Node();
}

/// What stands behind a $ref, or the node itself.
YAML::Node resolved(const YAML::Node& document, const YAML::Node& node) {
  const YAML::Node reference = child(node, "$ref");
  if (!reference.IsScalar()) return node;  // as<std::string>() of nothing is "null".
  YAML::Node at = YAML::Clone(document);
  std::istringstream parts(reference.Scalar().substr(2));  // "#/…"
  for (std::string part; std::getline(parts, part, '/');) at.reset(at[part]);
  return at;
}

/// Whether one of its required members is an array.
bool holds_a_list(const YAML::Node& schema) {
  for (const auto& name : child(schema, "required")) {
    const YAML::Node member = child(child(schema, "properties"), name.as<std::string>());
    const YAML::Node type = child(member, "type");
    if (type.IsScalar() && type.as<std::string>() == "array") return true;
  }
  return false;
}

struct ListRoute {
  std::string pattern;
  bool streams = false;   ///< By its media types, …
  bool resumes = false;   ///< … its parameters …
  bool position = false;  ///< … and its headers.
};

std::vector<ListRoute> list_routes(const YAML::Node& document) {
  std::vector<ListRoute> routes;
  for (const auto& path : document["paths"]) {
    const YAML::Node get = child(path.second, "get");
    const YAML::Node answer = resolved(document, child(child(get, "responses"), "200"));
    const YAML::Node content = child(answer, "content");
    if (!holds_a_list(child(child(content, "application/json"), "schema"))) continue;
    ListRoute route;
    route.pattern = path.first.as<std::string>();
    route.streams = child(content, "text/event-stream").IsMap();
    route.position = child(child(answer, "headers"), "Muster-Position").IsMap();
    for (const auto& parameter : child(get, "parameters"))
      route.resumes = route.resumes || child(parameter, "$ref").as<std::string>("") ==
                                           "#/components/parameters/LastEventId";
    routes.push_back(std::move(route));
  }
  return routes;
}

/// An address of that pattern that exists.
std::string address(const std::string& pattern) {
  static const std::map<std::string, std::string> kValues{
      {"/v1/swarms/{name}", "/v1/swarms/docs"},
      {"{name}", "bump"},
      {"{kind}", "fleet"},
      {"{key}", "bump"},
      {"{facet}", "a"},
      {"{snapshot}", "snap-0123456789abcdef"},
  };
  std::string text = pattern;
  for (const char* name : {"/v1/swarms/{name}", "{name}", "{kind}", "{key}", "{facet}", "{snapshot}"})
    if (const std::size_t at = text.find(name); at != std::string::npos)
      text.replace(at, std::string(name).size(), kValues.at(name));
  return text;
}

struct Lists : tests::WaitingFleet {
  Lists() {
    const std::string repository = (root / "acme/api").string();
    REQUIRE(std::system(("git init -q -b main " + repository + " && git -C " + repository +
                         " -c user.name=Ann -c user.email=ann@example.org commit -q --allow-empty "
                         "-m Begin")
                            .c_str()) == 0);
    const auto name = parse_repository(repository, "/");
    const json swarm = {
        {"spec",
         {{"name", "docs"},
          {"prompt", "Better docs"},
          {"repositories", json::array({{{"id", "api"}, {"path", repository}}})},
          {"agent", {{"run", "true"}}},
          {"verify", json::array({{{"name", "t"}, {"run", "true"}}})},
          {"facets", json::array({{{"id", "a"}, {"task", "A"}, {"scope", json::array({"docs/**"})}},
                                  {{"id", "b"}, {"task", "B"}, {"scope", json::array({"src/**"})}}})}}},
        {"repositories", json::array({{{"id", "api"},
                                       {"repository", name->owner_name},
                                       {"url", name->fetch_url},
                                       {"canonical_url", name->canonical_url}}})},
        {"agent_bundle", ""},
        {"author", "ann"}};
    const ApiReply begun = api().post("/v1/swarms", swarm);
    INFO(begun.body);
    REQUIRE(begun.status == 201);
    until("/v1/swarms/docs/facets", [](const json& doc) { return doc.at("facets").size() == 2; });
  }

  [[nodiscard]] std::string position(const std::string& path) const {
    const ApiReply reply = api().get(path);
    INFO(path << "\n" << reply.body);
    REQUIRE(reply.status == 200);
    return reply.header("Muster-Position");
  }
};

/// The id of the last event.
std::string last_id(const std::string& told) {
  std::string last;
  static const std::regex kId("(?:^|\n)id: ([0-9a-f.]+)\n");
  for (auto at = std::sregex_iterator(told.begin(), told.end(), kId); at != std::sregex_iterator(); ++at)
    last = (*at)[1];
  return last;
}

}  // namespace

TEST_CASE_METHOD(Lists, "every list that openapi.yaml names is a stream, and begins where it was read") {
  const YAML::Node document = YAML::Load(api().get("/v1/openapi.yaml").body);
  std::set<std::string> lists;
  for (const ListRoute& route : list_routes(document)) {
    INFO(route.pattern);
    if (kNoLists.contains(route.pattern)) {
      CHECK_FALSE(route.streams);
      continue;
    }
    lists.insert(route.pattern);
    CHECK(route.streams);
    CHECK(route.resumes);
    const std::string path = address(route.pattern);
    if (route.pattern != "/v1/audit") {  // Its entries' own numbers are the positions.
      CHECK(route.position);
      CHECK(position(path).find_first_not_of("0123456789.abcdef") == std::string::npos);
      CHECK_FALSE(position(path).empty());
    }
    const Followed followed(api(), path);  // Waits for the stream's first bytes.
  }
  CHECK(lists.size() >= 15);
  CHECK(lists.contains("/v1/swarms/{name}/facets"));
  CHECK(lists.contains("/v1/actors/{kind}/{key}/rows"));
}

namespace {

/// What can't be had of an installation without hosts, where no run has begun.
const std::map<std::string, long> kRefused{
    {"/v1/pulls/{id}", 404},       {"/v1/pulls/{id}/diff", 404}, {"/v1/hosts/{name}", 404},
    {"/v1/runs/{id}/diff", 404},   {"/v1/runs/{id}/exec", 409},  {"/v1/runs/{id}/artifacts", 404},
    {"/v1/admin/backups", 404},
};

/// What an answer does to openapi.yaml; "" when it fits.
std::string misfit(const std::string& method, const std::string& pattern, const ApiReply& reply) {
  musterd::Response response;
  response.status = static_cast<int>(reply.status);
  response.content_type = reply.header("Content-Type");
  response.body = reply.body;
  return musterd::openapi_problem(method, pattern, response);
}

}  // namespace

TEST_CASE_METHOD(Lists, "every address answers as openapi.yaml says") {
  const YAML::Node document = YAML::Load(api().get("/v1/openapi.yaml").body);
  const std::string number = std::to_string(get("/v1/actors/fleet/bump").at("incarnation").get<std::uint64_t>());
  const auto place = [&](const std::string& pattern) {
    std::string text = pattern;
    for (const auto& [name, value] : std::map<std::string, std::string>{
             {"/v1/runs/{id}", "/v1/runs/" + a_run()},
             {"/v1/pulls/{id}", "/v1/pulls/acme%2Fr0%231"},
             {"{sequence}", number}})
      if (const std::size_t at = text.find(name); at != std::string::npos)
        text.replace(at, name.size(), value);
    return address(text) + (pattern == "/v1/admin/backups" ? "?directory=" + root.string() : "");
  };
  std::map<std::string, long> refused;
  for (const auto& path : document["paths"]) {
    const auto pattern = path.first.as<std::string>();
    if (!child(path.second, "get").IsMap() || pattern == "/v1/events") continue;  // Which has no end.
    const ApiReply reply = api().get(place(pattern));
    INFO(pattern << " " << reply.status << "\n" << reply.body);
    CHECK(misfit("GET", pattern, reply) == "");
    CHECK(reply.status < 500);
    if (reply.status >= 300) refused[pattern] = reply.status;
  }
  CHECK(refused == kRefused);
  std::size_t writes = 0;
  for (const auto& path : document["paths"]) {
    const auto pattern = path.first.as<std::string>();
    if (!child(path.second, "post").IsMap()) continue;
    ++writes;
    const ApiReply without = api().post(place(pattern), json::object(), "");
    INFO(pattern << " " << without.status << "\n" << without.body);
    CHECK(without.status == 400);
    CHECK(without.json().at("detail").get<std::string>().find("Idempotency-Key") != std::string::npos);
    CHECK(misfit("POST", pattern, without) == "");
    const ApiReply strange = api().post(place(pattern), {{"nonsense", 1}});
    INFO(strange.status << "\n" << strange.body);
    CHECK((strange.status == 400 || strange.status == 404));
    CHECK(misfit("POST", pattern, strange) == "");
  }
  CHECK(writes >= 25);
}

TEST_CASE_METHOD(Lists, "an actor's rows are followed from where they were read, over a break too") {
  const std::string rows = "/v1/actors/fleet/bump/rows?prefix=run/";
  const auto cancel = [&](const std::string& run) {
    REQUIRE(api().post("/v1/runs/" + run + "/cancel", {{"reason", "to be seen"}}).status == 200);
  };
  const json page = get(rows + "&limit=2");
  REQUIRE(page.at("rows").size() == 2);
  const std::string begin = position(rows);
  const json all = get(rows).at("rows");
  REQUIRE(all.size() == 4);
  const auto run = [&](std::size_t n) {
    return all.at(n).at("row").get<std::string>().substr(std::string("run/").size());
  };
  const auto cancelled = [&](std::size_t n) {
    return "\"row\":\"run/" + run(n) + "\"";
  };
  std::string id;
  {
    const Followed followed(api(), rows, begin);
    cancel(run(0));
    const std::string told = followed.until(cancelled(0));
    CHECK(told.find("event: changed\n") != std::string::npos);
    CHECK(told.find(run(1)) == std::string::npos);  // That one is as the list said.
    id = last_id(followed.until("\"cancelled\""));
  }
  cancel(run(1));
  until("/v1/runs/" + run(1), [](const json& doc) { return doc.at("state") == "cancelled"; });
  const Followed resumed(api(), rows, id);
  const std::string told = resumed.until(cancelled(1));
  CHECK(told.find(run(2)) == std::string::npos);
  CHECK(told.find("event: gap") == std::string::npos);

  // Who was given other pages, or a list that nobody remembers, is told so.
  const Followed unknown(api(), rows, "1.00000000000000ff");
  unknown.until("event: gap");
  cancel(run(2));
  unknown.until(cancelled(2));
}

TEST_CASE_METHOD(Lists, "a swarm's facets and messages are followed") {
  const Followed facets(api(), "/v1/swarms/docs/facets", position("/v1/swarms/docs/facets"));
  const Followed messages(api(), "/v1/swarms/docs/messages", position("/v1/swarms/docs/messages"));
  const ApiReply said =
      api().post("/v1/swarms/docs/steer", {{"text", "mind the glossary"}, {"by", "ann"}});
  INFO(said.body);
  REQUIRE(said.status == 200);
  messages.until("mind the glossary");
  REQUIRE(api().post("/v1/swarms/docs/cancel", {{"reason", "to be seen"}}).status == 200);
  const std::string told = facets.until("\"state\":\"rejected\"");
  CHECK(told.find("event: changed") != std::string::npos);
}
