#include "actors/swarm/markdown_template.hpp"

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

namespace muster::actors::swarm {
namespace {

using nlohmann::json;

struct Part {
  enum class Kind { text, value, raw, section, inverted, end };
  Kind kind = Kind::text;
  std::string text;     ///< The text itself, or the name.
  std::size_t end = 0;  ///< Of a section: the part that closes it.
};

std::string trimmed(std::string_view text) {
  const auto from = text.find_first_not_of(" \t");
  if (from == std::string_view::npos) return {};
  return std::string(text.substr(from, text.find_last_not_of(" \t") - from + 1));
}

/// The inside of a tag.
Part tag_of(std::string_view inside, bool raw) {
  Part part;
  part.kind = raw ? Part::Kind::raw : Part::Kind::value;
  if (!raw && !inside.empty()) {
    const char sign = inside.front();
    if (sign == '#') part.kind = Part::Kind::section;
    if (sign == '^') part.kind = Part::Kind::inverted;
    if (sign == '/') part.kind = Part::Kind::end;
    if (part.kind != Part::Kind::value) inside.remove_prefix(1);
  }
  part.text = trimmed(inside);
  return part;
}

Result<std::vector<Part>> parse(std::string_view text) {
  std::vector<Part> parts;
  std::vector<std::size_t> open;
  while (!text.empty()) {
    const std::size_t at = text.find("{{");
    if (at != 0) parts.push_back({Part::Kind::text, std::string(text.substr(0, at)), 0});
    if (at == std::string_view::npos) break;
    text.remove_prefix(at);
    const bool raw = text.starts_with("{{{");
    const std::size_t head = raw ? 3 : 2, end = text.find(raw ? "}}}" : "}}", head);
    if (end == std::string_view::npos) return fail(Errc::invalid, "has a {{ that nothing closes");
    Part part = tag_of(text.substr(head, end - head), raw);
    text.remove_prefix(end + head);
    if (part.text.empty()) return fail(Errc::invalid, "has a {{ }} without a name");
    if (part.kind == Part::Kind::end) {
      if (open.empty() || parts[open.back()].text != part.text)
        return fail(Errc::invalid, "has a {{/" + part.text + "}} where another section is open");
      parts[open.back()].end = parts.size();
      open.pop_back();
    }
    if (part.kind == Part::Kind::section || part.kind == Part::Kind::inverted)
      open.push_back(parts.size());
    if (open.size() > kMaxTemplateDepth) return fail(Errc::invalid, "has sections nested too deep");
    parts.push_back(std::move(part));
  }
  if (!open.empty())
    return fail(Errc::invalid, "does not close {{#" + parts[open.back()].text + "}}");
  return parts;
}

bool is_nothing(const json* value) {
  return value == nullptr || value->is_null() || *value == false ||
         (value->is_structured() && value->empty());
}

/// In Markdown: one line, and no markup of its own.
std::string plain(const json& value) {
  const std::string text = value.is_string()
                               ? value.get<std::string>()
                               : value.dump(-1, ' ', false, json::error_handler_t::replace);
  std::string out;
  for (const char c : text) {
    if (std::string_view("|*_`<>[]#\\").find(c) != std::string_view::npos) out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out;
}

class Filler {
 public:
  explicit Filler(const std::vector<Part>& parts) : parts_(parts) {}

  Result<std::string> fill(const json& data) {
    scopes_.push_back(&data);
    if (!range(0, parts_.size()))
      return fail(Errc::refused, "the template makes too much of these values");
    return std::move(out_);
  }

 private:
  /// False at a bound.
  bool range(std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) {
      const Part& part = parts_[i];
      if (++steps_ > kMaxTemplateSteps || out_.size() > kMaxTemplateBytes) return false;
      if (part.kind == Part::Kind::text) out_ += part.text;
      if (part.kind == Part::Kind::value || part.kind == Part::Kind::raw) value(part);
      if (part.kind == Part::Kind::section || part.kind == Part::Kind::inverted) {
        if (!section(part, i + 1)) return false;
        i = part.end;
      }
    }
    return out_.size() <= kMaxTemplateBytes;
  }

  void value(const Part& part) {
    const json* found = find(part.text);
    if (found == nullptr || found->is_null()) return;
    out_ += part.kind == Part::Kind::raw && found->is_string() ? found->get<std::string>()
                                                               : plain(*found);
  }

  bool section(const Part& part, std::size_t first) {
    const json* found = find(part.text);
    if (part.kind == Part::Kind::inverted) return !is_nothing(found) || range(first, part.end);
    if (is_nothing(found)) return true;
    if (!found->is_array()) return inside(*found, first, part.end);
    for (const json& one : *found)
      if (++steps_ > kMaxTemplateSteps || !inside(one, first, part.end)) return false;
    return true;
  }

  bool inside(const json& scope, std::size_t first, std::size_t end) {
    scopes_.push_back(&scope);
    const bool done = range(first, end);
    scopes_.pop_back();
    return done;
  }

  [[nodiscard]] const json* find(const std::string& name) const {
    if (name == ".") return scopes_.back();
    const std::size_t dot = name.find('.');
    const std::string head = name.substr(0, dot);
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if ((*scope)->is_object() && (*scope)->contains(head))
        return deeper(&(**scope)[head], dot == std::string::npos ? "" : name.substr(dot + 1));
    return nullptr;
  }

  static const json* deeper(const json* at, std::string rest) {
    while (at != nullptr && !rest.empty()) {
      const std::size_t dot = rest.find('.');
      const std::string head = rest.substr(0, dot);
      at = at->is_object() && at->contains(head) ? &(*at)[head] : nullptr;
      rest = dot == std::string::npos ? "" : rest.substr(dot + 1);
    }
    return at;
  }

  const std::vector<Part>& parts_;
  std::vector<const json*> scopes_;
  std::string out_;
  std::size_t steps_ = 0;
};

}  // namespace

std::string trouble_in_template(const std::string& text) {
  const auto parts = parse(text);
  return parts ? std::string() : parts.error().message;
}

Result<std::string> fill_template(const std::string& text, const json& data) {
  const auto parts = parse(text);
  if (!parts) return tl::unexpected<Error>(parts.error());
  return Filler(*parts).fill(data);
}

}  // namespace muster::actors::swarm
