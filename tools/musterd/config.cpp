#include "tools/musterd/config.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "storage/base/files.hpp"
#include "tools/musterd/identity.hpp"

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
inline const char* values_of(const std::vector<std::string>&) {
  return "a list of texts";
}
inline const char* values_of(const std::map<std::string, std::string>&) {
  return "pairs of texts";
}

template <class T>
void take_value(T& setting, const YAML::Node& node) {
  // yaml-cpp 0.7 would take a key without a value for the text "null".
  if (node.IsNull()) throw YAML::RepresentationException(node.Mark(), values_of(setting));
  try {
    setting = node.as<T>();
  } catch (const YAML::Exception&) {
    throw YAML::RepresentationException(node.Mark(), values_of(setting));
  }
}

/// One key of the file: how it is set, and how its value is shown.
struct Setting {
  std::function<void(const YAML::Node&)> set;
  std::function<std::string()> get;
};

std::string shown(const std::string& value) {
  return value;
}
std::string shown(bool value) {
  return value ? "true" : "false";
}
std::string shown(unsigned value) {
  return std::to_string(value);
}
std::string shown(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& each : list) text += (text.empty() ? "" : ", ") + each;
  return "[" + text + "]";
}
std::string shown(const std::map<std::string, std::string>& map) {
  std::string text;
  for (const auto& [key, value] : map) text += (text.empty() ? "" : ", ") + key + ": " + value;
  return "{" + text + "}";
}

template <class T>
Setting into(T& setting) {
  return {[&setting](const YAML::Node& node) { take_value(setting, node); },
          [&setting] { return shown(setting); }};
}

using Settings = std::map<std::string, Setting>;

