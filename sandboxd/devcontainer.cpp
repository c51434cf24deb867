#include "sandboxd/devcontainer.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "sandboxd/spec.hpp"

namespace muster::sandbox {

namespace {

using Json = nlohmann::ordered_json;  // commands of an object run in its order

constexpr int kMaxNesting = 32;
constexpr int kMaxValues = 4000;  // of all objects and arrays: an ordered object is searched from its front
constexpr std::size_t kMaxCommands = 40, kMaxVariables = 200, kMaxMounts = 20, kMaxNamed = 40;
constexpr std::size_t kMaxKey = 60;
constexpr std::size_t kMaxArgument = 128u << 10;  // what Linux takes in one argument
constexpr const char* kWorkspace = "/work";

constexpr const char* kCommands[] = {"onCreateCommand", "updateContentCommand", "postCreateCommand"};

// ---- JSON with comments, as JSON ----

/// Blanks out comments and trailing commas in place, so that positions stay true, and bounds the depth.
class Plain {
 public:
  explicit Plain(std::string_view text) : text_(text) {}

  Result<std::string> take() {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.replace(0, 3, "   ");
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        comma_ = std::string::npos;
        skip_string();
      } else if (c == '/' && at_ + 1 < text_.size() && (text_[at_ + 1] == '/' || text_[at_ + 1] == '*')) {
        blank_comment();
      } else {
        punctuation(c);
      }
      if (depth_ > kMaxNesting) return fail(Errc::invalid, "is nested deeper than " + std::to_string(kMaxNesting));
      if (values_ > kMaxValues) return fail(Errc::invalid, "has more than " + std::to_string(kMaxValues) + " values");
    }
    return std::move(text_);
  }

 private:
  void skip_string() {
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_)
      if (text_[at_] == '\\') ++at_;
    ++at_;
  }

  void blank_comment() {
    const bool line = text_[at_ + 1] == '/';
    std::size_t end = text_.find(line ? "\n" : "*/", at_ + 2);
    end = end == std::string::npos ? text_.size() : end + (line ? 0 : 2);
    for (; at_ < end; ++at_)
      if (text_[at_] != '\n') text_[at_] = ' ';
  }

  void punctuation(char c) {
    if (c == ',') ++values_;
    if (c == '{' || c == '[') ++depth_;
    if (c == '}' || c == ']') {
      --depth_;
      if (comma_ != std::string::npos) text_[comma_] = ' ';
    }
    if (c != ' ' && c != '\t' && c != '\r' && c != '\n') comma_ = c == ',' ? at_ : std::string::npos;
    ++at_;
  }

  std::string text_;
  std::size_t at_ = 0, comma_ = std::string::npos;  // the last thing that was not blank, if a comma
  int depth_ = 0, values_ = 0;
};

std::string line_of(std::string_view text, std::size_t byte) {
  const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(byte, text.size()));
  return std::to_string(1 + std::count(text.begin(), end, '\n'));
}

Result<Json> parse(std::string_view text) {
  if (text.size() > kMaxDevcontainerBytes)
    return fail(Errc::invalid, "is larger than " + std::to_string(kMaxDevcontainerBytes) + " bytes");
  auto plain = Plain(text).take();
  if (!plain) return tl::unexpected(plain.error());
  try {
    Json document = Json::parse(*plain);
    if (!document.is_object()) return fail(Errc::invalid, "is not an object");
    return document;
  } catch (const Json::parse_error& error) {
    return fail(Errc::invalid, "is not JSON, at line " + line_of(*plain, error.byte));
  } catch (const Json::exception&) {
    return fail(Errc::invalid, "has a number that is too large");
  }
}

// ---- what it says ----

/// Of hostile text, what may stand in a step's name or a warning.
std::string tame(std::string_view text) {
  std::string name(text.substr(0, kMaxKey));
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && std::string_view("._-").find(c) == std::string_view::npos)
      c = '_';
  return name;
}

/// Takes one document apart; the first thing that is wrong ends it.
class Reader {
 public:
  explicit Reader(const Json& document) : document_(document) {}

  Result<Devcontainer> read() {
    if (const Json* image = find("image")) to_.image = text(*image, "image");
    for (const char* name : kCommands)
      if (const Json* command = find(name)) read_command(*command, name);
    read_variables("containerEnv", to_.container_env);
    read_variables("remoteEnv", to_.remote_env);
    read_mounts();
    for (const char* name : {"remoteUser", "containerUser"})
      if (const Json* user = find(name))
        warn(std::string(name) + " " + tame(text(*user, name)) +
             ": every command runs as uid 1000, without privileges");
    name_the_rest();
    if (!trouble_.empty()) return fail(Errc::invalid, trouble_);
    return std::move(to_);
  }

 private:
  const Json* find(const char* key) {
    known_.insert(key);
    const auto found = document_.find(key);
    return found == document_.end() || found->is_null() ? nullptr : &*found;
  }
  void wrong(const std::string& what) {
    if (trouble_.empty()) trouble_ = what;
  }
  void warn(std::string text) { to_.warnings.push_back(std::move(text)); }

  std::string text(const Json& value, const std::string& key) {
    if (!value.is_string()) {
      wrong(key + " is not a string");
      return {};
    }
    auto taken = value.get<std::string>();
    if (taken.find('\0') != std::string::npos) wrong(key + " has a NUL");
    return taken;
  }

