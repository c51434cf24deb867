#include "actors/spec/derive.hpp"

#include <algorithm>

#include "storage/base/ids.hpp"

namespace muster::actors {
namespace {

constexpr std::size_t kMaxTitle = 120;

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin));
}

std::string first_line(const std::string& text) {
  const std::string whole = trimmed(text);
  return trimmed(whole.substr(0, whole.find('\n')));
}

std::string after_first_line(const std::string& text) {
  const std::string whole = trimmed(text);
  const std::size_t end = whole.find('\n');
  return end == std::string::npos ? "" : trimmed(whole.substr(end));
}

/// At most `limit` bytes, cut between characters of UTF-8.
std::string shortened(std::string text, std::size_t limit) {
  if (text.size() <= limit) return text;
  std::size_t end = limit - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

std::string quoted(const std::string& text) {
  std::string out = "> ";
  for (const char c : text) {
    out += c;
    if (c == '\n') out += "> ";
  }
  return out;
}

fbs::RunPolicyT make_policy(const FleetSpec& spec, bool dry_run, Instant now) {
  fbs::RunPolicyT policy;
  policy.max_attempts = spec.rollout.retry.max_attempts;
  policy.retry_on = spec.rollout.retry.on;
  policy.backoff_ms = spec.rollout.retry.backoff.count();
  policy.max_backoff_ms =
      std::max(spec.rollout.retry.max_backoff, spec.rollout.retry.backoff).count();
  policy.attempt_timeout_ms = attempt_timeout(spec).count();
  policy.deadline_unix_ms = (now + spec.rollout.timeout).unix_ms;
  policy.delivery = spec.delivery.mode;
  policy.branch = spec.delivery.branch;
  policy.conflict_strategy = spec.delivery.conflict_strategy;
  policy.dry_run = dry_run;
  policy.escalate = spec.rollout.escalate;
  policy.priority = spec.rollout.priority;
  policy.concurrency = spec.rollout.concurrency;
  policy.cpus_milli = spec.environment.cpus_milli;
  policy.memory_bytes = spec.environment.memory_bytes;
  policy.resume = spec.checkpoint.interval > Duration{0} && spec.checkpoint.resume;
  return policy;
}

}  // namespace

std::string fleet_digest(const FleetDigests& digests, bool dry_run) {
  return sha256_hex("muster fleet 1\n" + digests.spec + "\n" + digests.snapshot + "\n" +
                    digests.agent_bundle + (dry_run ? "\ndry run\n" : "\n"));
}

Duration attempt_timeout(const FleetSpec& spec) {
  Duration sum = kAttemptMargin + spec.agent.timeout;
  sum += spec.agent.timeout * static_cast<std::int64_t>(spec.environment.setup.size());
  for (const Verification& v : spec.verify) sum += v.timeout;
  return sum;
}

std::string commit_message(const FleetSpec& spec) {
  const std::string given = trimmed(spec.delivery.commit.message);
  if (!given.empty()) return given;
  const std::string intent = shortened(first_line(spec.prompt), kMaxTitle);
  return intent.empty() ? spec.name : intent;
}

std::string pull_title(const FleetSpec& spec) {
  const std::string given = trimmed(spec.delivery.pull_request.title);
  return given.empty() ? shortened(first_line(commit_message(spec)), kMaxTitle) : given;
}

std::string pull_body(const FleetSpec& spec) {
  std::string body = trimmed(spec.delivery.pull_request.body);
  if (body.empty()) body = after_first_line(spec.delivery.commit.message);
  const std::string intent = trimmed(spec.prompt);
  if (intent.empty()) return body;
  return (body.empty() ? "" : body + "\n\n") + quoted(intent);
}

fbs::CreateFleetT make_create_fleet(const FleetSpec& spec, const FleetDigests& digests,
                                    std::uint32_t repositories, const std::string& author,
                                    bool dry_run, Instant now) {
  fbs::CreateFleetT create;
  create.digest = fleet_digest(digests, dry_run);
  create.spec_digest = digests.spec;
  create.snapshot_digest = digests.snapshot;
  create.agent_bundle = digests.agent_bundle;
  create.repositories = repositories;
  for (const Wave& wave : spec.rollout.waves) {
    create.waves.push_back(wave.permille);
    create.wave_counts.push_back(wave.count);
  }
  create.halt_permille = spec.rollout.halt_permille;
  create.halt_min_runs = spec.rollout.halt_min_runs;
  create.policy = std::make_unique<fbs::RunPolicyT>(make_policy(spec, dry_run, now));
  create.timeout_ms = spec.rollout.timeout.count();
  create.title = pull_title(spec);
  create.body = pull_body(spec);
  create.draft = spec.delivery.pull_request.draft;
  create.pull_labels = spec.delivery.pull_request.labels;
  create.reviewers = spec.delivery.pull_request.reviewers;
  create.assignees = spec.delivery.pull_request.assignees;
  create.author = author;
  return create;
}

}  // namespace muster::actors
