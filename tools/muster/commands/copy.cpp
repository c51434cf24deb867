// muster run cp: files and directories between here and a running sandbox, as `docker cp` and `kubectl cp` do it: by the
// sandbox's own tar, over the websocket of `muster run exec` (so it is audited as that is, and for operators only).
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>
#include <optional>

#include "tools/muster/commands/commands.hpp"
#include "tools/muster/exec_channel.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/tar_stream.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxWaiting = 1u << 20;   // bytes of a stream that are not written yet
constexpr std::size_t kMaxComplaint = 4u << 10;  // of what tar says on standard error
constexpr std::size_t kStdinPiece = 16u << 10;
constexpr int kTarWarned = 1;  // GNU tar: a file changed while it was read

/// A path in a sandbox or here, apart into where it lies and what it is called there.
struct CopyPath {
  std::string directory, name;  // name ".": what lies in the directory
  bool slash = false;           // it ended with one: it must be a directory
};

CopyPath split_path(std::string path) {
  CopyPath split;
  while (path.size() > 1 && path.back() == '/') {
    split.slash = true;
    path.pop_back();
  }
  if (path.empty()) path = ".";
  const std::size_t slash = path.rfind('/');
  split.name = slash == std::string::npos ? path : path.substr(slash + 1);
  split.directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  if (split.name.empty() || split.name == ".." || split.name == ".") {
    split.directory = path;
    split.name = ".";
  }
  return split;
}

/// For an argument of tar or test: no option, whatever its first character.
std::string as_operand(const std::string& path) {
  return path.front() == '/' ? path : "./" + path;
}

/// Bytes between two threads, bounded.
class Pipeline {
 public:
  /// Waits while too much waits; what comes after done_reading() is dropped.
  void put(std::string_view bytes) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return deaf_ || waiting_ < kMaxWaiting; });
    if (deaf_ || bytes.empty()) return;
    waiting_ += bytes.size();
    pieces_.emplace_back(bytes);
    changed_.notify_all();
  }
  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  /// Empty at the end.
  std::string take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_ || !pieces_.empty(); });
    if (pieces_.empty()) return {};
    std::string piece = std::move(pieces_.front());
    pieces_.pop_front();
    waiting_ -= piece.size();
    changed_.notify_all();
    return piece;
  }
  void done_reading() {
    const std::lock_guard lock(mutex_);
    deaf_ = true;
    pieces_.clear();
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> pieces_;
  std::size_t waiting_ = 0;
  bool ended_ = false, deaf_ = false;
};

/// This process's standard input, until it or the command ends.
Result<Copied> pass_standard_input(ExecChannel& channel) {
  Copied passed;
  std::array<char, kStdinPiece> buffer;
  while (true) {
    std::array<pollfd, 2> waits{{{STDIN_FILENO, POLLIN, 0}, {channel.over_fd(), POLLIN, 0}}};
    ::poll(waits.data(), waits.size(), -1);
    if (waits[1].revents != 0) return passed;
    const ssize_t n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read standard input", errno);
    if (n == 0 || !channel.send(std::string(buffer.data(), static_cast<std::size_t>(n)))) return passed;
    passed.bytes += static_cast<std::uint64_t>(n);
  }
}

std::string first_line_of(const std::string& text) { return text.substr(0, text.find('\n')); }

/// One copy, with the commands that it takes in the sandbox.
class Copying {
 public:
  Copying(Context& context, std::string run) : context_(context), run_(std::move(run)) {}

  int out_to_here(const std::string& from, const std::string& to);
  int in_from_here(const std::string& from, const std::string& to);

 private:
  /// What came of a command; neither: the connection ended before it did.
  struct Ran {
    std::optional<Failure> not_begun;
    std::optional<CommandEnd> end;
  };

