#include "actors/spec/schema.hpp"

// valijson 1.0 has conversions and shadowed names that our warnings refuse; its headers are system
// ones.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>

namespace muster::actors {
namespace {

using nlohmann::json;

/// valijson writes a place as <root>[key][0].
std::string pointer_of(const std::vector<std::string>& context) {
  std::string out;
  for (const std::string& part : context)
    if (part.starts_with("[") && part.ends_with("]")) out += "/" + part.substr(1, part.size() - 2);
  return out;
}

}  // namespace

std::vector<Problem> schema_problems(std::string_view text, std::string_view schema_text) {
  const json document = json::parse(text, nullptr, false);
  if (document.is_discarded()) return {{"", "is not valid JSON"}};
  const json schema_document = json::parse(schema_text);
  valijson::Schema schema;
  valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
  parser.populateSchema(valijson::adapters::NlohmannJsonAdapter(schema_document), schema);
  valijson::Validator validator;
  valijson::ValidationResults results;
  validator.validate(schema, valijson::adapters::NlohmannJsonAdapter(document), &results);
  std::vector<Problem> problems;
  valijson::ValidationResults::Error error;
  while (results.popError(error))
    problems.push_back({pointer_of(error.context), error.description});
  return problems;
}

void add_schema_problems(std::string_view text, std::string_view schema,
                         std::vector<Problem>& problems) {
  for (Problem& found : schema_problems(text, schema)) {
    const bool covered = std::any_of(problems.begin(), problems.end(), [&](const Problem& p) {
      return p.pointer.starts_with(found.pointer) || found.pointer.starts_with(p.pointer);
    });
    if (!covered) problems.push_back(std::move(found));
  }
}

}  // namespace muster::actors
