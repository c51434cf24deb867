#include "tools/musterd/limits_store.hpp"

#include <nlohmann/json.hpp>

#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"

namespace muster::musterd {
namespace {

using actors::RunLimits;
using nlohmann::ordered_json;

constexpr std::size_t kMaxFile = 256u << 10;
constexpr std::size_t kRevision = 16;

std::string text_of(const RunLimits& limits) {
  ordered_json fleets = ordered_json::object();
  for (const auto& [name, fleet] : limits.fleets) {
    fleets[name] = {{"weight", fleet.weight}};
    if (fleet.concurrency) fleets[name]["concurrency"] = *fleet.concurrency;
  }
  return ordered_json({{"running_total", limits.total}, {"fleets", fleets}}).dump(1) + "\n";
}

LimitsStore::State state_of(const RunLimits& limits) {
  return {limits, sha256_hex(text_of(limits)).substr(0, kRevision)};
}

std::optional<std::uint32_t> number(const ordered_json& from, const char* key) {
  const auto found = from.find(key);
  if (found == from.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint32_t>();
}

Result<RunLimits> parse(const std::string& text) {
  const auto json = ordered_json::parse(text, nullptr, false);
  RunLimits limits;
  if (!json.is_object() || !number(json, "running_total") || !json.contains("fleets") ||
      !json["fleets"].is_object())
    return fail(Errc::corrupt, "no running_total and fleets in it");
  limits.total = *number(json, "running_total");
  for (const auto& [name, fleet] : json["fleets"].items()) {
    if (!fleet.is_object()) return fail(Errc::corrupt, "fleet " + name + " is no object");
    limits.fleets[name] = {number(fleet, "concurrency"), number(fleet, "weight").value_or(1)};
  }
  return limits;
}

Result<void> within(const char* what, const std::optional<std::uint32_t>& value,
                    std::uint32_t most) {
  if (!value || (*value >= 1 && *value <= most)) return {};
  return fail(Errc::invalid,
              "'" + std::string(what) + "' must be a number from 1 to " + std::to_string(most));
}

Result<void> check_change(const LimitsChange& change) {
  if (auto ok = within("running_total", change.total, kMaxConcurrency); !ok) return ok;
  if (auto ok = within("concurrency", change.concurrency, kMaxConcurrency); !ok) return ok;
  if (auto ok = within("weight", change.weight, kMaxWeight); !ok) return ok;
  const bool of_fleet = change.concurrency || change.weight || change.clear;
  if (of_fleet && change.fleet.empty())
    return fail(Errc::invalid, "'concurrency', 'weight' and 'clear' need a 'fleet'");
  if (!of_fleet && !change.fleet.empty())
    return fail(Errc::invalid, "say what of the fleet: 'concurrency', 'weight' or 'clear'");
  if (!of_fleet && !change.total)
    return fail(Errc::invalid, "say what to change: 'running_total', or 'fleet' with more");
  if (change.clear && (change.concurrency || change.weight))
    return fail(Errc::invalid, "'clear' stands alone");
  return {};
}

std::string words_of(const RunLimits::Fleet& fleet) {
  return "concurrency " +
         (fleet.concurrency ? std::to_string(*fleet.concurrency) : "as its file says") +
         ", weight " + std::to_string(fleet.weight);
}

std::vector<std::string> differences(const RunLimits& before, const RunLimits& after,
                                     const std::string& fleet) {
  std::vector<std::string> words;
  if (before.total != after.total)
    words.push_back("running in all: " + std::to_string(after.total) + ", was " +
                    std::to_string(before.total));
  const auto of = [&](const RunLimits& limits) {
    const auto found = limits.fleets.find(fleet);
    return found == limits.fleets.end() ? RunLimits::Fleet{} : found->second;
  };
  if (of(before) != of(after))
    words.push_back("fleet " + fleet + ": " + words_of(of(after)) + "; was " +
                    words_of(of(before)));
  return words;
}

RunLimits changed(RunLimits limits, const LimitsChange& change) {
  limits.total = change.total.value_or(limits.total);
  if (change.fleet.empty()) return limits;
  RunLimits::Fleet& fleet = limits.fleets[change.fleet];
  if (change.concurrency) fleet.concurrency = change.concurrency;
  if (change.weight) fleet.weight = *change.weight;
  if (change.clear || fleet == RunLimits::Fleet{}) limits.fleets.erase(change.fleet);
  return limits;
}

}  // namespace

Result<std::unique_ptr<LimitsStore>> LimitsStore::open(std::filesystem::path file, Apply apply) {
  std::unique_ptr<LimitsStore> store(new LimitsStore(std::move(file), std::move(apply)));
  std::error_code error;
  if (std::filesystem::exists(store->file_, error)) {
    const auto text = read_file(store->file_, kMaxFile);
    if (!text) return tl::unexpected<Error>(text.error());
    auto limits = parse(*text);
    if (!limits) return fail(limits.error(), store->file_.string());
    store->limits_ = std::move(*limits);
  }
  store->apply_(store->limits_);
  return store;
}

LimitsStore::State LimitsStore::state() const {
  const std::lock_guard lock(mutex_);
  return state_of(limits_);
}

Result<LimitsStore::Changed> LimitsStore::change(
    const LimitsChange& change, bool dry_run,
    const std::function<bool(const std::string& revision)>& expected) {
  if (auto ok = check_change(change); !ok) return tl::unexpected<Error>(ok.error());
  const std::lock_guard lock(mutex_);
  const std::string present = state_of(limits_).revision;
  if (expected && !expected(present))
    return fail(Errc::conflict, "the limits have changed: their revision is " + present);
  const RunLimits next = changed(limits_, change);
  if (next.fleets.size() > kMaxLimitedFleets)
    return fail(Errc::invalid, "at most " + std::to_string(kMaxLimitedFleets) +
                                   " fleets may have limits of their own: clear others first");
  Changed result{state_of(next), differences(limits_, next, change.fleet)};
  if (dry_run || next == limits_) return result;
  if (auto written = write_file_durably(file_, text_of(next), 0600); !written)
    return tl::unexpected<Error>(written.error());
  limits_ = next;
  apply_(limits_);
  return result;
}

}  // namespace muster::musterd
