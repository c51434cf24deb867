// From a verified commit to a branch and a pull request.
#include "actors/repo/repo.hpp"
#include "actors/run/life.hpp"
#include "actors/run/limits.hpp"
#include "actors/run/pull_text.hpp"

namespace muster::actors {

using fbs::FailureClass;
using fbs::RunState;

/// delivery.mode none keeps the commit for its diff; the work is done, so the run counts as delivered.
void RunLife::deliver() {
  s_.reason.clear();
  s_.message.clear();
  if (s_.policy->delivery == fbs::DeliveryMode::none) {
    delivered(std::string(kNotPushed));
    return;
  }
  enter(RunState::delivering, "push");
  timer(limits::kDelivering);
  push();
}

void RunLife::push() {
  const fbs::AttemptRowT row = attempt_row();
  const fbs::CreateRunT create = created();
  fbs::PushBranchT request;
  request.run = id();
  request.attempt = s_.attempt;
  request.url = create.url;
  request.base_branch = create.base_branch;
  request.base_sha = s_.base_sha;
  request.head_sha = s_.head_sha;
  request.branch = s_.policy->branch;
  request.pack_digest = row.report->pack_digest;
  request.replace =
      s_.pushed || s_.policy->conflict_strategy == fbs::ConflictStrategy::replace;
  const std::string key = "push/" + s_.fleet + "/" + s_.repository + "/" + id() + "-" +
                          std::to_string(s_.attempt);
  ctx_.perform({"forge", key, encode_effect(std::move(request)), limits::kPushEffect,
                unknown<Run>(key, s_.attempt)});
}

void RunLife::on(const fbs::PushDoneT& m) {
  if (!delivering("push") || m.attempt != s_.attempt) return;
  const Verdict verdict = classify_push(m, s_.policy->conflict_strategy);
  if (verdict.state == RunState::delivering) {
    s_.pushed = true;
    if (s_.policy->delivery == fbs::DeliveryMode::branch) {
      delivered();
    } else {
      open_pull();
    }
    return;
  }
  delivery_over(verdict);
}

void RunLife::delivery_over(const Verdict& verdict) {
  note(verdict);
  if (verdict.state == RunState::failed) {
    attempt_over(verdict);
  } else {
    end(verdict.state, verdict.reason, verdict.message);
  }
}

void RunLife::open_pull() {
  const fbs::AttemptRowT row = attempt_row();
  const fbs::CreateRunT create = created();
  PullText text = compose_pull(create, *row.report, id(), s_.attempt);
  fbs::OpenPullT pull;
  pull.run = id();
  pull.fleet = s_.fleet;
  pull.branch = s_.policy->branch;
  pull.base_branch = create.base_branch;
  pull.base_sha = s_.base_sha;
  pull.head_sha = s_.head_sha;
  pull.title = std::move(text.title);
  pull.body = std::move(text.body);
  pull.draft = create.draft;
  pull.labels = std::move(text.labels);
  pull.reviewers = create.reviewers;
  pull.assignees = create.assignees;
  pull.author = create.author;
  if (row.report->diff) {
    pull.diff_files = row.report->diff->files;
    pull.diff_insertions = row.report->diff->insertions;
    pull.diff_deletions = row.report->diff->deletions;
  }
  s_.waiting_for = "pull";
  ctx_.send<Repo>(s_.repository, pull);
}

void RunLife::on(const fbs::PullOpenedT& m) {
  if (!delivering("pull")) return;
  if (!m.error.empty() || m.number == 0) {
    delivery_over({RunState::failed, FailureClass::delivery, "pull_failed",
                   m.error.empty() ? "the forge gave no number" : m.error, Retry::by_policy});
    return;
  }
  s_.pull = m.number;
  delivered();
}

void RunLife::delivered(std::string reason) {
  fbs::AttemptRowT row = attempt_row();
  row.delivered_unix_ms = now();
  put_attempt(row);
  s_.class_ = FailureClass::none;
  end(RunState::delivered, std::move(reason), "");
}

}  // namespace muster::actors
