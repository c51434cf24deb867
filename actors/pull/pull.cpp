#include "actors/pull/pull.hpp"

#include <chrono>

#include "actors/common.hpp"
#include "actors/indexes.hpp"
#include "actors/repo/repo.hpp"

namespace muster::actors {

namespace {

using fbs::MergeOutcome;
using fbs::PullState;

constexpr Duration kForgeEffect = std::chrono::minutes(5);
constexpr std::size_t kProblemBytes = 500;

std::string merge_problem(const fbs::MergeDoneT& done) {
  const std::string said =
      done.message.empty() ? "" : ": " + one_line(done.message, kProblemBytes);
  switch (done.outcome) {
    case MergeOutcome::conflict:
      return "it conflicts with its base branch" + said;
    case MergeOutcome::checked_out:
      return "its base branch is checked out in the repository, and a checked-out branch is never updated" +
             said;
    case MergeOutcome::head_moved:
      return "its branch was changed by someone else" + said;
    default:
      return "the merge failed" + said;
  }
}

class PullStep {
 public:
  PullStep(fbs::PullHeadT& state, engine::Context& ctx) : s_(state), ctx_(ctx) {}

  void on(const fbs::CreatePullT& m) {
    if (s_.number != 0 || !m.pull) return;  // made already
    const fbs::OpenPullT& pull = *m.pull;
    s_.number = m.number;
    s_.repository = ctx_.self().key.substr(0, ctx_.self().key.rfind('#'));
    s_.repository_url = m.repository_url;
    s_.url = m.url;
    s_.fleet = pull.fleet;
    s_.branch = pull.branch;
    s_.base_branch = pull.base_branch;
    s_.draft = pull.draft;
    s_.labels = pull.labels;
    s_.reviewers = pull.reviewers;
    s_.assignees = pull.assignees;
    s_.author = pull.author;
    s_.created_unix_ms = ctx_.now().unix_ms;
    content(pull);
    enter(PullState::open);
  }

  void on(const fbs::UpdatePullT& m) {
    if (s_.state == PullState::open) content(m);
  }

  void on(const fbs::MergePullT& m) {
    if (s_.state == PullState::merged) {
      ctx_.reply("merged");
    } else if (s_.state == PullState::closed) {
      ctx_.refuse(Errc::refused, name() + " is closed");
    } else if (s_.busy == "close") {
      ctx_.refuse(Errc::refused, name() + " is being closed");
    } else if (s_.draft) {
      ctx_.refuse(Errc::refused, name() + " is a draft");
    } else {
      if (s_.busy.empty()) begin("merge", m.by, m.reason);
      ctx_.reply("accepted");
    }
  }

  void on(const fbs::ClosePullT& m) {
    if (s_.state == PullState::closed) {
      ctx_.reply("closed");
    } else if (s_.state == PullState::merged) {
      ctx_.refuse(Errc::refused, name() + " is merged");
    } else if (s_.busy == "merge") {
      ctx_.refuse(Errc::refused, name() + " is being merged");
    } else if (!m.delete_branch) {
      audit("pull.close", m.by, m.reason);
      if (s_.busy.empty()) ended(PullState::closed, "");
      ctx_.reply("accepted");
    } else {
      if (s_.busy.empty()) begin("close", m.by, m.reason);
      ctx_.reply("accepted");
    }
  }

  void on(const fbs::MergeDoneT& m) {
    if (s_.busy != "merge") return;
    if (m.outcome == MergeOutcome::merged || m.outcome == MergeOutcome::already_merged) {
      s_.merge_sha = m.commit;
      ended(PullState::merged, "");
    } else {
      gave_up(merge_problem(m));
    }
  }

  /// Closed in any case: a branch that could not be deleted is a problem to mention, not an open pull request.
  void on(const fbs::CloseDoneT& m) {
    if (s_.busy != "close") return;
    ended(PullState::closed, m.error.empty() ? "" : "its branch was not deleted: " +
                                                        one_line(m.error, kProblemBytes));
  }

