// muster run exec, muster run attach: one command in a running sandbox, over the websocket of GET
// /v1/runs/{id}/exec.
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <optional>

#include "tools/muster/commands/commands.hpp"
#include "tools/muster/exec_channel.hpp"
#include "tools/muster/json_get.hpp"

namespace muster::cli {
namespace {

constexpr std::size_t kInputPiece = 16u << 10;
constexpr std::size_t kMaxKept = 16u << 20;     // of what --json shows
constexpr Duration kLookAtWindow{250};

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

/// One command with this process's standard streams as its own.
class Conversation {
 public:
  Conversation(Context& context, const ExecFlags& flags, ExecChannel& channel)
      : context_(context), flags_(flags), channel_(channel) {}

  int run(const Json& open) {
    ExecChannel::Events events;
    events.output = [this](bool error, std::string_view bytes) { show(error, bytes); };
    if (flags_.tty) events.tick = [this] { look_at_window(); };
    events.period = kLookAtWindow;
    std::optional<CommandEnd> end;
    {
      std::optional<RawTerminal> raw;
      if (flags_.tty) raw.emplace();
      size_ = terminal_size();
      end = channel_.run(open, std::move(events), [this] { read_input(); });
    }
    if (left_) {
      context_.err() << "Left; the command was ended.\n";
      return kExitDetached;
    }
    if (!end)
      return context_.fail(
          {Errc::unreachable, "the connection to musterd ended, and the command with it", ""});
    if (context_.json())
      context_.out() << dumped({{"exit_code", end->exit_code},
                                {"signal", end->signal},
                                {"reason", end->reason},
                                {"message", end->message},
                                {"stdout", kept_out_},
                                {"stderr", kept_error_}})
                     << "\n";
    return report_command_end(context_, *end);
  }

 private:
  void show(bool error, std::string_view bytes) {
    if (context_.json()) {
      std::string& kept = error ? kept_error_ : kept_out_;
      if (kept.size() + bytes.size() < kMaxKept) kept += bytes;
      return;
    }
    std::ostream& to = error ? context_.err() : context_.out();
    to.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    to.flush();
    if (!to) channel_.close();  // nobody reads what it prints
  }

  void look_at_window() {
    const winsize now = terminal_size();
    if (now.ws_col == 0 || (now.ws_col == size_.ws_col && now.ws_row == size_.ws_row)) return;
    size_ = now;
    channel_.say(Json({{"type", "resize"}, {"columns", now.ws_col}, {"rows", now.ws_row}}).dump());
  }

  /// On a thread of its own: standard input may be a file, a pipe or a terminal.
  void read_input() {
    Escape escape;
    std::array<char, kInputPiece> buffer;
    while (true) {
      std::array<pollfd, 2> waits{{{STDIN_FILENO, POLLIN, 0}, {channel_.over_fd(), POLLIN, 0}}};
      ::poll(waits.data(), waits.size(), -1);
      if (waits[1].revents != 0) return;
      const ssize_t n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return channel_.end_input();
      auto bytes = std::optional(std::string(buffer.data(), static_cast<std::size_t>(n)));
      if (flags_.tty) bytes = escape.pass(*bytes);
      if (!bytes) {
        left_ = true;
        return channel_.close();
      }
      if (!bytes->empty() && !channel_.send(std::move(*bytes))) return;
    }
  }

  Context& context_;
  const ExecFlags& flags_;
  ExecChannel& channel_;
  winsize size_{};
  std::string kept_out_, kept_error_;
  bool left_ = false;  // by the input's thread, read after its end
};

int exec_converse(Context& context, const std::string& id, const ExecFlags& flags,
                  std::vector<std::string> command) {
  const auto open = exec_opening(flags, std::move(command));
  if (!open) return context.fail(open.error());
  auto channel = ExecChannel::connect(context, id);
  if (!channel) return context.fail(channel.error());
  return Conversation(context, flags, **channel).run(*open);
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
