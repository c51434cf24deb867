#include "tools/musterd/report.hpp"

#include <algorithm>
#include <cctype>

namespace muster::musterd {
namespace {

constexpr std::size_t kSlowest = 10;
constexpr std::size_t kMaxMessage = 200;
constexpr std::size_t kShortestHash = 7;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/// A word's punctuation stays; what it encloses is looked at.
bool is_edge(char c) {
  return std::string_view("'\"`()[]{}<>,;:=!?").find(c) != std::string_view::npos;
}

bool is_hash(std::string_view word) {
  return word.size() >= kShortestHash && std::all_of(word.begin(), word.end(), is_hex) &&
         std::any_of(word.begin(), word.end(), is_digit) &&
         std::any_of(word.begin(), word.end(), [](char c) { return !is_digit(c); });
}

bool is_path(std::string_view word) {
  const std::size_t slash = word.find('/');
  return slash != std::string_view::npos && word.size() > 1 && word != "n/a" && word != "and/or";
}

std::string without_numbers(std::string_view word) {
  std::string out;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (!is_digit(word[i])) {
      out += word[i];
    } else if (i == 0 || !is_digit(word[i - 1])) {
      out += "<n>";
    }
  }
  return out;
}

std::string normalised_word(std::string_view word) {
  if (word.find("://") != std::string_view::npos) return "<url>";
  if (is_path(word)) return "<path>";
  if (is_hash(word)) return "<hash>";
  return without_numbers(word);
}

/// Splits a run of non-blanks at its edges: "(src/a.c:12)" keeps its brackets and colon.
std::string normalised_token(std::string_view token) {
  std::string out;
  while (!token.empty()) {
    if (token.find("://") != std::string_view::npos &&
        std::isalpha(static_cast<unsigned char>(token[0]))) {
      const std::size_t end = std::min(token.find_first_of("'\"`()<>,;"), token.size());
      return out + "<url>" + normalised_token(token.substr(end));
    }
    const auto* edge = std::find_if(token.begin(), token.end(), is_edge);
    const auto length = static_cast<std::size_t>(edge - token.begin());
    if (length > 0) out += normalised_word(token.substr(0, length));
    token.remove_prefix(length);
    if (!token.empty()) {
      out += token.front();
      token.remove_prefix(1);
    }
  }
  return out;
}

/// Runs that ended alike.
struct RunGroup {
  std::string kind;  ///< A failure's class, or the state of what did not fail.
  std::string reason;
  std::string message;
  std::uint32_t count = 0;
  std::string example;
  std::string repository;
};

class RunGroups {
 public:
  void add(std::string_view kind, const fbs::RunRowT& row, const std::string& message) {
    const std::string key = std::string(kind) + '\0' + row.reason + '\0' + message;
    RunGroup& group = groups_[key];
    if (group.count++ == 0)
      group = {std::string(kind), row.reason, message, 1, row.run, row.repository};
  }

  /// The most frequent first.
  [[nodiscard]] Json json(const char* kind_name) const {
    std::vector<const RunGroup*> sorted;
    for (const auto& [key, group] : groups_) sorted.push_back(&group);
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const auto* a, const auto* b) { return a->count > b->count; });
    Json out = Json::array();
    for (const RunGroup* group : sorted)
      out.push_back({{kind_name, group->kind},
                     {"reason", group->reason},
                     {"message", group->message},
                     {"count", group->count},
                     {"example", group->example},
                     {"repository", group->repository}});
    return out;
  }

 private:
  std::map<std::string, RunGroup> groups_;
};

Json failures(const std::vector<const fbs::RunRowT*>& rows) {
  RunGroups groups;
  for (const auto* row : rows)
    if (row->state == fbs::RunState::failed)
      groups.add(name_of(row->class_), *row,
                 normalised(row->message.empty() ? row->reason : row->message));
  return groups.json("class");
}

/// What ended well without a pull request.
Json undelivered(const std::vector<const fbs::RunRowT*>& rows) {
  RunGroups groups;
  for (const auto* row : rows)
    if (row->state == fbs::RunState::skipped || row->state == fbs::RunState::unchanged)
      groups.add(name_of(row->state), *row, normalised(row->message));
  return groups.json("state");
}

/// Milliseconds between two moments, when both are known.
void add_span(std::vector<std::int64_t>& to, std::int64_t from_ms, std::int64_t until_ms) {
  if (from_ms != 0 && until_ms >= from_ms) to.push_back(until_ms - from_ms);
}

Json spans_json(const std::vector<std::int64_t>& spans) {
  return {{"p50_ms", percentile(spans, 50)}, {"p95_ms", percentile(spans, 95)}};
}

struct Phases {
  std::vector<std::int64_t> queue, fetch, create, agent, verify, deliver, total;
};