  Ran run(std::vector<std::string> argv, const std::function<void(std::string_view)>& output,
          const std::function<void()>& over, const std::function<void(ExecChannel&)>& input) {
    complaint_.clear();
    auto channel = ExecChannel::connect(context_, run_);
    if (!channel) return {channel.error(), {}};
    ExecChannel::Events events;
    events.output = [&](bool error, std::string_view bytes) {
      if (!error) return output(bytes);
      complaint_ += bytes.substr(0, kMaxComplaint - std::min(kMaxComplaint, complaint_.size()));
    };
    events.over = over;
    return {{}, (*channel)->run({{"type", "open"}, {"argv", std::move(argv)}}, std::move(events),
                                [&] { input(**channel); })};
  }

  /// 0 when the command came to its own end, with an exit code up to `most`; else it was said why not.
  int check(const Ran& ran, const std::string& program, int most) {
    if (ran.not_begun) return context_.fail(*ran.not_begun);
    if (!ran.end)
      return context_.fail({Errc::unreachable, "the connection to musterd ended, and the copy with it", ""});
    if (!ran.end->reason.empty()) return report_command_end(context_, *ran.end);
    const int exit_code = ran.end->exit_code;
    if (exit_code >= 0 && exit_code <= most) return 0;
    if (exit_code == kExitNotRun || exit_code == kExitNotFound)
      return context_.fail({Errc::refused, "the sandbox has no " + program + ", and cp works with it",
                            "an image with tar and coreutils, or busybox, has it"});
    return context_.fail(
        {Errc::io, program + " in the sandbox: " + safe_line(first_line_of(complaint_)), ""});
  }

  /// Whether that is a directory of the sandbox; nothing: it was said why that can't be known.
  std::optional<bool> is_directory(const std::string& path) {
    const Ran ran = run({"test", "-d", as_operand(path)}, [](std::string_view) {}, {},
                        [](ExecChannel& channel) { channel.end_input(); });
    exit_ = check(ran, "test", 1);
    return exit_ == 0 ? std::optional(ran.end->exit_code == 0) : std::nullopt;
  }

  int conclude(const Ran& ran, const Result<Copied>& copied, const std::string& to) {
    // What became of the command explains a stream that is broken; all else is our own reason.
    const bool ours = !copied && copied.error().code != Errc::corrupt && copied.error().code != Errc::unreachable;
    if (ours) return context_.fail({copied.error().code, copied.error().message, ""});
    if (const int exit = check(ran, "tar", kTarWarned); exit != 0) return exit;
    if (!copied)
      return context_.fail({copied.error().code, copied.error().message,
                            "what holds a secret of the run is masked, and does not arrive whole"});
    if (ran.end->exit_code == kTarWarned)
      context_.err() << "warning: tar in the sandbox: " << safe_line(first_line_of(complaint_)) << "\n";
    for (const std::string& warning : copied->warnings) context_.err() << "warning: " << warning << "\n";
    if (to == "-") return 0;
    if (context_.json())
      context_.out() << dumped({{"run", run_},
                                {"to", to},
                                {"files", copied->files},
                                {"bytes", copied->bytes},
                                {"warnings", copied->warnings}},
                               2)
                     << "\n";
    else
      context_.err() << "Copied " << human_bytes(copied->bytes) << " to " << safe_line(to) << "\n";
    return 0;
  }

  int refuse(Errc code, const std::string& why) { return exit_ = context_.fail({code, why, ""}); }

  /// Where a stream goes here; nothing: it was said why not.
  std::optional<CopyTarget> target(const CopyPath& from, const std::string& to) {
    std::error_code error;
    if (fs::is_directory(to, error)) return CopyTarget{to, from.name, from.name == "." ? "" : from.name};
    const CopyPath made = split_path(to);
    if (from.name == "." && fs::exists(fs::symlink_status(to, error)))
      refuse(Errc::conflict, to + " is there already, and no directory");
    else if (made.slash && from.name != ".")
      refuse(Errc::not_found, "there is no directory " + to);
    else if (!fs::is_directory(made.directory, error))
      refuse(Errc::not_found, "there is no directory " + made.directory);
    else
      return CopyTarget{made.directory, from.name, made.name};
    return std::nullopt;
  }

