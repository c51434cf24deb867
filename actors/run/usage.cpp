#include "actors/run/usage.hpp"

#include <nlohmann/json.hpp>

namespace muster::actors {
namespace {

std::uint64_t counted(const nlohmann::json& usage, const char* key, double factor) {
  const auto found = usage.find(key);
  if (found == usage.end() || !found->is_number()) return 0;
  const double value = found->get<double>() * factor;
  if (!(value > 0)) return 0;
  return value >= static_cast<double>(kMostUsed) ? kMostUsed
                                                 : static_cast<std::uint64_t>(value + 0.5);
}

}  // namespace

Usage usage_in(const std::string& result_json) {
  const auto result = nlohmann::json::parse(result_json, nullptr, false);
  if (!result.is_object()) return {};
  const auto usage = result.find("usage");
  if (usage == result.end() || !usage->is_object()) return {};
  return {counted(*usage, "input_tokens", 1) + counted(*usage, "output_tokens", 1),
          counted(*usage, "cost_usd", 1e6)};
}

}  // namespace muster::actors
