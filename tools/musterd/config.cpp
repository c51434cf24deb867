#include "tools/musterd/config.hpp"

#include <yaml-cpp/yaml.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "storage/base/files.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kMaxConfig = 64u << 10;

constexpr const char* values_of(bool) {
  return "true or false";
}
constexpr const char* values_of(unsigned) {
  return "a whole number from 0";
}
inline const char* values_of(const std::string&) {
  return "one text";
}

template <class T>
void take_value(T& setting, const YAML::Node& node) {
  try {
    setting = node.as<T>();
  } catch (const YAML::Exception&) {
    throw YAML::RepresentationException(node.Mark(), values_of(setting));
  }
}

template <class T>
std::function<void(const YAML::Node&)> into(T& setting) {
  return [&setting](const YAML::Node& node) { take_value(setting, node); };
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
  } catch (const YAML::Exception& wrong) {
    return place(name, value.Mark()) + setting->first + " takes " + wrong.msg;
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

namespace {

/// "HOST:PORT", "[::1]:PORT", ":PORT". What listens would guess a missing port, and take a large
/// one modulo 65536.
bool is_address(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return false;
  const std::string host = text.substr(0, colon), port = text.substr(colon + 1);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (host.find(':') != std::string::npos && !bracketed) return false;
  return !port.empty() && port.size() <= 5 &&
         port.find_first_not_of("0123456789") == std::string::npos && std::stoi(port) <= 65535;
}

}  // namespace

std::string link_address_now(const Config& config) {
  const auto text = read_file(config.paths.runtime() / "musterd.json", kMaxConfig);
  const auto where = nlohmann::json::parse(text ? *text : "", nullptr, false);
  const auto told = where.is_object() ? where.find("link_address") : where.end();
  return told != where.end() && told->is_string() ? told->get<std::string>() : config.link_address;
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
  if (!is_address(config.link_address))
    return fail(Errc::invalid, "link address '" + config.link_address +
                                   "' must be HOST:PORT with a port from 0 to 65535");
  if (config.slots > 1024) return fail(Errc::invalid, "a host has at most 1024 slots");
  return {};
}

}  // namespace muster::musterd
