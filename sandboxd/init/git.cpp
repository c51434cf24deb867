// Both git actions run the image's git, with a configuration of our own and nothing of the agent's.
//
// The commit uses a repository of its own, made after the agent's processes are dead: its index is the one that
// the checkout left (kept in this process, because skip-worktree bits in the agent's would hide changes), its
// configuration is ours (no filter, hook or fsmonitor of the workspace's runs), and its only other objects are the
// mirror's (and the workspace's, where the agent's own commits are kept).
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/init/init.hpp"
#include "sandboxd/init/plan_format.hpp"

namespace muster::sandbox::init {

namespace {

constexpr std::int64_t kGitTimeoutMs = 600'000;

/// Cut at its end only: what was cut to nothing ext4 (auto_da_alloc) writes out when it is closed.
bool write_file(const std::string& path, std::string_view bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return false;
  bool ok = ftruncate(fd, static_cast<off_t>(bytes.size())) == 0;
  while (ok && !bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    ok = n > 0;
    if (ok) bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return close(fd) == 0 && ok;
}

bool read_file(const std::string& path, std::string& bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info{};
  if (fd < 0 || fstat(fd, &info) != 0) return false;
  bytes.resize(static_cast<std::size_t>(info.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = read(fd, bytes.data() + done, bytes.size() - done);
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  close(fd);
  return done == bytes.size();
}

bool make_parents(const std::string& base, const std::string& path) {
  for (std::size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1))
    mkdir((base + "/" + path.substr(0, at)).c_str(), 0755);
  return true;
}

bool make_git_directory(const std::string& dir, const std::string& branch, const std::string& commit,
                        const std::string& config, const std::string& alternates) {
  for (const char* sub : {"", "/objects", "/objects/info", "/objects/pack", "/refs", "/refs/heads",
                          "/refs/tags", "/info"})
    if (mkdir((dir + sub).c_str(), 0755) != 0 && access((dir + sub).c_str(), W_OK) != 0) return false;
  const std::string ref = "refs/heads/" + branch;
  make_parents(dir, ref);
  return write_file(dir + "/HEAD", "ref: " + ref + "\n") &&
         write_file(dir + "/" + ref, commit + "\n") && write_file(dir + "/config", config) &&
         write_file(dir + "/objects/info/alternates", alternates);
}

std::string config_value(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    if (static_cast<unsigned char>(c) >= 0x20) out.push_back(c);
  }
  return out.append("\"");
}

constexpr const char* kCore =
    "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
    "\tlogallrefupdates = false\n";
constexpr const char* kCommitOnly =
    "\thooksPath = /dev/null\n\tfsmonitor = false\n\tuntrackedCache = false\n\tautocrlf = false\n"
    "\tsafecrlf = false\n\texcludesFile = /dev/null\n\tattributesFile = /dev/null\n\tfsync = none\n"
    "\tpreloadIndex = false\n"
    "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[commit]\n\tgpgSign = false\n"
    "[advice]\n\taddEmbeddedRepo = false\n[feature]\n\tmanyFiles = false\n";

bool is_commit_id(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

Command Repository::git(const std::string& directory, std::vector<std::string> args,
                        std::uint8_t step) const {
  Command command;
  command.argv = {"git"};
  for (auto& arg : args) command.argv.push_back(std::move(arg));
  command.env = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/nonexistent",
                 "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
                 "GIT_NO_REPLACE_OBJECTS=1", "GIT_DIR=" + directory, "GIT_WORK_TREE=" + plan_.work,
                 "GIT_AUTHOR_NAME=" + plan_.author_name, "GIT_AUTHOR_EMAIL=" + plan_.author_email,
                 "GIT_AUTHOR_DATE=@" + plan_.date_s + " +0000",
                 "GIT_COMMITTER_NAME=" + plan_.author_name,
                 "GIT_COMMITTER_EMAIL=" + plan_.author_email,
                 "GIT_COMMITTER_DATE=@" + plan_.date_s + " +0000"};
  command.directory = plan_.work;
  command.timeout_ms = kGitTimeoutMs;
  command.frame_step = step;
  command.mask = &plan_.mask;
  return command;
}

std::string Repository::clone_config(const std::string& url) const {
  return std::string(kCore) + "[remote \"origin\"]\n\turl = " + config_value(url) +
         "\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[gc]\n\tauto = 0\n[user]\n\tname = " +
         config_value(plan_.author_name) + "\n\temail = " + config_value(plan_.author_email) + "\n";
}

bool Repository::write_workspace_git() {
  const std::string config = clone_config(plan_.url);
  const std::string directory = plan_.work + "/.git";
  if (plan_.resume.empty())
    return make_git_directory(directory, plan_.branch, plan_.base, config, plan_.objects + "\n");
  return make_git_directory(directory, plan_.branch, plan_.base, config,
                            plan_.objects + "\n" + plan_.resume_objects + "\n") &&
         (mkdir((directory + "/refs/muster").c_str(), 0755) == 0 || errno == EEXIST) &&
         write_file(directory + "/refs/muster/checkpoint", plan_.resume + "\n");
}

bool Repository::save_index(const std::string& directory) {
  const std::string path = directory + "/index";
  struct stat info{};
  if (stat(path.c_str(), &info) != 0 || !read_file(path, index_)) return false;
  index_mtime_[0] = info.st_mtim.tv_sec;
  index_mtime_[1] = info.st_mtim.tv_nsec;
  return true;
}

/// The files of a snapshot stay as they are, with the agent's own repository and index. What counts as changed is said by an
/// index of ours, with the base commit in it and nothing of any file's times.
Ended Repository::take_over() {
  Ended ended;
  ended.exit_code = 1;
  ended.reason = "start_failed";
  std::string directory = plan_.out + "/f.XXXXXX";
  if (mkdtemp(directory.data()) == nullptr ||
      !make_git_directory(directory, "muster", plan_.base, std::string(kCore) + kCommitOnly, plan_.objects + "\n"))
    return ended;
  ended = supervise(git(directory, {"-c", "core.fsync=none", "read-tree", plan_.base}, kCheckoutStep));
  if (ended.exit_code == 0 && !save_index(directory)) ended.exit_code = 1;
  return ended;
}

Ended Repository::checkout() {
  if (plan_.fork) return take_over();
  Ended ended;
  ended.exit_code = 1;
  ended.reason = "start_failed";
  if (!write_workspace_git()) return ended;
  // fsync=none: a workspace that a power failure spoils is made anew. --reset: what a prebuild left where the base commit
  // has a file gives way to it.
  // A workspace that was made ahead is only brought from its commit to the base.
  if (plan_.checked_out == plan_.base) {
    ended = Ended{};
    ended.exit_code = 0;
  } else {
    ended = supervise(git(plan_.work + "/.git",
                          {"-c", "core.fsync=none", "read-tree", "-u", "--reset", plan_.base},
                          kCheckoutStep));
  }
  if (ended.exit_code == 0 && !save_index(plan_.work + "/.git")) ended.exit_code = 1;
  if (ended.exit_code == 0 && !plan_.resume.empty()) ended = apply_checkpoint();
  for (const OtherRepository& other : plan_.others)
    if (ended.exit_code == 0) ended = checkout_other(other);
  return ended;
}

Ended Repository::checkout_other(const OtherRepository& other) {
  Ended ended;
  ended.exit_code = 1;
  ended.reason = "start_failed";
  const std::string work = "/repositories/" + other.name;
  if (mkdir(work.c_str(), 0755) != 0 ||
      !make_git_directory(work + "/.git", other.branch, other.base, clone_config(other.url), other.objects + "\n"))
    return ended;
  Command command = git(work + "/.git", {"-c", "core.fsync=none", "read-tree", "-u", "--reset", other.base}, kCheckoutStep);
  for (std::string& variable : command.env)
    if (variable.starts_with("GIT_WORK_TREE=")) variable = "GIT_WORK_TREE=" + work;
  command.directory = work;
  return supervise(command);
}

/// Files as the checkpoint has them; the workspace's index and branch stay at the base, so that they are changes.
Ended Repository::apply_checkpoint() {
  Ended ended;
  ended.exit_code = 1;
  ended.reason = "start_failed";
  std::string directory = plan_.out + "/r.XXXXXX";
  if (mkdtemp(directory.data()) == nullptr || !write_commit_git(directory, plan_.base) ||
      !write_file(directory + "/objects/info/alternates", plan_.objects + "\n" + plan_.resume_objects + "\n"))
    return ended;
  // --reset: what a prebuild left gives way here, too.
  return supervise(git(directory, {"-c", "core.fsync=none", "read-tree", "-u", "--reset", plan_.resume}, kCheckoutStep));
}

bool Repository::write_commit_git(const std::string& directory, const std::string& parent) const {
  std::string alternates = plan_.objects + "\n";
  if (plan_.manual) alternates += plan_.work + "/.git/objects\n";
  if (!make_git_directory(directory, "muster", parent, std::string(kCore) + kCommitOnly, alternates) ||
      !write_file(directory + "/index", index_) || !write_file(directory + "/MESSAGE", plan_.message))
    return false;
  // git distrusts entries as young as their index; a younger index would hide a change made within the second
  // of the checkout that keeps the size.
  const timespec times[2] = {{index_mtime_[0], index_mtime_[1]}, {index_mtime_[0], index_mtime_[1]}};
  return utimensat(AT_FDCWD, (directory + "/index").c_str(), times, 0) == 0;
}

/// Where the agent's own commits end, when they are kept.
std::string Repository::agent_head(Ended& ended) {
  if (!plan_.manual) return plan_.base;
  std::string out;
  Command command = git(plan_.work + "/.git", {"rev-parse", "--verify", "HEAD^{commit}"}, kCommitStep);
  command.capture = &out;
  ended = supervise(command);
  return first_line(out);
}

Ended Repository::tracked_unchanged(bool& unchanged) {
  Ended ended;
  ended.exit_code = 1;
  ended.reason = "start_failed";
  std::string directory = plan_.out + "/h.XXXXXX";
  if (mkdtemp(directory.data()) == nullptr || !write_commit_git(directory, plan_.base)) return ended;
  std::string changed;
  Command command = git(directory, {"status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"}, kHoldStep);
  command.capture = &changed;
  ended = supervise(command);
  unchanged = ended.exit_code == 0 && ended.reason.empty() && changed.empty();
  return ended;
}

Ended Repository::commit(std::string& head, std::string& pack) {
  Ended ended;
  ended.exit_code = 1;
  ended.reason = "start_failed";
  std::string directory = plan_.out + "/c.XXXXXX";  // made new: the agent may write in `out` too
  if (mkdtemp(directory.data()) == nullptr) return ended;
  const std::string parent = agent_head(ended);
  if (!is_commit_id(parent) || !write_commit_git(directory, parent)) return ended;

  ended = supervise(git(directory, {"add", "--all", "--", "."}, kCommitStep));
  if (ended.exit_code != 0) return ended;
  std::string told;
  Command commit = git(directory, {"commit", "--quiet", "--no-verify", "--allow-empty-message",
                                   "--cleanup=verbatim", "--file=" + directory + "/MESSAGE"},
                       kCommitStep);
  commit.capture = &told;  // "nothing to commit" is not news
  ended = supervise(commit);
  std::string ref;
  if (!read_file(directory + "/refs/heads/muster", ref)) return ended;
  ref = first_line(ref);
  if (ended.exit_code == 1 && ref == parent) ended.exit_code = 0;
  if (ended.exit_code != 0 || ref == plan_.base) return ended;

  const std::string list = directory + "/WANT";
  if (!write_file(list, ref + "\n^" + plan_.base + "\n")) return ended;
  Command packing = git(directory, {"pack-objects", "--revs", "--stdout", "-q", "--threads=1",
                                    "--delta-base-offset"},
                        kCommitStep);
  packing.in = open(list.c_str(), O_RDONLY | O_CLOEXEC);
  packing.out = open((directory + "/pack").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  packing.max_file_bytes = plan_.max_pack;
  ended = supervise(packing);
  close(packing.in);
  close(packing.out);
  if (ended.exit_code != 0) return ended;
  head = ref;
  pack = directory.substr(plan_.out.size() + 1) + "/pack";
  return ended;
}

}  // namespace muster::sandbox::init