void add_attempt(Phases& phases, const fbs::AttemptRowT& attempt) {
  add_span(phases.queue, attempt.queued_unix_ms, attempt.placed_unix_ms);
  const std::int64_t agent_end =
      attempt.verifying_unix_ms != 0 ? attempt.verifying_unix_ms : attempt.finished_unix_ms;
  add_span(phases.agent, attempt.running_unix_ms, agent_end);
  add_span(phases.verify, attempt.verifying_unix_ms, attempt.finished_unix_ms);
  add_span(phases.deliver, attempt.finished_unix_ms, attempt.delivered_unix_ms);
  if (!attempt.report) return;
  phases.fetch.push_back(attempt.report->fetch_ms);
  phases.create.push_back(attempt.report->create_ms);
}

Json phases_json(const ReportInput& input, const std::vector<const fbs::RunRowT*>& rows) {
  Phases phases;
  for (const auto* row : rows) {
    if (is_end(row->state)) add_span(phases.total, row->started_unix_ms, row->ended_unix_ms);
    const auto attempts = input.attempts.find(row->run);
    if (attempts == input.attempts.end()) continue;
    for (const auto& attempt : attempts->second) add_attempt(phases, attempt);
  }
  return {{"queue", spans_json(phases.queue)},   {"fetch", spans_json(phases.fetch)},
          {"create", spans_json(phases.create)}, {"agent", spans_json(phases.agent)},
          {"verify", spans_json(phases.verify)}, {"deliver", spans_json(phases.deliver)},
          {"total", spans_json(phases.total)}};
}

Json slowest(const std::vector<const fbs::RunRowT*>& rows) {
  std::vector<const fbs::RunRowT*> timed;
  for (const auto* row : rows)
    if (row->started_unix_ms != 0 && row->ended_unix_ms >= row->started_unix_ms)
      timed.push_back(row);
  const auto spent = [](const fbs::RunRowT* row) {
    return row->ended_unix_ms - row->started_unix_ms;
  };
  std::stable_sort(timed.begin(), timed.end(),
                   [&](const auto* a, const auto* b) { return spent(a) > spent(b); });
  if (timed.size() > kSlowest) timed.resize(kSlowest);
  Json out = Json::array();
  for (const auto* row : timed)
    out.push_back({{"run", row->run}, {"repository", row->repository}, {"ms", spent(row)}});
  return out;
}

Json outcomes(const std::vector<const fbs::RunRowT*>& rows) {
  std::map<fbs::RunState, std::uint32_t> counts;
  for (const auto* row : rows) ++counts[row->state];
  Json out = Json::object();
  for (const fbs::RunState state : fbs::EnumValuesRunState())
    if (state != fbs::RunState::superseded) out[std::string(name_of(state))] = counts[state];
  return out;
}

Json escalated(const ReportInput& input, const std::vector<const fbs::RunRowT*>& rows) {
  Json out = Json::array();
  const std::vector<std::string> assignees =
      input.fleet.policy ? input.fleet.policy->escalate : std::vector<std::string>{};
  for (const auto* row : rows)
    if (row->escalated)
      out.push_back({{"run", row->run}, {"repository", row->repository}, {"assignees", assignees}});
  return out;
}

Json pulls(const ReportInput& input) {
  std::map<fbs::PullState, std::uint32_t> counts;
  Json list = Json::array();
  for (const auto& [id, pull] : input.pulls) {
    ++counts[pull.state];
    list.push_back(pull_json(id, pull, nullptr));
  }
  return {{"open", counts[fbs::PullState::open]},
          {"merged", counts[fbs::PullState::merged]},
          {"closed", counts[fbs::PullState::closed]},
          {"list", list}};
}

}  // namespace

std::string normalised(std::string_view message) {
  message = message.substr(0, message.find('\n'));
  std::string out;
  while (!message.empty()) {
    const std::size_t begin = std::min(message.find_first_not_of(" \t\r"), message.size());
    message.remove_prefix(begin);
    const std::string_view token = message.substr(0, message.find_first_of(" \t\r"));
    message.remove_prefix(token.size());
    if (token.empty()) continue;
    if (!out.empty()) out += ' ';
    out += normalised_token(token);
  }
  if (out.size() > kMaxMessage) out.resize(kMaxMessage);
  return out;
}

std::int64_t percentile(std::vector<std::int64_t> values, int percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t rank = (values.size() * static_cast<std::size_t>(percent) + 99) / 100;
  return values[std::max<std::size_t>(rank, 1) - 1];
}

Json make_report(const ReportInput& input) {
  std::vector<const fbs::RunRowT*> rows;
  for (const auto& row : input.rows)
    if (row.state != fbs::RunState::superseded) rows.push_back(&row);
  const auto retried =
      std::count_if(rows.begin(), rows.end(), [](const auto* row) { return row->attempt > 1; });
  return {{"fleet", input.fleet_json},
          {"outcomes", outcomes(rows)},
          {"failures", failures(rows)},
          {"skipped", undelivered(rows)},
          {"pulls", pulls(input)},
          {"retried", retried},
          {"attempts", input.fleet.attempts},
          {"escalated", escalated(input, rows)},
          {"phases", phases_json(input, rows)},
          {"slowest", slowest(rows)}};
}

}  // namespace muster::musterd
