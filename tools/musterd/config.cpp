#include "tools/musterd/config.hpp"

#include <yaml-cpp/yaml.h>

#include <functional>
#include <map>

#include "storage/base/files.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kMaxConfig = 64u << 10;

template <class T>
std::function<void(const YAML::Node&)> into(T& setting) {
  return [&setting](const YAML::Node& node) { setting = node.as<T>(); };
}

using Settings = std::map<std::string, std::function<void(const YAML::Node&)>>;

Settings settings_of(Config& c) {
  return {{"socket", into(c.socket)},
          {"http", into(c.http)},
          {"link_address", into(c.link_address)},
          {"embedded_host", into(c.embedded_host)},
          {"host_name", into(c.host_name)},
          {"slots", into(c.slots)},
          {"sandboxd", into(c.sandboxd)},
          {"keep_host", into(c.keep_host)},
          {"allow_host_network", into(c.allow_host_network)},
          {"git_config", into(c.git_config)},
          {"log_level", into(c.log_level)},
          {"log_format", into(c.log_format)}};
}

std::string known_keys(const Settings& settings) {
  std::string keys;
  for (const auto& [key, set] : settings) keys += (keys.empty() ? "" : ", ") + key;
  return keys;
}

std::string place(const std::string& name, const YAML::Mark& mark) {
  return name + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1) + ": ";
}

std::string take(const Settings& settings, const std::string& name, const YAML::Node& key,
                 const YAML::Node& value) {
  const auto setting = key.IsScalar() ? settings.find(key.Scalar()) : settings.end();
  if (setting == settings.end())
    return place(name, key.Mark()) + "unknown key '" + (key.IsScalar() ? key.Scalar() : "?") +
           "'; known are " + known_keys(settings);
  try {
    setting->second(value);
    return "";
  } catch (const YAML::Exception&) {
    return place(name, value.Mark()) + setting->first + " can't take this value";
  }
}

}  // namespace

Result<void> apply_yaml(Config& config, std::string_view text, const std::string& name) {
  YAML::Node document;
  try {
    document = YAML::Load(std::string(text));
  } catch (const YAML::Exception& wrong) {
    return fail(Errc::invalid, place(name, wrong.mark) + wrong.msg);
  }
  if (document.IsNull()) return {};
  if (!document.IsMap())
    return fail(Errc::invalid, name + ":1:1: must be settings, one 'key: value' a line");
  const Settings settings = settings_of(config);
  std::string problems;
  for (const auto& pair : document) {
    const std::string problem = take(settings, name, pair.first, pair.second);
    if (!problem.empty()) problems += (problems.empty() ? "" : "\n") + problem;
  }
  if (!problems.empty()) return fail(Errc::invalid, problems);
  return {};
}

Result<void> apply_file(Config& config, const std::filesystem::path& path, bool required) {
  std::error_code error;
  if (!required && !std::filesystem::exists(path, error)) return {};
  const auto text = read_file(path, kMaxConfig);
  if (!text) return tl::unexpected<Error>(text.error());
  return apply_yaml(config, *text, path.string());
}

Result<void> check(const Config& config) {
  const auto one_of = [](const std::string& value, std::initializer_list<const char*> known) {
    for (const char* each : known)
      if (value == each) return true;
    return false;
  };
  if (!one_of(config.log_level, {"debug", "info", "warn", "error"}))
    return fail(Errc::invalid,
                "log level '" + config.log_level + "' is none of debug, info, warn, error");
  if (!one_of(config.log_format, {"text", "json"}))
    return fail(Errc::invalid, "log format '" + config.log_format + "' is none of text, json");
  const std::string& host = config.host_name;
  if (host.empty() || host.size() > 63 ||
      host.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") != std::string::npos)
    return fail(Errc::invalid, "host name '" + host + "' must be 1 to 63 of a-z, 0-9, '-' and '.'");
  if (config.slots > 1024) return fail(Errc::invalid, "a host has at most 1024 slots");
  return {};
}

}  // namespace muster::musterd
