#include "tools/muster/yaml_source.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxNodes = 500'000;  // aliases can make a small file a huge document
constexpr std::size_t kMaxDepth = 64;

Place place_of(const YAML::Mark& mark) {
  if (mark.line < 0 || mark.column < 0) return {};
  return {static_cast<std::size_t>(mark.line) + 1, static_cast<std::size_t>(mark.column) + 1};
}

std::string escape_key(const std::string& key) {
  std::string out;
  for (const char c : key) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return out;
}

/// YAML 1.2's core schema: only what was written plain is anything but text.
json scalar(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;  // it was quoted
  if (text == "null" || text == "~" || text == "Null" || text == "NULL") return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  if (text.empty() || text.find_first_not_of("0123456789+-.eE") != std::string::npos) return text;
  const char* end = text.data() + text.size();
  std::int64_t whole = 0;
  if (const auto r = std::from_chars(text.data(), end, whole);
      r.ec == std::errc{} && r.ptr == end) {
    if (whole >= 0) return static_cast<std::uint64_t>(whole);
    return whole;
  }
  double real = 0;
  if (const auto r = std::from_chars(text.data(), end, real); r.ec == std::errc{} && r.ptr == end)
    return real;
  return text;
}

class Converter {
 public:
  explicit Converter(YamlSource& to) : to_(to) {}

  json convert(const YAML::Node& node, const std::string& pointer, std::size_t depth) {
    if (++nodes_ > kMaxNodes || depth > kMaxDepth) {
      too_large_ = true;
      return nullptr;
    }
    if (!to_.values.contains(pointer)) to_.values[pointer] = place_of(node.Mark());
    if (node.IsMap()) return mapping(node, pointer, depth);
    if (node.IsSequence()) return sequence(node, pointer, depth);
    return node.IsScalar() ? scalar(node) : json(nullptr);
  }
  [[nodiscard]] bool too_large() const { return too_large_; }

 private:
  json mapping(const YAML::Node& node, const std::string& pointer, std::size_t depth) {
    json out = json::object();
    for (const auto& entry : node) {
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
      const std::string at = pointer + "/" + escape_key(key);
      const Place place = place_of(entry.first.Mark());
      if (!entry.first.IsScalar()) {
        to_.keys[at] = place;
        to_.problems.push_back({at, "a key must be plain text", true});
      } else if (out.contains(key)) {
        const std::string twice = at + "~duplicate";
        to_.keys[twice] = place;
        to_.problems.push_back({twice, "\"" + key + "\" is there twice", true});
      } else {
        to_.keys[at] = place;
        out[key] = convert(entry.second, at, depth + 1);
      }
    }
    return out;
  }

  json sequence(const YAML::Node& node, const std::string& pointer, std::size_t depth) {
    json out = json::array();
    for (const auto& item : node)
      out.push_back(convert(item, pointer + "/" + std::to_string(out.size()), depth + 1));
    return out;
  }

  YamlSource& to_;
  std::size_t nodes_ = 0;
  bool too_large_ = false;
};

void fail_syntax(YamlSource& source, Place place, std::string message) {
  source.syntax = place;
  source.problems.push_back({"", std::move(message)});
  source.json.clear();
}

}  // namespace

YamlSource read_yaml(std::string file, std::string text) {
  YamlSource source;
  source.file = std::move(file);
  source.text = std::move(text);
  try {
    const auto documents = YAML::LoadAll(source.text);
    if (documents.size() > 1) {
      fail_syntax(source, place_of(documents[1].Mark()),
                  "a second document begins here; one file is one fleet");
      return source;
    }
    if (documents.empty() || documents[0].IsNull()) {
      fail_syntax(source, {1, 1}, "the file is empty");
      return source;
    }
    Converter converter(source);
    const json document = converter.convert(documents[0], "", 0);
    if (converter.too_large())
      fail_syntax(source, {1, 1}, "the file is too large or too deep");
    else
      source.json = document.dump();
  } catch (const YAML::Exception& e) {
    fail_syntax(source, place_of(e.mark), "this is not YAML: " + e.msg);
  } catch (const json::exception&) {
    fail_syntax(source, {1, 1}, "the file is not valid UTF-8");
  }
  return source;
}

Place YamlSource::place(const actors::Problem& problem) const {
  if (problem.pointer.empty() && syntax.line != 0) return syntax;
  if (problem.at_key)
    if (const auto key = keys.find(problem.pointer); key != keys.end()) return key->second;
  std::string pointer = problem.pointer;
  for (;;) {
    if (const auto value = values.find(pointer); value != values.end() && value->second.line != 0)
      return value->second;
    if (const auto key = keys.find(pointer); key != keys.end()) return key->second;
    if (pointer.empty()) return {};
    pointer.resize(pointer.rfind('/'));
  }
}

std::string render_problem(const Located& problem, std::string_view text) {
  std::string where = safe_line(problem.file);
  if (problem.place.line != 0) where += ":" + std::to_string(problem.place.line);
  if (problem.place.column != 0) where += ":" + std::to_string(problem.place.column);
  if (!where.empty()) where += ": ";
  std::string out = where +
                    "error: " + (problem.subject.empty() ? "" : safe_line(problem.subject) + ": ") +
                    safe_line(problem.message) + "\n";
  if (problem.place.column == 0 || text.empty()) return out;
  std::size_t begin = 0;
  for (std::size_t line = 1; line < problem.place.line && begin != std::string_view::npos; ++line) {
    begin = text.find('\n', begin);
    if (begin != std::string_view::npos) ++begin;
  }
  if (begin == std::string_view::npos || begin >= text.size()) return out;
  const std::string shown = cut(safe_line(text.substr(begin, text.find('\n', begin) - begin)), 120);
  const std::string number = padded(std::to_string(problem.place.line), 5, true);
  out += number + " | " + shown + "\n";
  if (problem.place.column <= 120)
    out += "      | " + std::string(problem.place.column - 1, ' ') + "^\n";
  return out;
}

}  // namespace muster::cli
