#include "actors/spec/json_walk.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/spec/units.hpp"

namespace muster::actors::detail {

using nlohmann::json;

std::string escape_key(const std::string& key) {
  std::string out;
  for (const char c : key) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

std::string described(const json& value) {
  switch (value.type()) {
    case json::value_t::object:
      return "a mapping";
    case json::value_t::array:
      return "a list";
    case json::value_t::string:
      return "text";
    case json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case json::value_t::null:
      return "nothing";
    default:
      return "the number " + value.dump();
  }
}

bool read_text(const json& value, const std::string& pointer, std::vector<Problem>& problems,
               std::string& to, std::size_t limit) {
  if (!value.is_string()) {
    std::string message = "must be text, not " + described(value);
    if (value.is_number() || value.is_boolean())
      message += ": put it in quotes, \"" + value.dump() + "\"";
    problems.push_back({pointer, std::move(message)});
    return false;
  }
  const auto& text = value.get_ref<const std::string&>();
  if (text.find('\0') != std::string::npos) {
    problems.push_back({pointer, "must not hold a NUL character"});
    return false;
  }
  if (text.size() > limit) {
    problems.push_back({pointer, "is " + std::to_string(text.size()) + " bytes long; at most " +
                                     std::to_string(limit)});
    return false;
  }
  to = text;
  return true;
}

void read_command(const json& value, const std::string& pointer, std::vector<Problem>& problems,
                  Command& to) {
  if (value.is_array()) {
    for (std::size_t i = 0; i < value.size() && i < kMaxListed; ++i) {
      std::string word;
      if (read_text(value[i], pointer + "/" + std::to_string(i), problems, word, kMaxText))
        to.argv.push_back(std::move(word));
    }
    if (value.size() > kMaxListed)
      problems.push_back({pointer, "has more than " + std::to_string(kMaxListed) + " words"});
    if (value.empty() || (!to.argv.empty() && to.argv.front().empty()))
      problems.push_back({pointer, "names no program"});
    return;
  }
  if (!value.is_string()) {
    problems.push_back(
        {pointer, "must be a command: text for bash, or a list of words; not " + described(value)});
    return;
  }
  if (!read_text(value, pointer, problems, to.shell, kMaxText)) return;
  if (to.shell.find_first_not_of(" \t\r\n") == std::string::npos)
    problems.push_back({pointer, "is an empty command"});
}

Walk::Walk(const json* value, std::string pointer, std::vector<Problem>& problems)
    : value_(value), pointer_(std::move(pointer)), problems_(problems) {
  if (value_ == nullptr || value_->is_object()) return;
  problems_.push_back({pointer_, "must be a mapping (key: value), not " + described(*value_)});
  value_ = nullptr;
}

const json* Walk::find(const std::string& key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  if (value_ == nullptr) return nullptr;
  const auto found = value_->find(key);
  if (found == value_->end()) return nullptr;
  if (!found->is_null()) return &*found;
  problem(key, "has no value: give one, or leave the key out");
  return nullptr;
}

void Walk::problem(const std::string& key, std::string message) {
  Problem found{pointer(key), std::move(message)};
  if (std::find(problems_.begin(), problems_.end(), found) == problems_.end())
    problems_.push_back(std::move(found));
}

void Walk::required(const std::string& key) {
  if (value_ != nullptr && !value_->contains(key))
    problems_.push_back({pointer_, "\"" + key + "\" is missing"});
}

void Walk::text(const std::string& key, std::string& to, std::size_t limit) {
  if (const json* value = find(key)) read_text(*value, pointer(key), problems_, to, limit);
}

void Walk::flag(const std::string& key, bool& to) {
  const json* value = find(key);
  if (value == nullptr) return;
  if (value->is_boolean())
    to = value->get<bool>();
  else
    problem(key, "must be true or false, not " + described(*value));
}

template <class Int>
void Walk::number(const std::string& key, Int& to, std::int64_t low, std::int64_t high) {
  const json* value = find(key);
  if (value == nullptr) return;
  const bool whole = value->is_number_integer() &&
                     (!value->is_number_unsigned() || value->get<std::uint64_t>() <= INT64_MAX);
  if (!whole) return problem(key, "must be a whole number, not " + described(*value));
  const auto n = value->get<std::int64_t>();
  if (n != low && low == high)
    return problem(key, "must be " + std::to_string(low) + ", not " + std::to_string(n));
  if (n < low || n > high)
    return problem(key, "must be between " + std::to_string(low) + " and " + std::to_string(high) +
                            ", not " + std::to_string(n));
  to = static_cast<Int>(n);
}
template void Walk::number(const std::string&, std::uint32_t&, std::int64_t, std::int64_t);
template void Walk::number(const std::string&, std::int32_t&, std::int64_t, std::int64_t);
template void Walk::number(const std::string&, std::int64_t&, std::int64_t, std::int64_t);

void Walk::duration(const std::string& key, Duration& to, Duration low) {
  const json* value = find(key);
  if (value == nullptr) return;
  if (!value->is_string())
    return problem(key, "must be a duration like 90s, 20m or 24h, not " + described(*value));
  const auto parsed = parse_duration(value->get<std::string>());
  if (!parsed) return problem(key, parsed.error().message);
  if (*parsed < low || *parsed > kMaxDuration)
    return problem(key, "must be between " + to_string(low) + " and " + to_string(kMaxDuration));
  to = *parsed;
}

void Walk::size(const std::string& key, std::uint64_t& to, std::uint64_t low) {
  const json* value = find(key);
  if (value == nullptr) return;
  Result<std::uint64_t> parsed =
      fail(Errc::invalid, "must be a size like 512MiB or 2GiB, not " + described(*value));
  if (value->is_string()) parsed = parse_size(value->get<std::string>());
  if (value->is_number_unsigned()) parsed = value->get<std::uint64_t>();
  if (!parsed) return problem(key, parsed.error().message);
  if (*parsed < low) return problem(key, "must be at least " + size_text(low));
  to = *parsed;
}

void Walk::texts(const std::string& key, std::vector<std::string>& to) {
  std::vector<std::string> all;
  each(key, kMaxListed, [&](const json& value, const std::string& at) {
    std::string text;
    if (!read_text(value, at, problems_, text, 1024)) return;
    if (text.empty()) problems_.push_back({at, "must not be empty"});
    all.push_back(std::move(text));
  });
  if (value_ != nullptr && value_->contains(key)) to = std::move(all);
}

void Walk::text_map(const std::string& key, std::map<std::string, std::string>& to) {
  const json* value = find(key);
  if (value == nullptr) return;
  if (!value->is_object())
    return problem(key, "must be a mapping (key: text), not " + described(*value));
  if (value->size() > kMaxListed)
    return problem(key, "has more than " + std::to_string(kMaxListed) + " entries");
  for (const auto& [name, entry] : value->items()) {
    std::string text;
    if (read_text(entry, pointer(key) + "/" + escape_key(name), problems_, text, kMaxText))
      to[name] = std::move(text);
  }
}

void Walk::choice(const std::string& key, const std::vector<std::string>& names,
                  const std::function<void(std::size_t)>& set) {
  const json* value = find(key);
  if (value == nullptr) return;
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  if (!value->is_string())
    return problem(key, "must be one of " + all + "; not " + described(*value));
  const auto text = value->get<std::string>();
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end()) return set(static_cast<std::size_t>(found - names.begin()));
  problem(key, "\"" + text + "\" is not one of " + all);
}

void Walk::command(const std::string& key, Command& to) {
  if (const json* value = find(key)) read_command(*value, pointer(key), problems_, to);
}

void Walk::each(const std::string& key, std::size_t limit,
                const std::function<void(const json&, const std::string&)>& item) {
  const json* value = find(key);
  if (value == nullptr) return;
  if (!value->is_array()) return problem(key, "must be a list, not " + described(*value));
  if (value->size() > limit)
    return problem(
        key, "has " + std::to_string(value->size()) + " entries; at most " + std::to_string(limit));
  for (std::size_t i = 0; i < value->size(); ++i)
    item((*value)[i], pointer(key) + "/" + std::to_string(i));
}

void Walk::finish() {
  if (value_ == nullptr) return;
  for (const auto& entry : value_->items()) {
    const std::string& key = entry.key();
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    const std::string meant = nearest(key, known_);
    std::string all;
    for (const std::string& name : known_) all += (all.empty() ? "" : ", ") + name;
    problems_.push_back(
        {pointer_ + "/" + escape_key(key),
         "unknown key \"" + key + "\"; " +
             (meant.empty() ? "known here: " + all : "did you mean \"" + meant + "\"?"),
         true});
  }
}

}  // namespace muster::actors::detail
