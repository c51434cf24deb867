#include "sandboxd/exec.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "sandboxd/host_ops.hpp"
#include "sandboxd/init/exec.hpp"
#include "sandboxd/init/mask.hpp"
#include "sandboxd/init/plan_format.hpp"
#include "sandboxd/loop.hpp"
#include "sandboxd/progress.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

using ExecJson = nlohmann::ordered_json;

constexpr std::size_t kExecPiece = 16u << 10;
constexpr std::size_t kMaxExecSettings = 4u << 20;
constexpr std::size_t kMaxExecMessage = 4096;
constexpr std::uint64_t kMaxExecDrain =
    1u << 20;  // after its end: what its pipes hold, and not what others go on to write
constexpr std::int64_t kExecGraceMs = 5'000;
constexpr std::int64_t kExecStartMs = 20'000;  // for the runtime
constexpr char kEndOfInput = 4;            // Ctrl-D

struct ExecPipe {
  Fd read, write;
};

/// Ends above the numbers that a child's are set to.
Result<ExecPipe> make_exec_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("pipe", errno);
  const Fd low_read(ends[0]), low_write(ends[1]);
  ExecPipe pipe{Fd(::fcntl(ends[0], F_DUPFD_CLOEXEC, 10)), Fd(::fcntl(ends[1], F_DUPFD_CLOEXEC, 10))};
  if (!pipe.read.valid() || !pipe.write.valid()) return fail_errno("pipe", errno);
  return pipe;
}

void make_exec_nonblocking(const Fd& fd) {
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
}

/// The variables of the sandbox's steps but the secrets, and what hides those.
struct ExecSurroundings {
  std::map<std::string, std::string> env;
  Mask mask;
};

Result<ExecSurroundings> read_exec_surroundings(const Places& places) {
  const auto orders = read_file(places.in() / "plan", kMaxExecSettings);
  if (!orders) return tl::unexpected(orders.error());
  ExecSurroundings found;
  std::vector<std::string> secrets;
  std::string_view rest = *orders, key, value;
  while (take_field(rest, key, value)) {
    if (key == "mask") secrets.emplace_back(value);
    const std::size_t equal = value.find('=');
    if (key == "env" && equal != std::string_view::npos)
      found.env[std::string(value.substr(0, equal))] = value.substr(equal + 1);
  }
  for (const auto& secret : secrets) {
    found.mask.add(secret);
    std::erase_if(found.env, [&](const auto& each) { return each.second == secret; });
  }
  return found;
}

/// As the sandbox's own process, but for what it runs and where its terminal is.
Result<std::string> exec_settings(const Places& places, const ExecRequest& request,
                                     std::map<std::string, std::string> env) {
  const auto text = read_file(places.config(), kMaxExecSettings);
  if (!text) return tl::unexpected(text.error());
  const ExecJson config = ExecJson::parse(*text, nullptr, false);
  if (!config.is_object() || !config.contains("process"))
    return fail(Errc::corrupt, "config.json has no process");
  ExecJson process = config["process"];
  if (request.tty) env.try_emplace("TERM", "xterm");
  env["MUSTER_STEP"] = "exec";
  for (const auto& [name, value] : request.env) env[name] = value;
  ExecJson variables = ExecJson::array();
  for (const auto& [name, value] : env) variables.push_back(name + "=" + value);
  ExecJson args = {"/muster/init", "enter", std::to_string(request.memory_bytes),
               std::to_string((request.cpu_ms + 999) / 1000),
               request.workdir.empty() ? "." : request.workdir};
  for (const auto& arg : request.argv) args.push_back(arg);
  process["args"] = std::move(args);
  process["env"] = std::move(variables);
  process["terminal"] = request.tty;
  // Before the command runs, which may ask for it at once.
  if (request.tty && request.columns > 0 && request.rows > 0)
    process["consoleSize"] = {{"width", request.columns}, {"height", request.rows}};
  return process.dump(-1, ' ', false, ExecJson::error_handler_t::replace);
}