Settings settings_of(Config& c) {
  return {{"socket", into(c.socket)},
          {"http", into(c.http)},
          {"https", into(c.https)},
          {"tls_certificate", into(c.tls_certificate)},
          {"tls_key", into(c.tls_key)},
          {"tls_names", into(c.tls_names)},
          {"proxy_user_header", into(c.proxy_user_header)},
          {"proxy_groups_header", into(c.proxy_groups_header)},
          {"proxy_roles", into(c.proxy_roles)},
          {"audit_heads", into(c.audit_heads)},
          {"audit_refusals_per_minute", into(c.audit_refusals_per_minute)},
          {"otlp_endpoint", into(c.otlp_endpoint)},
          {"link_address", into(c.link_address)},
          {"embedded_host", into(c.embedded_host)},
          {"host_name", into(c.host_name)},
          {"slots", into(c.slots)},
          {"sandboxd", into(c.sandboxd)},
          {"keep_host", into(c.keep_host)},
          {"allow_host_network", into(c.allow_host_network)},
          {"git_config", into(c.git_config)},
          {"keep_contents_days", into(c.keep_contents_days)},
          {"keep_fleets_days", into(c.keep_fleets_days)},
          {"keep_hosts_days", into(c.keep_hosts_days)},
          {"retention_dry_run", into(c.retention_dry_run)},
          {"stop_seconds", into(c.stop_seconds)},
          {"shards", into(c.shards)},
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

std::string take(Config& config, const Settings& settings, const std::string& name,
                 const YAML::Node& key, const YAML::Node& value) {
  const auto setting = key.IsScalar() ? settings.find(key.Scalar()) : settings.end();
  if (setting == settings.end())
    return place(name, key.Mark()) + "unknown key '" + (key.IsScalar() ? key.Scalar() : "?") +
           "'; known are " + known_keys(settings);
  try {
    setting->second.set(value);
    config.sources[setting->first] = name + ":" + std::to_string(key.Mark().line + 1);
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
    const std::string problem = take(config, settings, name, pair.first, pair.second);
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

/// What listens for the API takes numbers only: "0.0.0.0:7412", "[::1]:7412".
bool is_ip_address(const std::string& text) {
  if (!is_address(text)) return false;
  std::string host = text.substr(0, text.rfind(':'));
  in6_addr parsed{};
  if (!host.starts_with('[')) return ::inet_pton(AF_INET, host.c_str(), &parsed) == 1;
  host = host.substr(1, host.size() - 2);
  return ::inet_pton(AF_INET6, host.c_str(), &parsed) == 1;
}

}  // namespace

std::string link_address_now(const Config& config) {
  const auto text = read_file(config.paths.runtime() / "musterd.json", kMaxConfig);
  const auto where = nlohmann::json::parse(text ? *text : "", nullptr, false);
  const auto told = where.is_object() ? where.find("link_address") : where.end();
  return told != where.end() && told->is_string() ? told->get<std::string>() : config.link_address;
}

std::vector<ShownSetting> show(const Config& config) {
  Config copy = config;
  std::vector<ShownSetting> all;
  for (const auto& [key, setting] : settings_of(copy)) {
    const auto source = config.sources.find(key);
    all.push_back({key, setting.get(), source == config.sources.end() ? "default" : source->second,
                   is_reloadable(key)});
  }
  return all;
}

bool is_reloadable(std::string_view key) {
  constexpr std::string_view kReloadable[] = {
      "log_level",         "tls_certificate",     "tls_key",
      "proxy_user_header", "proxy_groups_header", "proxy_roles"};
  return std::find(std::begin(kReloadable), std::end(kReloadable), key) != std::end(kReloadable);
}

Result<void> check(const Config& config) {
  std::string problems;
  const auto wrong = [&](const char* key, const std::string& what) {
    const auto source = config.sources.find(key);
    problems += (problems.empty() ? "" : "\n") +
                (source == config.sources.end() ? "" : source->second + ": ") + what;
  };
  const auto one_of = [](const std::string& value, std::initializer_list<const char*> known) {
    for (const char* each : known)
      if (value == each) return true;
    return false;
  };
  if (!one_of(config.log_level, {"debug", "info", "warn", "error"}))
    wrong("log_level", "log level '" + config.log_level + "' is none of debug, info, warn, error");
  if (!one_of(config.log_format, {"text", "json"}))
    wrong("log_format", "log format '" + config.log_format + "' is none of text, json");
  const std::string& host = config.host_name;
  if (host.empty() || host.size() > 63 ||
      host.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") != std::string::npos)
    wrong("host_name", "host name '" + host + "' must be 1 to 63 of a-z, 0-9, '-' and '.'");
  if (!is_address(config.link_address))
    wrong("link_address", "link address '" + config.link_address +
                              "' must be HOST:PORT with a port from 0 to 65535");
  for (const auto& [key, address] : {std::pair{"http", &config.http}, std::pair{"https", &config.https}})
    if (!address->empty() && !is_ip_address(*address))
      wrong(key, std::string(key) + " '" + *address +
                     "' must be an IP address and a port from 0 to 65535: 0.0.0.0:7412, [::]:7412");
  if (config.tls_certificate.empty() != config.tls_key.empty())
    wrong(config.tls_key.empty() ? "tls_certificate" : "tls_key",
          "tls_certificate and tls_key go together");
  for (const auto& [group, role] : config.proxy_roles)
    if (!role_of(role))
      wrong("proxy_roles", "proxy_roles: '" + role + "' of group '" + group +
                               "' is none of viewer, operator, admin");
  if (config.proxy_user_header.empty() && !config.proxy_roles.empty())
    wrong("proxy_roles", "proxy_roles without proxy_user_header");
  if (config.audit_refusals_per_minute < 1 || config.audit_refusals_per_minute > 100'000)
    wrong("audit_refusals_per_minute", "audit_refusals_per_minute must be 1 to 100000");
  constexpr unsigned kMostDays = 36'500;
  for (const auto& [key, days] : {std::pair{"keep_contents_days", config.keep_contents_days},
                                  std::pair{"keep_fleets_days", config.keep_fleets_days},
                                  std::pair{"keep_hosts_days", config.keep_hosts_days}})
    if (days > kMostDays) wrong(key, std::string(key) + " must be 0 (for ever) to 36500");
  if (config.keep_fleets_days > 0 && config.keep_contents_days > config.keep_fleets_days)
    wrong("keep_contents_days",
          "keep_contents_days must not be more than keep_fleets_days: what a run left goes with "
          "its fleet");
  if (config.stop_seconds < 1 || config.stop_seconds > 3'600)
    wrong("stop_seconds", "stop_seconds must be 1 to 3600");
  if (config.shards != 1)
    wrong("shards",
          "shards must be 1: events, backups and the dispatcher of musterd work with one shard");
  if (config.slots > 1024) wrong("slots", "a host has at most 1024 slots");
  if (!problems.empty()) return fail(Errc::invalid, problems);
  return {};
}

}  // namespace muster::musterd