  void on(const fbs::ForgetPullT&) {
    if (s_.state == PullState::open || !s_.busy.empty())
      return ctx_.refuse(Errc::refused, name() + " is open");
    ctx_.unindex(std::string(index::kPull), name());
    ctx_.unindex(std::string(index::kPullByFleet), s_.fleet + '\0' + name());
    ctx_.remove();
  }

  void on(const fbs::EffectUnknownT& m) {
    if (s_.busy.empty() || m.key != effect_key()) return;
    if (++s_.tries < Pull::kTries) {
      perform();
    } else if (s_.busy == "merge") {
      gave_up("the forge gave no answer: it may be merged, or not; merging again finds out");
    } else {
      ended(PullState::closed, "its branch may not be deleted: the forge gave no answer");
    }
  }

 private:
  [[nodiscard]] const std::string& name() const { return ctx_.self().key; }
  [[nodiscard]] std::string effect_key() const { return s_.busy + "/" + name(); }

  void audit(std::string action, const std::string& by, const std::string& reason) {
    ctx_.audit(by, std::move(action), one_line(reason, kProblemBytes));
  }

  /// What OpenPull and UpdatePull both say.
  template <class T>
  void content(const T& m) {
    s_.run = m.run;
    s_.title = m.title;
    s_.base_sha = m.base_sha;
    s_.head_sha = m.head_sha;
    s_.diff_files = m.diff_files;
    s_.diff_insertions = m.diff_insertions;
    s_.diff_deletions = m.diff_deletions;
    s_.problem.clear();
    s_.changed_unix_ms = ctx_.now().unix_ms;
    ctx_.put_row("body", m.body);
  }

  void enter(PullState state) {
    s_.state = state;
    s_.changed_unix_ms = ctx_.now().unix_ms;
    const std::string state_name = fbs::EnumNamePullState(state);
    ctx_.index(std::string(index::kPull), name(), s_.fleet + "\n" + state_name);
    ctx_.index(std::string(index::kPullByFleet), s_.fleet + '\0' + name(), state_name);
  }

  void begin(std::string what, const std::string& by, const std::string& reason) {
    audit("pull." + what, by, reason);
    s_.busy = std::move(what);
    s_.tries = 0;
    s_.problem.clear();
    s_.delete_branch = s_.busy == "close";
    perform();
  }

  void perform() {
    const std::string key = effect_key();
    ctx_.perform({"forge", key, s_.busy == "merge" ? encode_effect(merge()) : encode_effect(close()),
                  kForgeEffect, unknown<Pull>(key)});
  }

  fbs::MergeBranchT merge() const {
    fbs::MergeBranchT request;
    request.repository = s_.repository;
    request.number = s_.number;
    request.url = s_.repository_url;
    request.branch = s_.branch;
    request.base_branch = s_.base_branch;
    request.head_sha = s_.head_sha;
    request.message = "Merge pull request #" + std::to_string(s_.number) + ": " + s_.title +
                      "\n\nMuster-Fleet: " + s_.fleet + "\nMuster-Run: " + s_.run + "\n";
    request.at_unix_ms = ctx_.now().unix_ms;
    return request;
  }

  fbs::DeleteBranchT close() const {
    fbs::DeleteBranchT request;
    request.url = s_.repository_url;
    request.branch = s_.branch;
    request.head_sha = s_.head_sha;
    return request;
  }

  void gave_up(std::string problem) {
    s_.busy.clear();
    s_.problem = std::move(problem);
    s_.changed_unix_ms = ctx_.now().unix_ms;
  }

  void ended(PullState state, std::string problem) {
    gave_up(std::move(problem));
    enter(state);
    fbs::PullEndedT ended;
    ended.number = s_.number;
    ended.fleet = s_.fleet;
    ctx_.send<Repo>(s_.repository, ended);
    ctx_.finish();
  }

  fbs::PullHeadT& s_;
  engine::Context& ctx_;
};

}  // namespace

void Pull::step(State& state, const Message& message, engine::Context& ctx) {
  PullStep step(state, ctx);
  std::visit([&](const auto& m) { step.on(m); }, message);
}

}  // namespace muster::actors
