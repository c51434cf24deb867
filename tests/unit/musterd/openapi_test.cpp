// openapi.yaml says what the server serves: no more, no less.
#include <yaml-cpp/yaml.h>

#include <set>

#include "tests/unit/musterd/api_fixture.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

const std::set<std::string> kMethods{"get", "put", "post", "delete", "head", "patch", "options"};

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// Every $ref below `node`.
void collect_references(const YAML::Node& node, std::set<std::string>& into) {
  if (node.IsMap())
    for (const auto& pair : node) {
      if (pair.first.as<std::string>() == "$ref") into.insert(pair.second.as<std::string>());
      collect_references(pair.second, into);
    }
  if (node.IsSequence())
    for (const auto& item : node) collect_references(item, into);
}

/// Keys that stand twice in one map: YAML readers keep one of them, silently.
void collect_doubles(const YAML::Node& node, std::vector<std::string>& into) {
  std::set<std::string> keys;
  if (node.IsMap())
    for (const auto& pair : node) {
      const auto key = pair.first.as<std::string>();
      if (!keys.insert(key).second) into.push_back(key);
      collect_doubles(pair.second, into);
    }
  if (node.IsSequence())
    for (const auto& item : node) collect_doubles(item, into);
}

}  // namespace

TEST_CASE("no name stands twice in the document") {
  std::vector<std::string> doubles;
  collect_doubles(YAML::Load(std::string(openapi_text())), doubles);
  CHECK(doubles == std::vector<std::string>{});
}

TEST_CASE_METHOD(ApiFixture, "the document and the routes name the same operations") {
  const YAML::Node document = YAML::Load(std::string(openapi_text()));
  std::set<std::string> documented;
  std::set<std::string> operations;
  for (const auto& path : document["paths"])
    for (const auto& operation : path.second) {
      const auto method = operation.first.as<std::string>();
      if (!kMethods.contains(method)) continue;
      documented.insert(method + " " + path.first.as<std::string>());
      CHECK(operations.insert(operation.second["operationId"].as<std::string>()).second);
    }
  std::set<std::string> served;
  for (const Route& route : api.router().routes())
    served.insert(lower_case(route.method) + " " + route.pattern);
  CHECK(documented == served);
}

TEST_CASE("every POST asks for a key, and every path parameter is declared") {
  const YAML::Node document = YAML::Load(std::string(openapi_text()));
  for (const auto& path : document["paths"]) {
    const auto pattern = path.first.as<std::string>();
    INFO(pattern);
    CHECK((pattern.find('{') != std::string::npos) == path.second["parameters"].IsDefined());
    if (const YAML::Node post = path.second["post"])
      CHECK(post["parameters"][0]["$ref"].as<std::string>() ==
            "#/components/parameters/IdempotencyKey");
  }
}

TEST_CASE("every reference leads somewhere") {
  const YAML::Node document = YAML::Load(std::string(openapi_text()));
  std::set<std::string> references;
  collect_references(document, references);
  CHECK(references.size() > 20);
  for (const std::string& reference : references) {
    INFO(reference);
    YAML::Node at = YAML::Clone(document);
    std::istringstream parts(reference.substr(2));
    for (std::string part; std::getline(parts, part, '/');) at.reset(at[part]);
    CHECK(at.IsDefined());
  }
}

TEST_CASE_METHOD(ApiFixture, "the document is served as it is") {
  CHECK(send("GET", "/v1/openapi.yaml").body == openapi_text());
}
