#include "sandboxd/output.hpp"

#include <nlohmann/json.hpp>

#include "sandboxd/pack.hpp"
#include "sandboxd/progress.hpp"

namespace muster::sandbox {

namespace {

constexpr std::uint64_t kMaxSummary = 64u << 10;
constexpr std::uint64_t kMaxResult = 256u << 10;

using Json = nlohmann::json;

bool is_usage(const Json& usage) {
  if (!usage.is_object()) return false;
  for (const auto& [key, value] : usage.items())
    if (!value.is_number()) return false;
  return true;
}

/// Empty when it is as the contract says.
std::string trouble_with(const Json& result) {
  if (!result.is_object()) return "is not a JSON object";
  for (const char* key : {"title", "body", "reason"})
    if (result.contains(key) && !result[key].is_string()) return std::string(key) + " is not a string";
  if (result.contains("labels")) {
    if (!result["labels"].is_array()) return "labels is not a list";
    for (const auto& label : result["labels"])
      if (!label.is_string()) return "a label is not a string";
  }
  if (result.contains("usage") && !is_usage(result["usage"])) return "usage is not an object of numbers";
  return {};
}

}  // namespace

Output read_output(const std::filesystem::path& out) {
  Output output;
  auto summary = take_text(out, "output/summary.md", kMaxSummary);
  if (summary) {
    output.summary = valid_utf8(*summary);
  } else if (summary.error().code != Errc::not_found) {
    output.warnings.push_back("summary.md: " + summary.error().message);
  }
  auto result = take_text(out, "output/result.json", kMaxResult);
  if (!result) {
    if (result.error().code != Errc::not_found)
      output.warnings.push_back("result.json: " + result.error().message);
    return output;
  }
  const Json parsed = Json::parse(*result, nullptr, false);
  if (std::string trouble = trouble_with(parsed); !trouble.empty()) {
    output.warnings.push_back("result.json " + trouble + "; it is ignored");
  } else {
    output.result_json = parsed.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  return output;
}

}  // namespace muster::sandbox
