#include "actors/run/retry.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/common.hpp"
#include "actors/run/limits.hpp"

namespace muster::actors {

namespace {

/// FNV-1a: the same for ever and everywhere, unlike std::hash.
std::uint64_t stable_hash(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 1099511628211ULL;
  }
  return hash;
}

}  // namespace

Duration backoff(const fbs::RunPolicyT& policy, std::string_view run, std::uint32_t attempt) {
  constexpr std::uint32_t kMostDoublings = 20;
  const std::int64_t most = std::max<std::int64_t>(policy.max_backoff_ms, 0);
  std::int64_t delay = std::clamp<std::int64_t>(policy.backoff_ms, 0, most);
  for (std::uint32_t i = 1; i < attempt && i < kMostDoublings && delay < most; ++i)
    delay = std::min(delay * 2, most);
  const std::int64_t half = delay / 2;
  const std::uint64_t spread = stable_hash(std::string(run) + "-" + std::to_string(attempt));
  return Duration(delay - static_cast<std::int64_t>(spread % static_cast<std::uint64_t>(half + 1)));
}

std::string feedback_json(const fbs::AttemptRowT& last, const std::string& before) {
  nlohmann::json feedback = {{"attempt", last.attempt},
                             {"class", to_string(last.class_)},
                             {"reason", last.reason},
                             {"message", last.message},
                             {"step", ""},
                             {"output", ""}};
  if (last.report && !last.report->steps.empty() && last.report->steps.back()) {
    const wire::StepReportT& step = *last.report->steps.back();
    feedback["step"] = step.name;
    feedback["output"] = bounded_tail(step.tail, limits::kFeedbackBytes);
  }
  if (nlohmann::json::accept(before)) feedback["before"] = nlohmann::json::parse(before);
  return feedback.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace muster::actors