  void read_command(const Json& value, const std::string& name) {
    if (value.is_object()) {
      for (const auto& [key, command] : value.items()) {
        if (command.is_object()) return wrong(name + "." + tame(key) + " is not a string or an array");
        read_command(command, name + ":" + tame(key));
      }
      return;
    }
    DevcontainerCommand command{name, {}};
    if (value.is_string()) {
      const std::string script = text(value, name);
      if (!script.empty()) command.argv = {"/bin/sh", "-c", script};
    } else if (value.is_array()) {
      for (const auto& word : value) command.argv.push_back(text(word, name));
      if (!command.argv.empty() && command.argv[0].empty()) wrong(name + " names no program");
    } else {
      return wrong(name + " is not a string, an array or an object");
    }
    if (command.argv.empty()) return;
    if (to_.commands.size() == kMaxCommands)
      return wrong("there are more than " + std::to_string(kMaxCommands) + " commands");
    for (int n = 2; !names_.insert(command.name).second; ++n) command.name = name + "." + std::to_string(n);
    to_.commands.push_back(std::move(command));
  }

  void read_variables(const char* key, std::vector<std::pair<std::string, std::string>>& to) {
    const Json* map = find(key);
    if (map == nullptr) return;
    if (!map->is_object()) return wrong(std::string(key) + " is not an object");
    if (map->size() > kMaxVariables)
      return wrong(std::string(key) + " has more than " + std::to_string(kMaxVariables) + " variables");
    for (const auto& [name, value] : map->items()) {
      if (!is_variable(name)) return wrong(std::string(key) + ": " + tame(name) + " is not a variable");
      if (value.is_null()) {
        warn(std::string(key) + "." + tame(name) + ": null is not supported, and left out");
      } else {
        to.emplace_back(name, text(value, std::string(key) + "." + tame(name)));
      }
    }
  }

  void read_mounts() {
    const Json* list = find("mounts");
    if (list == nullptr) return;
    if (!list->is_array()) return wrong("mounts is not an array");
    if (list->size() > kMaxMounts) return wrong("there are more than " + std::to_string(kMaxMounts) + " mounts");
    for (const auto& entry : *list) {
      DevcontainerMount mount;
      if (entry.is_string()) {
        mount = parse_mount(text(entry, "mounts"));
      } else if (entry.is_object()) {
        for (auto [key, to] : {std::pair{"type", &mount.type}, {"source", &mount.source}, {"target", &mount.target}})
          if (const auto found = entry.find(key); found != entry.end()) *to = text(*found, "mounts");
      } else {
        return wrong("mounts: an entry is a string or an object");
      }
      if (mount.target.empty()) return wrong("mounts: an entry has no target");
      to_.mounts.push_back(std::move(mount));
    }
  }

  /// type=bind,source=/from,target=/to
  static DevcontainerMount parse_mount(std::string_view words) {
    DevcontainerMount mount;
    while (!words.empty()) {
      const std::string_view word = words.substr(0, words.find(','));
      words.remove_prefix(std::min(word.size() + 1, words.size()));
      const std::size_t equal = std::min(word.find('='), word.size());
      const std::string_view key = word.substr(0, equal), value = word.substr(std::min(equal + 1, word.size()));
      if (key == "type") mount.type = value;
      if (key == "source" || key == "src") mount.source = value;
      if (key == "target" || key == "dst" || key == "destination") mount.target = value;
    }
    return mount;
  }

  /// What has a meaning here or is meant for editors only is not named.
  void name_the_rest() {
    known_.insert({"name", "$schema", "customizations"});
    std::string names;
    std::size_t count = 0;
    for (const auto& [key, value] : document_.items()) {
      if (known_.contains(key)) continue;
      if (++count <= kMaxNamed) names += (names.empty() ? "" : ", ") + tame(key);
    }
    if (count > kMaxNamed) names += " and " + std::to_string(count - kMaxNamed) + " more";
    if (count > 0) warn("not supported, and left out: " + names);
  }

  const Json& document_;
  Devcontainer to_;
  std::set<std::string> known_, names_;
  std::string trouble_;
};

}  // namespace

Result<Devcontainer> parse_devcontainer(std::string_view text) {
  const auto document = parse(text);
  if (!document) return tl::unexpected(document.error());
  return Reader(*document).read();
}

Result<std::string> substitute(std::string_view text, const std::map<std::string, std::string>& env,
                               std::vector<std::string>& local) {
  std::string out;
  while (true) {
    if (out.size() + text.size() > kMaxArgument)  // variables of variables double
      return fail(Errc::invalid, "a variable or command is longer than " + std::to_string(kMaxArgument) + " bytes");
    const std::size_t begin = text.find("${");
    const std::size_t end = begin == std::string_view::npos ? begin : text.find('}', begin);
    if (end == std::string_view::npos) return out.append(text);
    out.append(text.substr(0, begin));
    const std::string_view inner = text.substr(begin + 2, end - begin - 2);
    const std::string_view kind = inner.substr(0, inner.find(':'));
    std::string_view rest = inner.substr(std::min(kind.size() + 1, inner.size()));
    const std::string name(rest.substr(0, rest.find(':')));
    const std::string fallback(rest.substr(std::min(name.size() + 1, rest.size())));
    if (kind == "containerWorkspaceFolder" || kind == "localWorkspaceFolder") {
      out += kWorkspace;
    } else if (kind == "containerWorkspaceFolderBasename" || kind == "localWorkspaceFolderBasename") {
      out += kWorkspace + 1;
    } else if (kind == "containerEnv") {
      const auto found = env.find(name);
      out += found == env.end() ? fallback : found->second;
    } else if (kind == "localEnv") {
      local.push_back(tame(name));
      out += fallback;
    } else {
      out.append(text.substr(begin, end + 1 - begin));  // the shell's own
    }
    text.remove_prefix(end + 1);
  }
}

}  // namespace muster::sandbox
