// Checkpoints: what git does not ignore, as a commit on the base, in a repository beside the workspace's that is kept and
// grows. While the agent runs a child of this process does it, and nothing waits for it; the agent may spoil what the
// child makes, and spoils only its own work: the host judges the pack as it does the last one.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandboxd/init/init.hpp"
#include "sandboxd/init/plan_format.hpp"

namespace muster::sandbox::init {

namespace {

constexpr int kLastTurns = 200;       // of 100 ms: for the last checkpoint, before the sandbox ends
constexpr int kTurnMs = 100;
constexpr int kNothingNew = 3;

/// The first line of a file that an agent may have changed; empty when that is no commit's or tree's name.
std::string read_object_name(const std::string& path) {
  std::string name(41, '\0');
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return {};
  const ssize_t n = read(fd, name.data(), name.size());
  close(fd);
  if (n < 40 || (n == 41 && name[40] != '\n')) return {};
  name.resize(40);
  return name.find_first_not_of("0123456789abcdef") == std::string::npos ? name : std::string();
}

int create_file(const std::string& path) {
  return open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
}

}  // namespace

std::string Checkpoints::pack_file(unsigned number) const { return "/pack-" + std::to_string(number); }

/// One git command of the child; true when it ended well.
bool Checkpoints::git(std::vector<std::string> args, const std::string& into, const std::string& from) const {
  Command command = repository_.git(directory_, std::move(args), kCheckpointStep);
  if (!into.empty()) command.out = create_file(directory_ + into);
  if (!from.empty()) command.in = open((directory_ + from).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (into.starts_with("/pack-")) command.max_file_bytes = plan_.max_pack;
  const int code = run_aside(command);
  if (command.out >= 0) close(command.out);
  if (command.in >= 0) close(command.in);
  return code == 0;
}

/// The child. Its exit code says whether there is a new checkpoint.
int Checkpoints::collect() const {
  // A file that vanishes meanwhile is no reason to keep nothing of the rest.
  (void)git({"add", "--all", "--ignore-errors", "--", "."}, "", "");
  if (!git({"write-tree"}, "/tree", "") || !git({"rev-parse", plan_.base + "^{tree}"}, "/base-tree", "")) return 1;
  const std::string tree = read_object_name(directory_ + "/tree");
  if (tree.empty()) return 1;
  if (tree == read_object_name(directory_ + "/base-tree")) return kNothingNew;
  if (!git({"commit-tree", tree, "-p", plan_.base, "-F", directory_ + "/MESSAGE"}, "/commit", "")) return 1;
  const std::string commit = read_object_name(directory_ + "/commit");
  if (commit == last_) return kNothingNew;
  const int want = create_file(directory_ + "/WANT");
  const bool written = want >= 0 && dprintf(want, "%s\n^%s\n", commit.c_str(), plan_.base.c_str()) > 0;
  if (want >= 0) close(want);
  const bool packed = written && git({"pack-objects", "--revs", "--stdout", "-q", "--threads=1", "--delta-base-offset"},
                                     pack_file(said_ + 1), "/WANT");
  return packed ? 0 : 1;
}

pid_t Checkpoints::begin() {
  if (directory_.empty()) {
    std::string directory = plan_.out + "/k.XXXXXX";
    if (mkdtemp(directory.data()) == nullptr || !repository_.write_commit_git(directory, plan_.base)) return -1;
    directory_ = directory;
  }
  unlink((directory_ + "/index.lock").c_str());  // of one that was killed
  started_ = unix_ms();
  const pid_t pid = fork();
  if (pid != 0) return pid;
  const int nowhere = open("/dev/null", O_RDWR);  // not the log
  dup2(nowhere, 1);
  dup2(nowhere, 2);
  _exit(collect());
}

void Checkpoints::ended(bool well) {
  if (!well) return;
  const std::string head = read_object_name(directory_ + "/commit");
  if (head.empty() || head == last_) return;
  last_ = head;
  ++said_;
  if (said_ > 2) unlink((directory_ + pack_file(said_ - 2)).c_str());  // the one before may be being read
  emit(LogType::step_end, kCheckpointStep,
       "{\"name\":\"checkpoint\",\"exit_code\":0,\"signal\":0,\"reason\":\"\",\"started_ms\":" + std::to_string(started_) +
           ",\"ended_ms\":" + std::to_string(unix_ms()) + ",\"head\":" + quoted(head) + ",\"pack\":" +
           quoted(directory_.substr(plan_.out.size() + 1) + pack_file(said_)) + "}");
}

void Checkpoints::last() {
  const pid_t child = begin();
  if (child <= 0) return;
  int status = 0;
  pid_t ended_child = 0;
  for (int turn = 0; turn < kLastTurns && ended_child != child; ++turn) {
    while ((ended_child = waitpid(-1, &status, WNOHANG)) > 0 && ended_child != child) {
    }
    if (ended_child < 0) return;
    if (ended_child == 0) poll(nullptr, 0, turn < 10 ? kTurnMs / 20 : kTurnMs);
  }
  if (ended_child == child) return ended(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  kill(-1, SIGKILL);
}

}  // namespace muster::sandbox::init
