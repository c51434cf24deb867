#include "tools/muster/completion.hpp"

namespace muster::cli {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string words_of(const CompletionEntry& entry) {
  const std::string commands = joined(entry.commands), options = joined(entry.options);
  return commands + (commands.empty() || options.empty() ? "" : " ") + options;
}

/// The patterns of a shell's `case` that match every command's path.
std::string known_paths(const std::vector<CompletionEntry>& entries) {
  std::string out;
  for (const auto& entry : entries)
    if (!entry.path.empty()) out += (out.empty() ? "\"" : " | \"") + entry.path + "\"";
  return out;
}

std::string word_cases(const std::vector<CompletionEntry>& entries, const std::string& indent) {
  std::string out;
  for (const auto& entry : entries)
    out += indent + "\"" + entry.path + "\") words=\"" + words_of(entry) + "\" ;;\n";
  return out;
}

std::string bash(const std::vector<CompletionEntry>& entries) {
  return R"(# bash completion for muster: source <(muster completion bash)
_muster() {
  local cur=${COMP_WORDS[COMP_CWORD]} path="" words="" word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ $word == -- ]]; then
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      return
    fi
    case "${path:+$path }$word" in
      )" +
         known_paths(entries) + R"() path="${path:+$path }$word" ;;
    esac
  done
  case "$path" in
)" + word_cases(entries, "    ") +
         R"(  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  [[ ${#COMPREPLY[@]} -gt 0 ]] || mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}
complete -o filenames -F _muster muster
)";
}

std::string zsh(const std::vector<CompletionEntry>& entries) {
  return R"(#compdef muster
# zsh completion for muster: muster completion zsh > "${fpath[1]}/_muster"
_muster() {
  local path="" words_here="" word
  local -i i
  for ((i = 2; i < CURRENT; i++)); do
    word=${words[i]}
    if [[ $word == -- ]]; then _files; return; fi
    case "${path:+$path }$word" in
      ()" +
         known_paths(entries) + R"() path="${path:+$path }$word" ;;
    esac
  done
  local words_text=""
  () {
    local words=""
    case "$path" in
)" + word_cases(entries, "      ") +
         R"(    esac
    words_text=$words
  }
  compadd -- ${=words_text} || _files
}
compdef _muster muster
)";
}

std::string fish(const std::vector<CompletionEntry>& entries) {
  std::string out = R"(# fish completion for muster: muster completion fish | source
function __muster_path
    set -l path ""
    for word in (commandline -opc)[2..-1]
        set -l next (string trim "$path $word")
        switch $next
            case )";
  for (const auto& entry : entries)
    if (!entry.path.empty()) out += "'" + entry.path + "' ";
  out += R"(
                set path $next
        end
    end
    echo $path
end
)";
  for (const auto& entry : entries) {
    const std::string when =
        "complete -c muster -n 'test (__muster_path) = \"" + entry.path + "\"'";
    if (!entry.commands.empty()) out += when + " -f -a '" + joined(entry.commands) + "'\n";
    for (const std::string& option : entry.options)
      out += when +
             (option.starts_with("--") ? " -l " + option.substr(2) : " -s " + option.substr(1)) +
             "\n";
  }
  return out;
}

}  // namespace

std::string completion_script(const std::string& shell,
                              const std::vector<CompletionEntry>& entries) {
  if (shell == "bash") return bash(entries);
  if (shell == "zsh") return zsh(entries);
  if (shell == "fish") return fish(entries);
  return "";
}

}  // namespace muster::cli
