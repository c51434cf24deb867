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

/// Where an option's value, or a command's subject, is what is completed.
std::string value_cases(const std::vector<CompletionEntry>& entries, const std::string& indent) {
  std::string out;
  for (const auto& entry : entries)
    for (const auto& value : entry.values)
      out += indent + "\"" + entry.path + " " + value.option + "\") words=\"" +
             joined(value.words) + "\" names=\"" + value.names + "\" ;;\n";
  for (const auto& entry : entries)
    if (!entry.names.empty())
      out += indent + "\"" + entry.path + " \"*) [[ $cur == -* ]] || names=\"" + entry.names +
             "\" ;;\n";
  return out;
}

std::string bash(const std::vector<CompletionEntry>& entries) {
  return R"sh(# bash completion for muster: source <(muster completion bash)
_muster() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
  local path="" words="" names="" word i
  local -a where=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ $word == -- ]]; then
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      return
    fi
    [[ $word != --root ]] || where=(--root "${COMP_WORDS[i + 1]}")
    case "${path:+$path }$word" in
      )sh" +
         known_paths(entries) + R"sh() path="${path:+$path }$word" ;;
    esac
  done
  case "$path" in
)sh" + word_cases(entries, "    ") +
         R"sh(  esac
  case "$path $prev" in
)sh" + value_cases(entries, "    ") +
         R"sh(  esac
  [[ -z $names ]] || words="$words $("${COMP_WORDS[0]}" "${where[@]}" names "$names" 2>/dev/null)"
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  [[ ${#COMPREPLY[@]} -gt 0 ]] || mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}
complete -o filenames -F _muster muster
)sh";
}

std::string zsh(const std::vector<CompletionEntry>& entries) {
  return R"sh(#compdef muster
# zsh completion for muster: muster completion zsh > "${fpath[1]}/_muster"
_muster() {
  local at="" word names=""  # "path" is PATH in zsh
  local program=${words[1]} cur=${words[CURRENT]} prev=${words[CURRENT-1]}
  local -a where
  local -i i
  for ((i = 2; i < CURRENT; i++)); do
    word=${words[i]}
    if [[ $word == -- ]]; then _files; return; fi
    if [[ $word == --root ]]; then where=(--root "${words[i+1]}"); fi
    case "${at:+$at }$word" in
      ()sh" +
         known_paths(entries) + R"sh() at="${at:+$at }$word" ;;
    esac
  done
  local words_text=""
  () {
    local words=""
    case "$at" in
)sh" + word_cases(entries, "      ") +
         R"sh(    esac
    case "$at $prev" in
)sh" + value_cases(entries, "      ") +
         R"sh(    esac
    words_text=$words
  }
  if [[ -n $names ]]; then words_text+=" $($program $where names $names 2>/dev/null)"; fi
  compadd -- ${=words_text} || _files
}
compdef _muster muster
)sh";
}

/// What fish offers behind an option; nothing for one whose values are not known.
std::string value_of(const CompletionEntry& entry, const std::string& option) {
  for (const auto& value : entry.values)
    if (value.option == option)
      return " -x -a '" +
             (value.names.empty() ? joined(value.words) : "(__muster_names " + value.names + ")") +
             "'";
  return "";
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
function __muster_names
    set -l words (commandline -opc)
    set -l where
    if set -l i (contains -i -- --root $words); and test $i -lt (count $words)
        set where --root $words[(math $i + 1)]
    end
    $words[1] $where names $argv 2>/dev/null
end
)";
  for (const auto& entry : entries) {
    const std::string when =
        "complete -c muster -n 'test (__muster_path) = \"" + entry.path + "\"'";
    if (!entry.commands.empty()) out += when + " -f -a '" + joined(entry.commands) + "'\n";
    if (!entry.names.empty()) out += when + " -f -a '(__muster_names " + entry.names + ")'\n";
    for (const std::string& option : entry.options)
      out += when +
             (option.starts_with("--") ? " -l " + option.substr(2) : " -s " + option.substr(1)) +
             value_of(entry, option) + "\n";
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
