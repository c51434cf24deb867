// muster run exec, muster run attach: one command in a running sandbox, over the websocket of GET
// /v1/runs/{id}/exec.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>

#include "tools/muster/commands/commands.hpp"
#include "tools/muster/dial.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/text.hpp"
#include "tools/musterd/web_socket.hpp"

namespace muster::cli {
namespace {

using musterd::WebSocket;

constexpr std::size_t kInputPiece = 16u << 10;
constexpr std::size_t kMaxUnsent = 256u << 10;  // of standard input
constexpr std::size_t kMaxKept = 16u << 20;     // of what --json shows
constexpr Duration kLookAtWindow{250};
constexpr int kExitNotRun = 126;

/// The user's terminal hands every key on, as long as this lives.
class RawTerminal {
 public:
  RawTerminal() {
    if (::tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios raw = before_;
    ::cfmakeraw(&raw);
    changed_ = ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() {
    if (changed_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }

 private:
  termios before_{};
  bool changed_ = false;
};

/// "~." at the beginning of a line, as in ssh; "~~" is one "~".
class Escape {
 public:
  /// What is to be sent of `bytes`; nothing when the user wants to leave.
  std::optional<std::string> pass(std::string_view bytes) {
    std::string out;
    for (const char c : bytes) {
      if (tilde_) {
        tilde_ = false;
        if (c == '.') return std::nullopt;
        if (c != '~') out.push_back('~');
        out.push_back(c);
        line_begins_ = c == '\r' || c == '\n';
        continue;
      }
      tilde_ = line_begins_ && c == '~';
      line_begins_ = c == '\r' || c == '\n';
      if (!tilde_) out.push_back(c);
    }
    return out;
  }

 private:
  bool line_begins_ = true, tilde_ = false;
};

winsize terminal_size() {
  winsize size{};
  ::ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
  return size;
}

Answer<Json> exec_opening(const ExecFlags& flags, std::vector<std::string> command) {
  Json open = {{"type", "open"}, {"argv", std::move(command)}, {"tty", flags.tty}};
  Json env = Json::object();
  if (const char* term = std::getenv("TERM"); flags.tty && term != nullptr) env["TERM"] = term;
  for (const std::string& pair : flags.env) {
    const std::size_t equal = pair.find('=');
    const std::string name = pair.substr(0, equal);
    const char* own = equal == std::string::npos ? std::getenv(name.c_str()) : nullptr;
    if (name.empty() || (equal == std::string::npos && own == nullptr))
      return tl::unexpected(Failure{Errc::invalid, "--env " + pair + ": there is no such variable",
                                    "write NAME=VALUE"});
    env[name] = own != nullptr ? own : pair.substr(equal + 1);
  }
  if (!env.empty()) open["env"] = std::move(env);
  if (!flags.workdir.empty()) open["workdir"] = flags.workdir;
  if (flags.timeout > Duration{0}) open["timeout_ms"] = flags.timeout.count();
  if (flags.tty) {
    const winsize size = terminal_size();
    if (size.ws_col > 0 && size.ws_row > 0) {
      open["columns"] = size.ws_col;
      open["rows"] = size.ws_row;
    }
  }
  return open;
}

/// One command, from the handshake to its exit code.
class Conversation {
 public:
  Conversation(Context& context, const ExecFlags& flags, std::unique_ptr<WebSocket> socket)
      : context_(context), flags_(flags), socket_(std::move(socket)) {}

  int run(const Json& open) {
    socket_->send(true, open.dump(-1, ' ', false, Json::error_handler_t::replace));
    WebSocket::Events events;
    events.message = [this](bool text, std::string bytes) { text ? hear(bytes) : show(bytes); };
    if (flags_.tty) events.tick = [this] { look_at_window(); };
    events.period = kLookAtWindow;
    {
      std::optional<RawTerminal> raw;
      if (flags_.tty) raw.emplace();
      size_ = terminal_size();
      std::thread reader([this] { read_input(); });
      socket_->run(std::move(events));
      {
        const std::lock_guard lock(mutex_);
        over_ = true;
      }
      sent_.notify_all();
      stop_.reset();
      reader.join();
    }
    return result();
  }

  bool prepare() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
    stopped_ = Fd(ends[0]);
    stop_ = Fd(ends[1]);
    return true;
  }

 private:
  void hear(const std::string& text) {
    const Json said = Json::parse(text, nullptr, false);
    if (!said.is_object() || str(said, "type") != "end") return;
    end_ = said;
  }

  void show(const std::string& bytes) {
    if (bytes.empty()) return;
    const bool error = bytes.front() == 2;
    if (context_.json()) {
      std::string& kept = error ? kept_error_ : kept_out_;
      if (kept.size() + bytes.size() < kMaxKept) kept.append(bytes, 1);
      return;
    }
    std::ostream& to = error ? context_.err() : context_.out();
    to.write(bytes.data() + 1, static_cast<std::streamsize>(bytes.size() - 1));
    to.flush();
    if (!to) socket_->close();  // nobody reads what it prints
  }

  void look_at_window() {
    const winsize now = terminal_size();
    if (now.ws_col == 0 || (now.ws_col == size_.ws_col && now.ws_row == size_.ws_row)) return;
    size_ = now;
    socket_->send(true,
                  Json({{"type", "resize"}, {"columns", now.ws_col}, {"rows", now.ws_row}}).dump());
  }

  /// On a thread of its own: standard input may be a file, a pipe or a terminal.
  void read_input() {
    Escape escape;
    std::array<char, kInputPiece> buffer;
    while (true) {
      std::array<pollfd, 2> waits{{{STDIN_FILENO, POLLIN, 0}, {stopped_.get(), POLLIN, 0}}};
      ::poll(waits.data(), waits.size(), -1);
      if (waits[1].revents != 0) return;
      const ssize_t n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return socket_->post([this] { socket_->send(true, R"({"type":"eof"})"); });
      auto bytes = std::optional(std::string(buffer.data(), static_cast<std::size_t>(n)));
      if (flags_.tty) bytes = escape.pass(*bytes);
      if (!bytes)
        return socket_->post([this] {
          left_ = true;
          socket_->close();
        });
      if (!bytes->empty() && !send_input(std::move(*bytes))) return;
    }
  }

  /// Waits while too much is unsent: what the command does not take stays in the pipe. False when
  /// it is over.
  bool send_input(std::string bytes) {
    std::unique_lock lock(mutex_);
    sent_.wait(lock, [this] { return over_ || unsent_ < kMaxUnsent; });
    if (over_) return false;
    unsent_ += bytes.size();
    lock.unlock();
    socket_->post([this, bytes = std::move(bytes)]() mutable {
      const std::size_t size = bytes.size();
      bytes.insert(bytes.begin(), '\0');
      socket_->send(false, std::move(bytes), [this, size] {
        const std::lock_guard taken(mutex_);
        unsent_ -= size;
        sent_.notify_all();
      });
    });
    return true;
  }

  int result() {
    if (left_) {
      context_.err() << "Left; the command was ended.\n";
      return kExitDetached;
    }
    if (!end_)
      return context_.fail(
          {Errc::unreachable, "the connection to musterd ended, and the command with it", ""});
    const std::string reason = str(*end_, "reason"), message = str(*end_, "message");
    const int exit_code = static_cast<int>(end_->value("exit_code", -1));
    if (context_.json())
      context_.out() << dumped({{"exit_code", exit_code},
                                {"signal", end_->value("signal", 0)},
                                {"reason", reason},
                                {"message", message},
                                {"stdout", kept_out_},
                                {"stderr", kept_error_}})
                     << "\n";
    if (reason.empty()) return exit_code;
    const std::string why =
        "the command ended: " + reason + (message.empty() ? "" : ": " + safe_line(message));
    if (reason == "timed_out") {
      (void)context_.fail({Errc::timed_out, why, ""});
      return kExitTimedOut;
    }
    if (reason == "not_running" || reason == "not_started")
      return context_.fail({Errc::refused, why, ""});
    if (reason == "too_many") return context_.fail({Errc::overloaded, why, ""});
    if (reason == "bad_command") return context_.fail({Errc::invalid, why, ""});
    (void)context_.fail({Errc::internal, why, ""});
    return exit_code > 0 ? exit_code : kExitNotRun;
  }

  Context& context_;
  const ExecFlags& flags_;
  std::unique_ptr<WebSocket> socket_;
  Fd stopped_, stop_;
  winsize size_{};
  std::optional<Json> end_;
  std::string kept_out_, kept_error_;
  bool left_ = false;
  std::mutex mutex_;
  std::condition_variable sent_;
  std::size_t unsent_ = 0;
  bool over_ = false;
};

int exec_converse(Context& context, const std::string& id, const ExecFlags& flags,
             std::vector<std::string> command) {
  auto client = context.client();
  if (!client) return context.fail(client.error());
  const Endpoint& endpoint = (*client)->endpoint();
  const auto open = exec_opening(flags, std::move(command));
  if (!open) return context.fail(open.error());
  auto connection = dial(endpoint);
  if (!connection) return context.fail(connection.error());
  std::vector<std::pair<std::string, std::string>> headers;
  if (!endpoint.token.empty()) headers.emplace_back("Authorization", "Bearer " + endpoint.token);
  std::string host =
      endpoint.socket.empty() ? endpoint.url.substr(endpoint.url.find("://") + 3) : "localhost";
  WebSocket::Refused refused;
  auto socket =
      WebSocket::connect(std::move(*connection), host, run_path(id) + "/exec", headers, refused);
  if (!socket && refused.status > 0) {
    Response response;
    response.status = refused.status;
    response.body = refused.body;
    return context.fail(failure_of(response, endpoint));
  }
  if (!socket) return context.fail({Errc::unreachable, socket.error().message, ""});
  Conversation conversation(context, flags, std::move(*socket));
  if (!conversation.prepare()) return context.fail({Errc::io, "no pipe is to be had", ""});
  return conversation.run(*open);
}

}  // namespace

int run_exec(Context& context, const std::string& id, const ExecFlags& flags,
             const std::vector<std::string>& command) {
  if (command.empty())
    return context.usage("there is no command", "muster run exec RUN -- COMMAND…");
  if (flags.tty && (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0))
    return context.usage("--tty needs a terminal on standard input and output");
  if (flags.tty && context.json()) return context.usage("--tty and --json don't go together");
  return exec_converse(context, id, flags, command);
}

int run_attach(Context& context, const std::string& id, const ExecFlags& flags) {
  ExecFlags with_terminal = flags;
  with_terminal.tty = true;
  return run_exec(
      context, id, with_terminal,
      {"/bin/sh", "-c", "if command -v bash >/dev/null; then exec bash -i; else exec sh -i; fi"});
}

}  // namespace muster::cli
