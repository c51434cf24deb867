// The end: one pull request in each repository where something was integrated, which accounts for every facet.
#include <chrono>

#include "actors/repo/repo.hpp"
#include "actors/run/pull_text.hpp"
#include "actors/swarm/life.hpp"

namespace muster::actors {

using fbs::FacetState;
using fbs::SwarmState;

namespace {

constexpr std::size_t kTitleBytes = 200;
constexpr std::size_t kIntentBytes = 16u << 10;
constexpr std::size_t kBodyBytes = 60'000;  // GitHub takes 65,536 characters.
constexpr std::size_t kCellBytes = 200;
constexpr std::size_t kMostFacets = 10'000;

std::string short_id(const std::string& commit) {
  return "`" + commit.substr(0, 10) + "`";
}

/// One list of the body: as many lines as fit, then how many more there are.
class Section {
 public:
  Section(std::string head, std::size_t room) : text_(std::move(head)), room_(room) {}
  void add(const std::string& line) {
    if (text_.size() + line.size() > room_)
      ++left_out_;
    else
      text_ += line;
    ++lines_;
  }
  [[nodiscard]] std::string text() const {
    if (lines_ == 0) return {};
    return text_ + (left_out_ > 0 ? "\n… and " + std::to_string(left_out_) + " more.\n" : "") +
           "\n";
  }

 private:
  std::string text_;
  std::size_t room_, lines_ = 0, left_out_ = 0;
};

/// The files that a merge driver decided.
std::string driven(const fbs::FacetRowT& row) {
  std::string text;
  for (const std::string& path : row.by_driver)
    text += (text.empty() ? "" : ", ") + safe_cell(path, kCellBytes);
  return text;
}

std::string plural(std::size_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

}  // namespace

/// Everything is merged, unchanged or rejected, and no order to a line is under way.
void SwarmLife::deliver() {
  ctx_.cancel("deadline");
  if (s_.cancelled) return end(SwarmState::cancelled);
  s_.state = SwarmState::delivering;
  progress();
  for (std::uint32_t i = 0; i < s_.lines; ++i)
    if (line(i).green != line(i).begin && !line(i).pull_asked) ask_for_pull(i);
  if (s_.pulls_asked == 0) conclude();
}

void SwarmLife::conclude() {
  for (std::uint32_t i = 0; i < s_.lines; ++i) {
    if (line(i).pull_error.empty()) continue;
    s_.reason =
        one_line("no pull request in " + line(i).line->repository + ": " + line(i).pull_error,
                 swarm::kWhyBytes);
    return end(SwarmState::stopped);
  }
  if (!s_.reduce_error.empty()) {
    s_.reason = one_line("the results could not be reduced: " + s_.reduce_error, swarm::kWhyBytes);
    return end(SwarmState::stopped);
  }
  if (s_.stopping && !s_.converged) return end(SwarmState::stopped);
  end(in(FacetState::rejected) > 0 ? SwarmState::completed_with_rejections : SwarmState::completed);
}

void SwarmLife::ask_for_pull(std::uint32_t number) {
  fbs::LineRowT& row = line(number);
  touched_.insert(number);
  row.pull_asked = true;
  ++s_.pulls_asked;
  fbs::OpenPullT pull;
  pull.run = name();
  pull.swarm = name();
  pull.fleet = name();
  pull.branch = swarm::green_branch(name());
  pull.base_branch = row.line->base_branch;
  pull.base_sha = row.begin;
  pull.head_sha = row.green;
  pull.title = s_.title.empty() ? "Muster: swarm " + name() : bounded(s_.title, kTitleBytes);
  pull.body = pull_body(number);
  pull.author = s_.author;
  ctx_.send<Repo>(row.line->repository, pull);
}

std::string SwarmLife::pull_body(std::uint32_t number) {
  const fbs::LineRowT& where = line(number);
  Section merged(
      "## Facets\n\n| Facet | Run | Commit | Merged as | Done again |\n|---|---|---|---|---|\n",
      kBodyBytes / 2);
  Section redone("## Trouble on the way\n\n", kBodyBytes / 8);
  Section rejected("## Rejected\n\n", kBodyBytes / 8);
  Section unchanged("## Nothing to change\n\n", kBodyBytes / 16);
  std::size_t facets = 0;
  for (const auto& [key, bytes] : ctx_.rows(swarm::kFacetPrefix, swarm::kFacetEnd, kMostFacets)) {
    const auto row = must_decode<fbs::FacetRowT>(bytes);
    if (row.line != number) continue;
    ++facets;
    const std::string why = safe_cell(row.why, kCellBytes);
    if (row.state == FacetState::merged)
      merged.add("| " + row.id + " | `" + row.run + "` | " + short_id(row.commit) + " | " +
                 short_id(row.merge) + " | " +
                 (row.evictions == 0 ? "" : plural(row.evictions, "time")) + " |\n");
    if (row.state == FacetState::merged && !row.by_driver.empty())
      redone.add("- " + row.id + ": both sides had changed " + driven(row) +
                 "; changelogs were united, files that a program writes made anew or left as they were.\n");
    if (row.state == FacetState::merged && row.resolves > 0)
      redone.add("- " + row.id + ": a resolver was given " + plural(row.resolves, "conflict") +
                 " of it.\n");
    if (row.state == FacetState::merged && row.evictions > 0)
      redone.add("- " + row.id + " was sent back " + plural(row.evictions, "time") +
                 " and done again on a newer base by run `" + row.run + "`.\n");
    if (row.state == FacetState::rejected) rejected.add("- " + row.id + ": " + why + "\n");
    if (row.state == FacetState::unchanged) unchanged.add("- " + row.id + ": " + why + "\n");
  }
  const std::string checks =
      where.line->checks
          ? "The integrated tree at " + short_id(where.green) + " passed its verification (" +
                plural(where.verified, "verification") + " passed on the way, " +
                std::to_string(where.failed) + " failed)."
          : "Nothing was verified: the swarm asks for no verification.";
  const std::string made =
      where.remade == 0 ? ""
                        : " " + plural(where.remade, "commit") +
                              " of the branch make files anew that a program writes, after merges.";
  const std::string prompt = created().prompt;
  std::string text = prompt.empty() ? "" : safe_markdown(prompt, kIntentBytes) + "\n\n";
  text += merged.text() + "## Verification\n\n" + checks + made + "\n\n" + redone.text() +
          rejected.text() + unchanged.text();
  const std::string end = "---\nMuster swarm `" + name() + "`: " + plural(facets, "facet") +
                          " here" +
                          (s_.author.empty() ? "" : ", started by " + safe_cell(s_.author, 100)) +
                          ". `muster swarm ledger " + name() + "` accounts for every commit.\n";
  return bounded(text, kBodyBytes - end.size() - 2) + "\n" + end;
}

void SwarmLife::on(const fbs::SwarmPullOpenedT& m) {
  if (!exists() || s_.state != SwarmState::delivering) return;
  for (std::uint32_t i = 0; i < s_.lines; ++i) {
    fbs::LineRowT& row = line(i);
    if (row.line->repository != m.repository || !row.pull_asked || s_.pulls_asked == 0) continue;
    touched_.insert(i);
    row.pull_asked = false;
    row.pull = m.number;
    row.pull_url = m.url;
    row.pull_error = m.error;
    if (m.error.empty() && m.number == 0) row.pull_error = "the forge gave no number";
    if (--s_.pulls_asked == 0) conclude();
    return;
  }
}

}  // namespace muster::actors
