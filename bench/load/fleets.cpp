#include "bench/load/fleets.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "storage/base/ids.hpp"

namespace muster::load {

using nlohmann::json;

namespace {

std::string text_at(const json& from, const char* key) {
  const auto found = from.find(key);
  return found != from.end() && found->is_string() ? found->get<std::string>() : "";
}

std::uint64_t number_at(const json& from, const char* key) {
  const auto found = from.find(key);
  return found != from.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

/// 0 when it did not happen.
std::int64_t time_at(const json& from, const char* key) {
  const std::string text = text_at(from, key);
  return text.empty() ? 0 : parse_rfc3339(text).value_or(Instant{0}).unix_ms;
}

tl::unexpected<Error> failed(const cli::Failure& failure, const std::string& what) {
  return fail(failure.code, what + ": " + failure.message);
}

bool is_end(const std::string& state) {
  return state == "delivered" || state == "unchanged" || state == "skipped" || state == "failed" ||
         state == "cancelled";
}

std::string default_name(const Options& options) {
  if (!options.name.empty()) return options.name;
  if (options.own_engine()) return "load";
  return "load-" + std::to_string(wall_clock_now().unix_ms / 1'000);
}

}  // namespace

std::string repository_url(const std::string& directory, std::uint32_t fleet,
                           std::uint32_t repository) {
  const std::string path =
      "/load-" + std::to_string(fleet) + "/r" + std::to_string(repository) + ".git";
  return directory.empty() ? "https://load.invalid" + path : directory + path;
}

double jain_index(const std::vector<double>& shares) {
  double sum = 0, squares = 0;
  for (const double share : shares) {
    sum += share;
    squares += share * share;
  }
  return squares == 0 ? 1 : sum * sum / (static_cast<double>(shares.size()) * squares);
}

Fleets::Fleets(const cli::Endpoint& endpoint, const Options& options, std::string repositories,
               Meters& meters)
    : client_(endpoint),
      options_(options),
      repositories_(std::move(repositories)),
      name_(default_name(options)),
      meters_(meters) {}

std::string Fleets::name_of(std::uint32_t number) const {
  return name_ + "-" + std::to_string(number);
}

json Fleets::body_of(std::uint32_t number) const {
  json list = json::array();
  for (std::uint32_t i = 1; i <= options_.repositories; ++i) {
    const auto named = parse_repository(repository_url(repositories_, number, i), "/");
    list.push_back({{"repository", named->owner_name},
                    {"url", named->fetch_url},
                    {"canonical_url", named->canonical_url},
                    {"base_branch", "main"},
                    {"labels", json::object()}});
  }
  json waves = json::array();
  for (const std::string& wave : options_.waves) {
    int count = 0;
    const auto [end, error] = std::from_chars(wave.data(), wave.data() + wave.size(), count);
    const bool whole = error == std::errc() && end == wave.data() + wave.size();
    waves.push_back(whole ? json(count) : json(wave));
  }
  const std::uint32_t concurrency =
      options_.concurrency > 0 ? options_.concurrency : options_.repositories;
  const json spec = {
      {"version", 1},
      {"name", name_of(number)},
      {"prompt", "A load test"},
      {"repositories", {{{"url", "https://load.invalid/all/of-them.git"}}}},
      {"agent", {{"run", "true"}, {"timeout", "2h"}}},
      {"verify", {{{"name", "simulated"}, {"run", "true"}, {"timeout", "2h"}}}},
      {"environment", {{"resources", {{"cpus", 1}, {"memory", "64MiB"}}}}},
      {"rollout",
       {{"waves", waves},
        {"concurrency", concurrency},
        {"retry",
         {{"max_attempts", options_.attempts},
          {"on", {"infrastructure", "agent", "verification", "delivery"}},
          {"backoff", "1s"},
          {"max_backoff", "5s"}}}}},
      {"delivery", {{"mode", options_.delivery}, {"branch", "muster/" + name_of(number)}}}};
  return {{"spec", spec}, {"repositories", list}, {"author", "muster-load"}};
}

Result<void> Fleets::make_next() {
  const std::uint32_t number = made_ + 1;
  const json body = body_of(number);
  const auto begun = Clock::now();
  const auto answer = client_.post("/v1/fleets", body);
  meters_.took("api", Clock::now() - begun);
  if (!answer) return failed(answer.error(), "making fleet " + name_of(number));
  ++made_;
  return {};
}

Result<json> Fleets::get(const std::string& path) {
  const auto begun = Clock::now();
  auto answer = client_.get(path);
  meters_.took("api", Clock::now() - begun);
  if (!answer) return failed(answer.error(), "GET " + path);
  return std::move(*answer);
}

Result<std::vector<FleetProgress>> Fleets::look() {
  std::vector<FleetProgress> all;
  for (std::string cursor;;) {
    const auto page = get(cli::with_query("/v1/fleets", {{"limit", "500"}, {"cursor", cursor}}));
    if (!page) return tl::unexpected<Error>(page.error());
    for (const json& fleet : page->value("fleets", json::array())) {
      FleetProgress progress;
      progress.name = text_at(fleet, "name");
      if (!progress.name.starts_with(name_ + "-")) continue;
      progress.state = text_at(fleet, "state");
      progress.created_unix_ms = time_at(fleet, "created_at");
      progress.ended_unix_ms = time_at(fleet, "ended_at");
      const json counts = fleet.value("counts", json::object());
      for (const auto& [state, count] : counts.items()) {
        progress.counts[state] = count.get<std::uint64_t>();
        if (is_end(state)) progress.ended += count.get<std::uint64_t>();
      }
      all.push_back(std::move(progress));
    }
    cursor = text_at(*page, "next");
    if (cursor.empty()) return all;
  }
}

Result<void> Fleets::read_runs(const std::vector<FleetProgress>& fleets) {
  std::uint64_t seen = 0;
  for (const FleetProgress& fleet : fleets)
    if (auto read = read_fleet(fleet, seen); !read) return read;
  return {};
}

Result<void> Fleets::read_fleet(const FleetProgress& fleet, std::uint64_t& seen) {
  const std::uint64_t stride =
      options_.sample == 0 ? 0 : std::max<std::uint64_t>(1, options_.runs() / options_.sample);
  std::uint64_t runs = 0;
  for (std::string cursor;;) {
    const auto page = get(
        cli::with_query("/v1/runs", {{"fleet", fleet.name}, {"limit", "500"}, {"cursor", cursor}}));
    if (!page) return tl::unexpected<Error>(page.error());
    for (const json& run : page->value("runs", json::array())) {
      ++runs;
      check(run);
      if (stride > 0 && seen++ % stride == 0)
        if (auto read = read_attempts(text_at(run, "id")); !read) return read;
    }
    cursor = text_at(*page, "next");
    if (cursor.empty()) break;
  }
  if (runs != options_.repositories)
    meters_.error("fleet " + fleet.name + " has " + std::to_string(runs) + " runs, not " +
                  std::to_string(options_.repositories));
  return {};
}

void Fleets::check(const json& run) {
  const std::string id = text_at(run, "id"), state = text_at(run, "state"),
                    failure = text_at(run, "class");
  if (!is_end(state)) return;
  const std::int64_t created = time_at(run, "created_at"), ended = time_at(run, "ended_at");
  if (created != 0 && ended != 0) meters_.took_ms("total", ended - created);
  const Outcome outcome{state, failure, static_cast<std::uint32_t>(number_at(run, "attempt"))};
  const std::string wrong = contradiction(options_.workload, id, outcome, options_.faults.any());
  if (!wrong.empty()) meters_.error(wrong);
}

Result<void> Fleets::read_attempts(const std::string& run) {
  const auto whole = get("/v1/runs/" + cli::encoded(run));
  if (!whole) return tl::unexpected<Error>(whole.error());
  const json attempts = whole->value("attempts", json::array());
  const auto span = [this](const char* phase, std::int64_t from, std::int64_t until) {
    if (from != 0 && until >= from) meters_.took_ms(phase, until - from);
  };
  for (const json& attempt : attempts) {
    span("queue", time_at(attempt, "queued_at"), time_at(attempt, "placed_at"));
    span("start", time_at(attempt, "placed_at"), time_at(attempt, "accepted_at"));
    if (const std::string failure = text_at(attempt, "class"); failure != "none")
      meters_.attempt_failed(failure + "(" + text_at(attempt, "reason") + ")");
  }
  if (!attempts.empty())
    span("settle", time_at(attempts.back(), "finished_at"), time_at(*whole, "ended_at"));
  return {};
}

double Fleets::messages() {
  const auto text = client_.get_text("/metrics");
  if (!text) return -1;
  const std::string name = "\nmuster_engine_messages_total ";
  const std::size_t at = text->find(name);
  return at == text->npos ? -1 : std::strtod(text->c_str() + at + name.size(), nullptr);
}

}  // namespace muster::load
