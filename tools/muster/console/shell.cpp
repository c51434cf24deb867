// The prompt: libedit (by its readline interface) around a Session. The only file that includes it.
#include <editline/readline.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <utility>

#include "storage/base/files.hpp"
#include "tools/muster/console/session.hpp"

namespace muster::cli::console {
namespace {

constexpr int kHistoryLines = 1'000;

/// libedit calls back without an argument, and there is one prompt in a process.
Session* prompt_session = nullptr;
bool line_given_up = false;

/// Ctrl-C gives up the line, not the console.
int give_up_line(int, int) {
  line_given_up = true;
  rl_done = 1;
  (void)::write(STDOUT_FILENO, "^C\n", 3);
  return 0;
}

/// As readline(); `given_up` tells Ctrl-C from Ctrl-D, both of which give nothing.
char* read_line(const char* prompt, bool& given_up) {
  line_given_up = false;
  char* line = ::readline(prompt);
  given_up = std::exchange(line_given_up, false);
  return line;
}

/// libedit sets the terminal up anew for each line.
int keep_signals_off() {
  return ::rl_parse_and_bind("setty -d -isig");
}

/// While a line is edited; what runs hears of Ctrl-C as ever.
void take_interrupts_as_keys() {
  constexpr int kInterrupt = 3;
  ::rl_initialize();
  rl_pre_input_hook = keep_signals_off;
  (void)::rl_add_defun("give-up-line", give_up_line, kInterrupt);
}

char** offer(const char*, int, int) {
  rl_attempted_completion_over = 1;  // Never file names.
  const std::string before(rl_line_buffer, static_cast<std::size_t>(rl_point));
  const auto completion =
      complete(before, [](Takes takes, const std::string& of, const std::string& prefix) {
        return prompt_session->names(takes, of, prefix);
      });
  if (completion.candidates.empty()) return nullptr;
  // What libedit takes the place of begins at its own idea of a word: the last blank or '='.
  auto** matches =
      static_cast<char**>(std::calloc(completion.candidates.size() + 2, sizeof(char*)));
  std::string common = completion.candidates.front();
  for (const std::string& each : completion.candidates) {
    std::size_t n = 0;
    while (n < common.size() && n < each.size() && common[n] == each[n]) ++n;
    common.resize(n);
  }
  std::size_t n = 0;
  matches[n++] = ::strdup(common.c_str());
  if (completion.candidates.size() > 1)
    for (const std::string& each : completion.candidates) matches[n++] = ::strdup(each.c_str());
  const std::string& first = completion.candidates.front();
  rl_completion_append_character = first.ends_with('=') || first.ends_with('/') ? '\0' : ' ';
  return matches;
}

std::filesystem::path history_file() {
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state == '/')
    return std::filesystem::path(state) / "muster/history";
  const char* home = std::getenv("HOME");
  return home == nullptr ? std::filesystem::path()
                         : std::filesystem::path(home) / ".local/state/muster/history";
}

/// Reads and keeps the history; without a home there is none.
class History {
 public:
  History() : file_(history_file()) {
    ::using_history();
    ::stifle_history(kHistoryLines);
    if (!file_.empty()) ::read_history(file_.c_str());
  }
  ~History() {
    std::error_code ignored;
    if (file_.empty()) return;
    std::filesystem::create_directories(file_.parent_path(), ignored);
    const auto before = ::umask(077);  // What operators typed is for them alone.
    ::write_history(file_.c_str());
    ::umask(before);
  }
  History(const History&) = delete;
  History& operator=(const History&) = delete;

 private:
  std::filesystem::path file_;
};

/// A question to the person at the prompt; nothing at Ctrl-D or Ctrl-C. Answers stay out of the
/// history.
std::optional<std::string> ask(const std::string& question) {
  rl_inhibit_completion = 1;
  bool given_up = false;
  char* line = read_line(question.c_str(), given_up);
  rl_inhibit_completion = 0;
  if (line == nullptr) return std::nullopt;
  std::string answer(line);
  std::free(line);
  return answer;
}

int prompt(Session& session) {
  prompt_session = &session;
  session.set_ask(ask);
  rl_readline_name = const_cast<char*>("muster");
  rl_attempted_completion_function = offer;
  rl_completer_word_break_characters = const_cast<char*>(" \t=");
  rl_basic_word_break_characters = " \t=";
  take_interrupts_as_keys();
  const History history;
  int code = 0;
  while (!session.wants_to_quit()) {
    bool given_up = false;
    char* line = read_line("muster> ", given_up);
    if (given_up) {
      std::free(line);
      continue;
    }
    if (line == nullptr) {  // Ctrl-D
      (void)::write(STDOUT_FILENO, "\n", 1);
      break;
    }
    if (*line != '\0') ::add_history(line);
    code = session.run(line);
    std::free(line);
  }
  prompt_session = nullptr;
  return code;
}

/// Lines from a pipe: a script.
int script(Session& session, std::istream& in) {
  for (std::string line; !session.wants_to_quit() && std::getline(in, line);)
    if (const int code = session.run(line); code != 0) return code;
  return 0;
}

}  // namespace

int run_console(Context& context, const std::vector<std::string>& lines) {
  Session session(context);
  for (const std::string& line : lines)
    if (const int code = session.run(line); code != 0 || session.wants_to_quit()) return code;
  if (!lines.empty()) return 0;
  if (::isatty(STDIN_FILENO) == 0) return script(session, std::cin);
  if (const auto client = context.client(); !client) return context.fail(client.error());
  context.out() << "Connected to " << (*context.client())->endpoint().described
                << ". `help` lists the commands, TAB completes.\n";
  context.out().flush();
  return prompt(session);
}

}  // namespace muster::cli::console
