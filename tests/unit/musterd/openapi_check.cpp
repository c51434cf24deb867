#include "tests/unit/musterd/openapi_check.hpp"

#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>
// valijson 1.0 has conversions and shadowed names that our warnings refuse.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>
#pragma GCC diagnostic pop

#include "tools/musterd/api.hpp"

namespace muster::musterd {
namespace {

using nlohmann::json;

json scalar(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;  // Quoted.
  if (text == "true" || text == "false") return text == "true";
  if (text.empty() || text == "null" || text == "~") return nullptr;
  const json number = json::parse(text, nullptr, false);
  return number.is_number() ? number : json(text);
}

json to_json(const YAML::Node& node) {
  if (node.IsMap()) {
    json object = json::object();
    for (const auto& pair : node) object[pair.first.as<std::string>()] = to_json(pair.second);
    return object;
  }
  if (node.IsSequence()) {
    json list = json::array();
    for (const auto& item : node) list.push_back(to_json(item));
    return list;
  }
  return node.IsScalar() ? scalar(node) : json(nullptr);
}

/// valijson 1.0 asks a null for its format too, where the type allows null.
void drop_formats_of_null(json& node) {
  if (node.is_object() && node.contains("type") && node.at("type").is_array()) node.erase("format");
  for (json& each : node)
    if (each.is_structured()) drop_formats_of_null(each);
}

const json& document() {
  static const json kDocument = [] {
    json whole = to_json(YAML::Load(std::string(openapi_text())));
    drop_formats_of_null(whole);
    return whole;
  }();
  return kDocument;
}

json resolved(json node) {
  while (node.contains("$ref"))
    node = document().at(json::json_pointer(node.at("$ref").get<std::string>().substr(1)));
  return node;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// What a body does to a schema of the document; references lead into the document.
std::string schema_problem(const json& schema, const std::string& body) {
  const json value = json::parse(body, nullptr, false);
  if (value.is_discarded()) return "the body is not JSON";
  json whole = schema;
  whole["components"] = document().at("components");
  valijson::Schema compiled;
  valijson::SchemaParser parser;
  parser.populateSchema(valijson::adapters::NlohmannJsonAdapter(whole), compiled);
  valijson::Validator validator;
  valijson::ValidationResults results;
  if (validator.validate(compiled, valijson::adapters::NlohmannJsonAdapter(value), &results))
    return "";
  std::string problems;
  for (valijson::ValidationResults::Error error; results.popError(error);) {
    for (const std::string& place : error.context) problems += place;
    problems += ": " + error.description + "\n";
  }
  return problems;
}

}  // namespace

std::string openapi_problem(const std::string& method, const std::string& pattern,
                            const Response& response) {
  const json& paths = document().at("paths");
  if (!paths.contains(pattern)) return "";  // Of what is not served, the document says nothing.
  const json& operations = paths.at(pattern);
  if (!operations.contains(lower(method))) return "";
  const json& responses = operations.at(lower(method)).at("responses");
  const std::string status = std::to_string(response.status);
  // Errors are all of one shape; a success must be named.
  if (!responses.contains(status) && response.status < 400) return status + " is not documented";
  const json told =
      resolved(responses.contains(status) ? responses.at(status) : responses.at("default"));
  if (!told.contains("content")) return "";
  const std::string type = response.content_type.substr(0, response.content_type.find(';'));
  if (!told.at("content").contains(type))
    return "content type " + type + " is not documented for " + status;
  if (type.find("json") == std::string::npos || type.find("ndjson") != std::string::npos ||
      response.stream)
    return "";
  return schema_problem(told.at("content").at(type).at("schema"), response.body);
}

}  // namespace muster::musterd
