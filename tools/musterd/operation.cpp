#include "tools/musterd/operation.hpp"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "storage/base/ids.hpp"

namespace muster::musterd {

std::string key_for(std::string_view request_key, std::string_view target) {
  std::string digits = sha256_hex(std::string(request_key) + '\0' + std::string(target));
  // xxxxxxxx-xxxx-7xxx-8xxx-xxxxxxxxxxxx: the time of the request, the rest from the target.
  return std::string(request_key.substr(0, 13)) + "-7" + digits.substr(0, 3) + "-8" +
         digits.substr(3, 3) + "-" + digits.substr(6, 12);
}

namespace {

/// Answers come on threads of the engine, some perhaps after nobody waits any more.
struct Tally {
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t in_flight = 0;
  std::vector<bool> answered;
  OperationOutcome outcome;
};

void answer(Tally& tally, std::size_t n, const std::string& target,
            const Result<std::string>& reply) {
  const std::lock_guard lock(tally.mutex);
  if (tally.answered[n]) return;
  tally.answered[n] = true;
  --tally.in_flight;
  if (reply)
    ++tally.outcome.done;
  else
    tally.outcome.failures.push_back({target, reply.error()});
  tally.changed.notify_all();
}

}  // namespace

OperationOutcome carry_out(const OperationPlan& plan, const std::string& request_key) {
  auto tally = std::make_shared<Tally>();
  tally->answered.resize(plan.targets.size());
  tally->outcome.failures = plan.impossible;
  const auto end = std::chrono::steady_clock::now() + kOperationLimit;
  std::size_t begun = 0;
  for (; begun < plan.targets.size(); ++begun) {
    {
      std::unique_lock lock(tally->mutex);
      if (!tally->changed.wait_until(lock, end, [&] { return tally->in_flight < kCallsInFlight; }))
        break;
      ++tally->in_flight;
    }
    const OperationTarget& target = plan.targets[begun];
    target.act(key_for(request_key, target.name),
               [tally, n = begun, name = target.name](Result<std::string> reply) {
                 answer(*tally, n, name, reply);
               });
  }
  std::unique_lock lock(tally->mutex);
  tally->changed.wait_until(lock, end, [&] { return tally->in_flight == 0; });
  for (std::size_t n = 0; n < plan.targets.size(); ++n) {
    if (tally->answered[n]) continue;
    tally->answered[n] = true;  // A later answer changes nothing.
    tally->outcome.failures.push_back(
        {plan.targets[n].name,
         n < begun ? Error{Errc::unknown, "no answer in time: repeat with the same key"}
                   : Error{Errc::overloaded, "not begun in time: repeat with the same key"}});
  }
  return tally->outcome;
}

std::string targets_text(const OperationPlan& plan) {
  std::string text;
  for (std::size_t n = 0; n < std::min(plan.targets.size(), kTargetsShown); ++n)
    text += (n == 0 ? "" : ", ") + plan.targets[n].name;
  if (plan.targets.size() > kTargetsShown)
    text += ", … (" + std::to_string(plan.targets.size()) + " in all)";
  return text;
}

Json operation_json(const OperationPlan& plan, const OperationOutcome* outcome) {
  Json json = {{"action", plan.action},
               {"dry_run", outcome == nullptr},
               {"matched", plan.targets.size() + plan.impossible.size()},
               {"possible", plan.targets.size()},
               {"done", outcome != nullptr ? outcome->done : 0}};
  if (outcome == nullptr)
    json["decides"] = {{"messages", plan.messages}, {"effects", plan.effects}};
  Json names = Json::array();
  for (std::size_t n = 0; n < std::min(plan.targets.size(), kTargetsShown); ++n)
    names.push_back(plan.targets[n].name);
  json["targets"] = std::move(names);
  const auto& failures = outcome != nullptr ? outcome->failures : plan.impossible;
  json["failed"] = failures.size();
  Json list = Json::array();
  for (std::size_t n = 0; n < std::min(failures.size(), kFailuresShown); ++n)
    list.push_back({{"target", failures[n].target},
                    {"code", to_string(failures[n].error.code)},
                    {"message", failures[n].error.message}});
  json["failures"] = std::move(list);
  return json;
}

}  // namespace muster::musterd