  Context& context_;
  const std::string run_;
  std::string complaint_;
  int exit_ = 0;
};

int Copying::out_to_here(const std::string& from, const std::string& to) {
  const CopyPath path = split_path(from);
  const std::vector<std::string> tar = {"tar", "-c", "-f", "-", "-C", as_operand(path.directory), "--", path.name};
  Result<Copied> copied = Copied{};
  if (to == "-") {
    if (::isatty(STDOUT_FILENO) != 0)
      return context_.usage("a tar stream is nothing for a terminal", "muster run cp RUN:PATH - | tar -t");
    const auto write = [&](std::string_view bytes) {
      context_.out().write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    };
    const Ran ran = run(tar, write, {}, [](ExecChannel& channel) { channel.end_input(); });
    context_.out().flush();
    if (!context_.out()) return refuse(Errc::io, "standard output can't be written");
    return conclude(ran, copied, to);
  }
  const auto where = target(path, to);
  if (!where) return exit_;
  Pipeline pipeline;
  const Ran ran = run(tar, [&](std::string_view bytes) { pipeline.put(bytes); }, [&] { pipeline.end(); },
                      [&](ExecChannel& channel) {
                        channel.end_input();
                        copied = unpack_tar([&]() -> Result<std::string> { return pipeline.take(); }, *where);
                        pipeline.done_reading();
                        if (!copied) channel.close();
                      });
  return conclude(ran, copied, to);
}

int Copying::in_from_here(const std::string& from, const std::string& to) {
  const CopyPath there = split_path(to), here = split_path(from);
  const fs::path source = here.name == "." ? fs::path(here.directory) : fs::path(here.directory) / here.name;
  std::error_code error;
  const bool stream = from == "-";
  if (!stream && !fs::exists(fs::symlink_status(source, error)))
    return refuse(Errc::not_found, "there is no " + from);
  const std::string whole = there.name == "." ? there.directory : there.directory + "/" + there.name;
  const auto is_there = is_directory(whole);
  if (!is_there) return exit_;
  const bool needed = stream || there.name == "." || (there.slash && !fs::is_directory(source, error));
  if (needed && !*is_there) return refuse(Errc::not_found, run_ + " has no directory " + whole);
  // In a directory that is there it keeps its name; else it gets the one that was asked for.
  const std::string name = *is_there ? here.name : there.name;
  Result<Copied> copied = Copied{};
  const auto input = [&](ExecChannel& channel) {
    copied = stream ? pass_standard_input(channel)
                    : pack_tar(source, name, [&](std::string bytes) { return channel.send(std::move(bytes)); });
    copied ? channel.end_input() : channel.close();
  };
  const Ran ran = run({"tar", "-x", "-f", "-", "-C", as_operand(*is_there ? whole : there.directory)},
                      [](std::string_view) {}, {}, input);
  return conclude(ran, copied, run_ + ":" + to);
}

}  // namespace

int run_copy(Context& context, const std::string& from, const std::string& to) {
  const auto in_a_run = [](const std::string& path) {
    const std::size_t colon = path.find(':');
    return colon != std::string::npos && colon > 0 && path.front() != '.' && path.front() != '/';
  };
  if (in_a_run(from) == in_a_run(to))
    return context.usage("one of the two is in a run", "muster run cp RUN:PATH LOCAL, or LOCAL RUN:PATH");
  const std::string& there = in_a_run(from) ? from : to;
  const std::size_t colon = there.find(':');
  Copying copying(context, there.substr(0, colon));
  return in_a_run(from) ? copying.out_to_here(there.substr(colon + 1), to)
                        : copying.in_from_here(from, there.substr(colon + 1));
}

}  // namespace muster::cli
