#include "sandboxd/output.hpp"

#include <nlohmann/json.hpp>

#include "sandboxd/hostile_file.hpp"
#include "sandboxd/init/plan_format.hpp"
#include "sandboxd/progress.hpp"
#include "storage/base/files.hpp"

namespace muster::sandbox {

namespace {

constexpr std::uint64_t kMaxSummary = 64u << 10;
constexpr std::uint64_t kMaxResult = 256u << 10;
constexpr std::size_t kMaxOrders = 64u << 20;
constexpr int kMaxDepth = 64;  // printing JSON recurses

bool is_usage(const nlohmann::json& usage) {
  if (!usage.is_object()) return false;
  for (const auto& [key, value] : usage.items())
    if (!value.is_number()) return false;
  return true;
}

/// Empty when it is as the contract says.
std::string trouble_with(const nlohmann::json& result) {
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

/// Null when it is not JSON, or nested deeper than anybody would.
nlohmann::json parse_result(const std::string& text) {
  bool deep = false;
  nlohmann::json parsed = nlohmann::json::parse(
      text,
      [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
        deep = deep || depth > kMaxDepth;
        return !deep;
      },
      false);
  return deep ? nlohmann::json() : parsed;
}

nlohmann::json masked(const nlohmann::json& value, const Mask& mask) {
  if (value.is_string()) return mask.masked(value.get_ref<const std::string&>());
  if (value.is_array()) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& item : value) list.push_back(masked(item, mask));
    return list;
  }
  if (!value.is_object()) return value;
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [key, item] : value.items()) object[mask.masked(key)] = masked(item, mask);
  return object;
}

}  // namespace

Mask mask_from(const std::filesystem::path& orders) {
  Mask mask;
  const auto text = read_file(orders, kMaxOrders);
  if (!text) return mask;
  std::string_view rest = *text, key, value;
  while (take_field(rest, key, value))
    if (key == "mask") mask.add(value);
  return mask;
}

Output read_output(const std::filesystem::path& out, const Mask& mask) {
  Output output;
  auto summary = take_text(out, "output/summary.md", kMaxSummary);
  if (summary) {
    output.summary = valid_utf8(mask.masked(*summary));
  } else if (summary.error().code != Errc::not_found) {
    output.warnings.push_back("summary.md: " + summary.error().message);
  }
  auto result = take_text(out, "output/result.json", kMaxResult);
  if (!result) {
    if (result.error().code != Errc::not_found)
      output.warnings.push_back("result.json: " + result.error().message);
    return output;
  }
  const nlohmann::json parsed = parse_result(*result);
  if (std::string trouble = trouble_with(parsed); !trouble.empty()) {
    output.warnings.push_back("result.json " + trouble + "; it is ignored");
  } else {
    output.result_json = masked(parsed, mask).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  return output;
}

}  // namespace muster::sandbox
