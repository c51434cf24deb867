#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>

#include "sandboxd/init/exec.hpp"
#include "sandboxd/init/init.hpp"
#include "sandboxd/init/plan_format.hpp"

namespace muster::sandbox::init {

bool parse_plan(std::string_view text, Plan& plan) {
  std::string_view key, value;
  while (take_field(text, key, value)) {
    const std::string v(value);
    if (key == "work") plan.work = v;
    else if (key == "objects") plan.objects = v;
    else if (key == "out") plan.out = v;
    else if (key == "max_pack") plan.max_pack = atoll(v.c_str());
    else if (key == "env") plan.env.push_back(v);
    else if (key == "mask") plan.mask.add(v);
    else if (key == "max_log") plan.max_log = atoll(v.c_str());
    else if (key == "base") plan.base = v;
    else if (key == "branch") plan.branch = v;
    else if (key == "url") plan.url = v;
    else if (key == "message") plan.message = v;
    else if (key == "author_name") plan.author_name = v;
    else if (key == "author_email") plan.author_email = v;
    else if (key == "date_s") plan.date_s = v;
    else if (key == "manual") plan.manual = v == "1";
    else if (key == "warm") plan.warm = true;
    else if (key == "fork") plan.fork = true;
    else if (key == "resume") plan.resume = v;
    else if (key == "resume_objects") plan.resume_objects = v;
    else if (key == "checkpoint_ms") plan.checkpoint_ms = atoll(v.c_str());
    else if (key == "other") plan.others.push_back({v, {}, {}, {}, {}});
    else if (key.starts_with("other_")) {
      if (plan.others.empty()) return false;
      OtherRepository& other = plan.others.back();
      (key == "other_objects" ? other.objects : key == "other_base" ? other.base
       : key == "other_branch" ? other.branch : other.url) = v;
    }
    else if (key == "checkout") plan.actions.push_back({ActionKind::checkout, {}});
    else if (key == "hold") plan.actions.push_back({ActionKind::hold, {}});
    else if (key == "commit") plan.actions.push_back({ActionKind::commit, {}});
    else if (key == "step") plan.actions.push_back({ActionKind::step, {0, v, {}, {}, 0, 0}});
    else if (plan.actions.empty()) return false;
    else if (key == "index") plan.actions.back().step.index = static_cast<std::uint8_t>(atoi(v.c_str()));
    else if (key == "arg") plan.actions.back().step.argv.push_back(v);
    else if (key == "if_exists") plan.actions.back().step.if_exists = v;
    else if (key == "timeout_ms") plan.actions.back().step.timeout_ms = atoll(v.c_str());
    else if (key == "idle_ms") plan.actions.back().step.idle_ms = atoll(v.c_str());
    else return false;
  }
  return text.empty();
}

namespace {

constexpr const char* kPlanFile = "/muster/in/plan";
constexpr const char* kWarmBranch = "muster-warm";  // until the attempt's own is known

bool read_whole(const char* path, std::string& text) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  std::array<char, 65536> buffer;
  ssize_t n = 0;
  while ((n = read(fd, buffer.data(), buffer.size())) > 0)
    text.append(buffer.data(), static_cast<std::size_t>(n));
  close(fd);
  return n == 0;
}

std::string rfc3339(std::int64_t at_ms) {
  const time_t seconds = static_cast<time_t>(at_ms / 1000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

void emit_end(std::uint8_t index, const std::string& name, const Ended& ended, std::int64_t started,
              const std::string& extra = {}) {
  emit(LogType::step_end, index,
       "{\"name\":" + quoted(name) + ",\"exit_code\":" + std::to_string(ended.exit_code) +
           ",\"signal\":" + std::to_string(ended.signal) + ",\"reason\":" + quoted(ended.reason) +
           ",\"started_ms\":" + std::to_string(started) + ",\"ended_ms\":" + std::to_string(unix_ms()) +
           ",\"user_ms\":" + std::to_string(ended.user_ms) +
           ",\"system_ms\":" + std::to_string(ended.system_ms) +
           ",\"max_rss_kb\":" + std::to_string(ended.max_rss_kb) + extra + "}");
}

/// A file of that name in the workspace, whatever kind it is.
bool exists(const Plan& plan, const std::string& path) {
  struct stat info{};
  return lstat((plan.work + "/" + path).c_str(), &info) == 0;
}

Ended run_step(const Plan& plan, const Step& step, Beside* beside) {
  Command command;
  command.argv = step.argv;
  command.env = plan.env;
  command.env.push_back("MUSTER_STEP=" + step.name);
  if (step.timeout_ms > 0)
    command.env.push_back("MUSTER_DEADLINE=" + rfc3339(unix_ms() + step.timeout_ms));
  command.directory = plan.work;
  command.timeout_ms = step.timeout_ms;
  command.idle_ms = step.idle_ms;
  command.frame_step = step.index;
  command.mask = &plan.mask;
  command.beside = beside;
  return supervise(command);
}

/// True when the next action may begin.
bool do_step(const Plan& plan, const Step& step, Beside* beside) {
  const std::int64_t started = unix_ms();
  Ended ended;
  if (!step.if_exists.empty() && !exists(plan, step.if_exists)) {
    ended.reason = "skipped";
    emit_end(step.index, step.name, ended, started);
    return true;
  }
  emit(LogType::step_begin, step.index, step.name);
  ended = run_step(plan, step, beside);
  emit_end(step.index, step.name, ended, started);
  return ended.exit_code == 0 && ended.reason.empty();
}

bool do_checkout(Repository& repository) {
  const std::int64_t started = unix_ms();
  const Ended ended = repository.checkout();
  emit_end(kCheckoutStep, "checkout", ended, started);
  return ended.exit_code == 0;
}

/// The setup is over and nothing of it lives: sandboxd may take what it left, before the agent begins.
bool do_hold(Repository& repository) {
  const std::int64_t started = unix_ms();
  bool unchanged = false;
  const Ended ended = repository.tracked_unchanged(unchanged);
  emit_end(kHoldStep, "hold", ended, started, std::string(",\"unchanged\":") + (unchanged ? "true" : "false"));
  wait_for_go();
  return true;
}

/// Without a change there is nothing to verify.
bool do_commit(Repository& repository) {
  const std::int64_t started = unix_ms();
  std::string head, pack;
  const Ended ended = repository.commit(head, pack);
  emit_end(kCommitStep, "commit", ended, started,
           ",\"head\":" + quoted(head) + ",\"pack\":" + quoted(pack));
  return ended.exit_code == 0 && ended.reason.empty() && !head.empty();
}

bool read_plan(Plan& plan) {
  std::string text;
  return read_whole(kPlanFile, text) && parse_plan(text, plan);
}

/// Made ahead, for an attempt that is not known yet: the workspace first, then the plan of whoever it is handed to.
/// Nothing is written to the log meanwhile, unless something is wrong.
bool wait_for_plan(Plan& plan) {
  plan.branch = kWarmBranch;
  const std::string ready = plan.out + "/ready";
  if (Repository(plan).checkout().exit_code != 0 || mkdir(ready.c_str(), 0700) != 0) return false;
  wait_for_go();
  if (stop_requested()) return false;
  rmdir(ready.c_str());
  unlink((plan.work + "/.git/refs/heads/" + kWarmBranch).c_str());
  Plan real;
  if (!read_plan(real) || real.warm) return false;
  real.checked_out = plan.base;
  plan = std::move(real);
  return true;
}

int run() {
  prctl(PR_SET_DUMPABLE, 0);
  Plan plan;
  if (!watch_signals() || !read_plan(plan)) return 120;
  if (plan.warm && !wait_for_plan(plan)) return 122;
  limit_log(plan.max_log);
  Repository repository(plan);
  Checkpoints checkpoints(plan, repository);
  bool worked = false;  // by the agent, and there is no commit of it
  int code = 0;
  for (const Action& action : plan.actions) {
    if (stop_requested()) {
      code = 143;
      break;
    }
    const bool is_agent = action.kind == ActionKind::step && action.step.name == "agent" && plan.checkpoint_ms > 0;
    worked = is_agent || (worked && action.kind != ActionKind::commit);
    const bool go_on = action.kind == ActionKind::checkout ? do_checkout(repository)
                       : action.kind == ActionKind::commit ? do_commit(repository)
                       : action.kind == ActionKind::hold   ? do_hold(repository)
                                                           : do_step(plan, action.step, is_agent ? &checkpoints : nullptr);
    if (!go_on) break;
  }
  if (worked) checkpoints.last();
  return code;
}

}  // namespace
}  // namespace muster::sandbox::init

int main(int argc, char** argv) {
  using namespace muster::sandbox::init;
  const std::string_view role = argc > 1 ? argv[1] : "";
  if (role == "enter") return enter(argc, argv);
  if (role == "parent") return parent(argc, argv);
  return run();
}
