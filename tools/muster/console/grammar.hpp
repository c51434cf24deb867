// What can be typed at the console: one line is a command, its words, and name=value pairs. The
// table of commands is data: parsing, help and completion all read it. Pure.
//
//   auto line = parse_line("actors kind=run state=failed limit=20");
//   line->command->name == "actors", line->options.at("state") == "failed"
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::cli::console {

/// What a word or a value names: completion asks for these.
enum class Takes {
  text,
  actor,
  kind,
  message,
  field,
  fleet,
  host,
  swarm,
  state,
  sequence,
  duration,
  number,
  command
};

struct Word {
  std::string name;
  Takes takes = Takes::text;
  bool required = true;
  bool many = false;  ///< Only the last one.
};

struct Command {
  std::string name;
  std::string summary;
  std::vector<Word> words;
  std::vector<Word> options;  ///< name=value
  bool fields = false;        ///< Takes any name=value: the fields of a message.
  std::string more;           ///< Shown by `help NAME`.
};

const std::vector<Command>& commands();
/// Null when there is none of that name.
const Command* find_command(std::string_view name);

struct Line {
  const Command* command = nullptr;  ///< Null: the line was empty, or a comment.
  std::vector<std::string> words;    ///< Without the command.
  std::map<std::string, std::string> options;
  std::vector<std::pair<std::string, std::string>> fields;

  [[nodiscard]] std::string option(const std::string& name) const {
    const auto found = options.find(name);
    return found == options.end() ? std::string() : found->second;
  }
};

/// Blanks separate; '…' and "…" quote, also after name=; \ takes the next character as it is.
Result<std::vector<std::string>> split_line(std::string_view line);

/// Errc::invalid names the mistake and what was meant. '#' begins a comment.
Result<Line> parse_line(std::string_view line);

/// "actors [kind=KIND] [prefix=TEXT] …"
std::string usage(const Command& command);
/// All commands, or one with its words explained.
std::string help_text(const std::vector<std::string>& words);

}  // namespace muster::cli::console