Result<Fd> listen_for_terminal(const fs::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = path.string();
  if (name.size() >= sizeof address.sun_path)
    return fail(Errc::invalid, "the path of a terminal's socket is too long: " + name);
  name.copy(address.sun_path, name.size());
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid() ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(socket.get(), 1) != 0)
    return fail_errno("listen at " + name, errno);
  return socket;
}

/// The terminal's other end, which the runtime made inside and sent.
Fd take_terminal(const Fd& listening) {
  const Fd from(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!from.valid()) return Fd();
  std::array<char, 4096> name{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec part{name.data(), name.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(from.get(), &message, MSG_CMSG_CLOEXEC) < 0) return Fd();
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
    return Fd();
  int fd = -1;
  std::copy_n(CMSG_DATA(header), sizeof fd, reinterpret_cast<unsigned char*>(&fd));
  return Fd(fd);
}

bool write_new_file(const fs::path& path, std::string_view text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  return fd.valid() &&
         ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

}  // namespace

// ---- the thread of one command ----

class Exec::Run {
 public:
  explicit Run(Exec& exec)
      : exec_(exec), request_(exec.request_), places_(exec.tools_.paths, request_.sandbox) {}

  ExecOutcome operator()() {
    if (auto begun = begin(); !begun) {
      outcome_ = {-1, 0, "start_failed", begun.error().message};
    } else {
      while (turn()) {
      }
      flush(out_);
      flush(err_);
      if (outcome_.reason.empty()) outcome_.reason = ending_;
      close_all();
    }
    std::error_code ignored;
    if (!directory_.empty()) fs::remove_all(directory_, ignored);
    return outcome_;
  }

 private:
  struct Stream {
    std::uint8_t number = 1;
    Fd fd;
    Mask::Stream undecided;
    bool ready = false;
  };

  Result<void> begin() {
    auto around = read_exec_surroundings(places_);
    if (!around) return tl::unexpected(around.error());
    mask_ = std::move(around->mask);
    const auto settings = exec_settings(places_, request_, std::move(around->env));
    if (!settings) return tl::unexpected(settings.error());
    std::string name = (places_.run / "exec-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) return fail_errno("mkdtemp " + name, errno);
    directory_ = name;
    if (!write_new_file(directory_ / "process.json", *settings))
      return fail_errno("write process.json", errno);
    if (request_.tty) {
      auto listening = listen_for_terminal(directory_ / "tty");
      if (!listening) return tl::unexpected(listening.error());
      terminals_ = std::move(*listening);
    }
    return spawn();
  }

  std::vector<std::string> command() const {
    std::vector<std::string> argv = {exec_.tools_.muster_init.string(),
                                     "parent",
                                     (directory_ / "pid").string(),
                                     exec_.tools_.runtime,
                                     "--root",
                                     (exec_.tools_.paths.runtime() / "runc").string(),
                                     "exec",
                                     "--detach",
                                     "--process",
                                     (directory_ / "process.json").string(),
                                     "--pid-file",
                                     (directory_ / "pid").string()};
    if (request_.tty) argv.insert(argv.end(), {"--console-socket", (directory_ / "tty").string()});
    argv.push_back(container_of(places_));
    return argv;
  }

  Result<void> spawn() {
    auto in = make_exec_pipe(), out = make_exec_pipe(), err = make_exec_pipe(), tie = make_exec_pipe(),
         status = make_exec_pipe();
    for (const auto* pipe : {&in, &out, &err, &tie, &status})
      if (!*pipe) return tl::unexpected(pipe->error());
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    int target = 0;
    for (const int fd :
         {in->read.get(), out->write.get(), err->write.get(), tie->read.get(), status->write.get()})
      ::posix_spawn_file_actions_adddup2(&actions, fd, target++);
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    auto words = command();
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::string path = std::string("PATH=") + kDefaultPath;
    std::array<char*, 2> env{path.data(), nullptr};
    const int error =
        ::posix_spawn(&parent_, argv[0], &actions, &attributes, argv.data(), env.data());
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (error != 0) return fail_errno("start " + words.front(), error);
    in_ = std::move(in->write);
    out_.fd = std::move(out->read);
    err_.fd = std::move(err->read);
    err_.number = 2;
    tie_ = std::move(tie->write);
    status_ = std::move(status->read);
    for (const Fd* fd : {&in_, &out_.fd, &err_.fd, &status_}) make_exec_nonblocking(*fd);
    started_at_ = boot_ms();
    kill_at_ = started_at_ + kExecStartMs;
    return {};
  }

  /// False when all is said.
  bool turn() {
    take_orders();
    wait();
    read_status();
    if (failed_) return false;
    if (runs_) {
      if (writable_) write_input();
      for (Stream* stream : {&out_, &err_})
        if (stream->ready) read_output(*stream);
    }
    check_time();
    return !over();
  }

  bool over() {
    if (!exited_) return false;
    if (!ending_.empty() || drained_ > kMaxExecDrain) return true;
    return !holds_more(out_) && !holds_more(err_);
  }

  static bool holds_more(const Stream& stream) {
    pollfd asked{stream.fd.get(), POLLIN, 0};
    return stream.fd.valid() && ::poll(&asked, 1, 0) > 0 && (asked.revents & POLLIN) != 0;
  }

  void take_orders() {
    Asked asked;
    {
      const std::lock_guard lock(exec_.mutex_);
      asked.input.swap(exec_.asked_.input);
      asked.signals.swap(exec_.asked_.signals);
      asked.eof = exec_.asked_.eof;
      asked.end = exec_.asked_.end;
      std::swap(asked.credit, exec_.asked_.credit);
      asked.columns = exec_.asked_.columns;
      asked.rows = exec_.asked_.rows;
    }
    credit_ += static_cast<std::int64_t>(asked.credit);
    input_ += asked.input;
    if (asked.eof && !eof_) {
      eof_ = true;
      if (request_.tty) input_.push_back(kEndOfInput);
    }
    if (runs_) {
      set_size(asked.columns, asked.rows);
      for (const char number : asked.signals) tell(number);
      if (eof_ && input_.empty() && !request_.tty) in_.reset();
    }
    if (!asked.end.empty() && ending_.empty()) end(asked.end, 0);
  }

  void wait() {
    const bool may_read = runs_ && credit_ > 0;
    std::array<pollfd, 5> asked{{{exec_.wake_.get(), POLLIN, 0},
                                 {status_.get(), POLLIN, 0},
                                 {runs_ && !input_.empty() ? in_.get() : -1, POLLOUT, 0},
                                 {may_read ? out_.fd.get() : -1, POLLIN, 0},
                                 {may_read ? err_.fd.get() : -1, POLLIN, 0}}};
    int wait_ms = -1;
    const std::int64_t until = next_time();
    if (until > 0)
      wait_ms = static_cast<int>(std::clamp<std::int64_t>(until - boot_ms(), 0, 60'000));
    ::poll(asked.data(), asked.size(), wait_ms);
    std::uint64_t count = 0;
    if (asked[0].revents != 0 && ::read(exec_.wake_.get(), &count, sizeof count) < 0) count = 0;
    writable_ = asked[2].revents != 0;
    out_.ready = asked[3].revents != 0;
    err_.ready = asked[4].revents != 0;
  }

  void read_status() {
    std::array<char, 256> text{};
    const ssize_t n = status_.valid() ? ::read(status_.get(), text.data(), text.size()) : -1;
    if (n < 0) return;
    if (n == 0) {  // its parent is gone
      status_.reset();
      if (exited_) return;
      outcome_.reason = ending_.empty() ? "lost" : ending_;
      failed_ = true;
      return;
    }
    said_.append(text.data(), static_cast<std::size_t>(n));
    std::size_t newline = 0;
    while ((newline = said_.find('\n')) != std::string::npos) {
      heard(said_.substr(0, newline));
      said_.erase(0, newline + 1);
    }
  }

  void heard(const std::string& line) {
    if (line == "started") return begins();
    if (line == "failed") return fails();
    const bool by_signal = line.starts_with("signal ");
    const int number = std::atoi(line.c_str() + line.find(' ') + 1);
    outcome_.signal = by_signal ? number : 0;
    outcome_.exit_code = by_signal ? 128 + number : number;
    outcome_.reason = ending_;
    exited_ = true;
    status_.reset();
  }

  void begins() {
    if (request_.tty) {
      Fd terminal = take_terminal(terminals_);
      if (!terminal.valid()) {
        outcome_ = {-1, 0, "start_failed", "the runtime made no terminal"};
        failed_ = true;
        return;
      }
      make_exec_nonblocking(terminal);
      in_ = Fd(::fcntl(terminal.get(), F_DUPFD_CLOEXEC, 10));
      out_.fd = std::move(terminal);
      err_.fd.reset();
    }
    runs_ = true;
    kill_at_ = 0;
    set_size(request_.columns, request_.rows);
    grant(kExecWindow);
  }

  /// The last line of what the runtime said.
  void fails() {
    std::string text(kMaxExecMessage, '\0');
    const ssize_t n = ::read(err_.fd.get(), text.data(), text.size());
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    outcome_ = {-1, 0, ending_.empty() ? "start_failed" : ending_,
                last_lines(mask_.masked(text), 1, kMaxExecMessage)};
    failed_ = true;
  }

  void grant(std::uint64_t more) {
    {
      const std::lock_guard lock(exec_.mutex_);
      exec_.asked_.may_send += more;
    }
    exec_.events_.credit(more);
  }

  void write_input() {
    const ssize_t n = ::write(in_.get(), input_.data(), input_.size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    // Nobody reads it: what comes is taken and dropped.
    const std::size_t taken = n < 0 ? input_.size() : static_cast<std::size_t>(n);
    input_.erase(0, taken);
    if (taken > 0) grant(taken);
    if (eof_ && input_.empty() && !request_.tty) in_.reset();
  }

  void read_output(Stream& stream) {
    std::array<char, kExecPiece> buffer;
    const ssize_t n = ::read(stream.fd.get(), buffer.data(), buffer.size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {  // EIO: a terminal that nobody has open
      flush(stream);
      stream.fd.reset();
      return;
    }
    if (exited_) drained_ += static_cast<std::uint64_t>(n);
    std::string text;
    mask_.feed(stream.undecided, {buffer.data(), static_cast<std::size_t>(n)}, text);
    send(stream, std::move(text));
  }

  void flush(Stream& stream) {
    std::string text;
    mask_.finish(stream.undecided, text);
    send(stream, std::move(text));
  }

  void send(const Stream& stream, std::string text) {
    if (text.empty()) return;
    if (request_.max_output_bytes > 0 && sent_ + text.size() > request_.max_output_bytes) {
      text.resize(request_.max_output_bytes - sent_);
      if (ending_.empty()) end("output_limit", 0);
    }
    if (text.empty()) return;
    sent_ += text.size();
    credit_ -= static_cast<std::int64_t>(text.size());
    exec_.events_.output(stream.number, std::move(text));
  }

  void set_size(unsigned columns, unsigned rows) {
    if (!request_.tty || columns == 0 || rows == 0 || (columns == columns_ && rows == rows_))
      return;
    columns_ = columns;
    rows_ = rows;
    winsize size{};
    size.ws_col = static_cast<unsigned short>(columns);
    size.ws_row = static_cast<unsigned short>(rows);
    ::ioctl(out_.fd.get(), TIOCSWINSZ, &size);
  }

  void tell(int number) {
    const auto byte = static_cast<unsigned char>(number);
    if (tie_.valid() && ::write(tie_.get(), &byte, 1) < 0) tie_.reset();
  }

  /// Without a grace it is killed at once.
  void end(const std::string& reason, std::int64_t grace_ms) {
    ending_ = reason;
    if (!runs_) return;  // as soon as it does; the runtime has its own limit
    if (grace_ms > 0) tell(SIGTERM);
    kill_at_ = boot_ms() + grace_ms;
  }

  [[nodiscard]] std::int64_t next_time() const {
    if (exited_) return 0;
    if (kill_at_ > 0) return kill_at_;
    return runs_ && request_.timeout_ms > 0 && ending_.empty() ? started_at_ + request_.timeout_ms
                                                               : 0;
  }

  void check_time() {
    if (exited_) return;
    const std::int64_t now = boot_ms();
    if (killed_) return;
    if (runs_ && !ending_.empty() && kill_at_ == 0) kill_at_ = now;
    if (kill_at_ == 0 && next_time() > 0 && now >= next_time()) end("timed_out", kExecGraceMs);
    if (kill_at_ == 0 || now < kill_at_) return;
    if (!runs_) {
      outcome_ = {-1, 0, ending_.empty() ? "start_failed" : ending_,
                  "the runtime did not start it in time"};
      failed_ = true;
      return;
    }
    tie_.reset();  // its parent kills it
    kill_at_ = 0;
    killed_ = true;
    if (request_.tty) in_.reset();
  }

  void close_all() {
    tie_.reset();
    in_.reset();
    out_.fd.reset();
    err_.fd.reset();
    terminals_.reset();
    status_.reset();
    if (failed_ && !runs_) ::kill(-parent_, SIGKILL);
    int status = 0;
    while (::waitpid(parent_, &status, 0) < 0 && errno == EINTR) {
    }
  }

  Exec& exec_;
  const ExecRequest& request_;
  const Places places_;
  fs::path directory_;
  Mask mask_;
  Fd terminals_, in_, tie_, status_;
  Stream out_, err_;
  pid_t parent_ = -1;
  std::string said_, input_, ending_;
  std::int64_t credit_ = 0;
  std::int64_t started_at_ = 0, kill_at_ = 0;
  std::uint64_t sent_ = 0, drained_ = 0;
  unsigned columns_ = 0, rows_ = 0;
  bool runs_ = false, failed_ = false, exited_ = false, eof_ = false, writable_ = false,
       killed_ = false;
  ExecOutcome outcome_;
};

// ---- from outside ----

Exec::Exec(ExecTools tools, ExecRequest request, ExecEvents events)
    : tools_(std::move(tools)),
      request_(std::move(request)),
      events_(std::move(events)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  thread_ = std::thread([this] {
    sigset_t pipes;
    ::sigemptyset(&pipes);
    ::sigaddset(&pipes, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipes,
                      nullptr);  // a command that reads no input is no end of ours
    events_.ended(Run(*this)());
  });
}

Exec::~Exec() {
  end("sandboxd_stopped");
  if (thread_.joinable()) thread_.join();
}

void Exec::wake() {
  const std::uint64_t one = 1;
  if (::write(wake_.get(), &one, sizeof one) < 0) return;  // full: it wakes anyway
}

bool Exec::input(std::string_view bytes, bool eof) {
  {
    const std::lock_guard lock(mutex_);
    if (bytes.size() > asked_.may_send) return false;
    asked_.may_send -= bytes.size();
    asked_.input.append(bytes);
    asked_.eof = asked_.eof || eof;
  }
  wake();
  return true;
}

void Exec::resize(unsigned columns, unsigned rows) {
  {
    const std::lock_guard lock(mutex_);
    asked_.columns = columns;
    asked_.rows = rows;
  }
  wake();
}

void Exec::signal(int number) {
  constexpr std::size_t kMaxSignals = 16;
  {
    const std::lock_guard lock(mutex_);
    if (asked_.signals.size() < kMaxSignals) asked_.signals.push_back(static_cast<char>(number));
  }
  wake();
}

void Exec::credit(std::uint64_t more) {
  {
    const std::lock_guard lock(mutex_);
    asked_.credit += std::min(more, kExecWindow);
  }
  wake();
}

void Exec::end(const std::string& reason) {
  {
    const std::lock_guard lock(mutex_);
    if (asked_.end.empty()) asked_.end = reason;
  }
  wake();
}

}  // namespace muster::sandbox
