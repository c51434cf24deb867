#include "tools/muster/console/complete.hpp"

#include <algorithm>

namespace muster::cli::console {
namespace {

std::vector<std::string> beginning_with(std::vector<std::string> all, std::string_view prefix) {
  std::erase_if(all, [&](const std::string& each) { return !each.starts_with(prefix); });
  std::sort(all.begin(), all.end());
  return all;
}

std::string kind_of(const std::vector<std::string>& words) {
  return words.size() < 2 ? std::string() : words[1].substr(0, words[1].find('/'));
}

std::vector<std::string> values(const Word& word, const std::vector<std::string>& words,
                                const std::string& prefix, const Names& names) {
  if (word.takes == Takes::command) {
    std::vector<std::string> all;
    for (const Command& command : commands()) all.push_back(command.name);
    return beginning_with(std::move(all), prefix);
  }
  if (word.takes == Takes::text || word.takes == Takes::number || word.takes == Takes::duration ||
      word.takes == Takes::sequence)
    return {};
  return beginning_with(
      names(word.takes, word.takes == Takes::message ? kind_of(words) : "", prefix), prefix);
}

/// Names of options not yet said, and of a message's fields, each with its '='.
std::vector<std::string> pairs(const Command& command, const std::vector<std::string>& words,
                               const std::string& prefix, const Names& names) {
  std::vector<std::string> all;
  for (const Word& option : command.options) all.push_back(option.name + "=");
  if (command.fields && words.size() >= 3)
    for (const std::string& field : names(Takes::field, kind_of(words) + "/" + words[2], prefix))
      all.push_back(field + "=");
  std::erase_if(all, [&](const std::string& pair) {
    return std::any_of(words.begin() + 1, words.end(),
                       [&](const std::string& said) { return said.starts_with(pair); });
  });
  return beginning_with(std::move(all), prefix);
}

}  // namespace

Completion complete(std::string_view before, const Names& names) {
  const std::size_t blank = before.find_last_of(" \t");
  const std::size_t begin = blank == std::string_view::npos ? 0 : blank + 1;
  const std::string word(before.substr(begin));
  const auto earlier = split_line(before.substr(0, begin));
  if (!earlier) return {begin, {}};
  if (earlier->empty()) return {begin, values({"", Takes::command}, {}, word, names)};
  const Command* command = find_command(earlier->front());
  if (command == nullptr) return {begin, {}};

  if (const std::size_t equals = word.find('='); equals != std::string::npos) {
    const std::string name = word.substr(0, equals);
    for (const Word& option : command->options)
      if (option.name == name)
        return {begin + equals + 1, values(option, *earlier, word.substr(equals + 1), names)};
    return {begin, {}};
  }
  std::vector<std::string> candidates;
  const auto said = static_cast<std::size_t>(
      std::count_if(earlier->begin() + 1, earlier->end(),
                    [](const std::string& w) { return w.find('=') == std::string::npos; }));
  if (!command->words.empty()) {
    const std::size_t place = std::min(said, command->words.size() - 1);
    if (said < command->words.size() || command->words.back().many)
      candidates = values(command->words[place], *earlier, word, names);
  }
  if (candidates.empty() || said >= command->words.size()) {
    const auto more = pairs(*command, *earlier, word, names);
    candidates.insert(candidates.end(), more.begin(), more.end());
  }
  return {begin, std::move(candidates)};
}

}  // namespace muster::cli::console
