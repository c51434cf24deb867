// Where musterd is: options, then the environment, then the configuration file, then the usual
// socket.
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "storage/base/files.hpp"
#include "storage/base/paths.hpp"
#include "tools/muster/client.hpp"
#include "tools/muster/yaml_source.hpp"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxConfig = 64u << 10;
constexpr std::size_t kMaxSocketPath = 107;  // sockaddr_un::sun_path

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Failure invalid(std::string message, std::string hint = "") {
  return {Errc::invalid, std::move(message), std::move(hint)};
}

struct Config {
  std::string url, token, ca;
};

Answer<Config> read_config(const fs::path& path) {
  Config config;
  std::error_code error;
  if (!fs::exists(path, error)) return config;
  const auto text = read_file(path, kMaxConfig);
  if (!text) return tl::unexpected(invalid(text.error().message));
  const YamlSource source = read_yaml(path.string(), *text);
  std::vector<actors::Problem> problems = source.problems;
  const auto document = nlohmann::json::parse(source.json, nullptr, false);
  if (document.is_object()) {
    for (const auto& [key, value] : document.items()) {
      if (key != "url" && key != "token" && key != "ca")
        problems.push_back(
            {"/" + key, "unknown key \"" + key + "\"; known here: url, token, ca", true});
      else if (!value.is_string())
        problems.push_back({"/" + key, "must be text"});
      else
        (key == "url"  ? config.url
         : key == "ca" ? config.ca
                       : config.token) = value.get<std::string>();
    }
  }
  if (problems.empty()) return config;
  // Its lines may hold a token: they are not shown.
  std::string message;
  for (const auto& p : problems)
    message += (message.empty() ? "" : "; ") + path.string() + ":" +
               std::to_string(source.place(p).line) + ": " + p.message;
  return tl::unexpected(invalid(message));
}

Answer<Endpoint> at_socket(const std::string& path, const std::string& token) {
  if (path.size() > kMaxSocketPath)
    return tl::unexpected(
        invalid("the socket's path is longer than a socket's path may be: " + path,
                "use a shorter --root"));
  return Endpoint{path, "", token, "", path};
}

/// HOST or HOST:PORT after the scheme. Nothing that curl would guess about or send elsewhere: no
/// user, no path, no blank, no port that is none.
bool is_web_address(std::string_view url) {
  const std::string_view authority = url.substr(url.find("://") + 3);
  if (authority.find_first_of("/@?#\\ \t\r\n\"<>") != std::string_view::npos) return false;
  const std::size_t bracket = authority.find(']');
  const std::size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  const std::string_view host = authority.substr(0, colon);
  if (host.empty() || (host.front() == '[') != (bracket != std::string_view::npos)) return false;
  if (bracket != std::string_view::npos && bracket + 1 != host.size()) return false;
  if (colon == std::string_view::npos) return true;
  const std::string_view port = authority.substr(colon + 1);
  if (port.empty() || port.size() > 5 ||
      port.find_first_not_of("0123456789") != std::string_view::npos)
    return false;
  const int number = std::atoi(std::string(port).c_str());
  return number > 0 && number <= 65535;
}

Answer<Endpoint> at_url(std::string url, const std::string& token, const std::string& ca) {
  if (url.starts_with("unix:")) {
    std::string path = url.substr(5);
    while (path.starts_with("//")) path.erase(0, 1);
    return at_socket(path, token);
  }
  while (url.ends_with("/")) url.pop_back();
  const bool web = url.starts_with("http://") || url.starts_with("https://");
  if (!web || !is_web_address(url))
    return tl::unexpected(invalid("not an address of musterd: " + url,
                                  "use https://HOST:7412, http://HOST:PORT or unix:/PATH"));
  return Endpoint{"", url, token, ca, url};
}

}  // namespace

Answer<Endpoint> find_endpoint(const std::string& root, const std::string& url,
                               const std::string& ca_option) {
  if (!root.empty())
    return at_socket(Paths{fs::absolute(root)}.socket().string(), variable("MUSTER_TOKEN"));
  std::string token = variable("MUSTER_TOKEN");
  std::string ca = ca_option.empty() ? variable("MUSTER_CA") : ca_option;
  const std::string named = url.empty() ? variable("MUSTER_URL") : url;
  std::string home = variable("XDG_CONFIG_HOME");
  if (home.empty() && !variable("HOME").empty()) home = variable("HOME") + "/.config";
  const auto config = home.empty() ? Config{} : read_config(fs::path(home) / "muster/config.yaml");
  // A file for another address says nothing about this one, but its CA may be the same.
  if (!config && named.empty()) return tl::unexpected(config.error());
  if (config && ca.empty()) ca = config->ca;
  if (!named.empty()) return at_url(named, token, ca);
  if (token.empty()) token = config->token;
  if (!config->url.empty()) return at_url(config->url, token, ca);
  return at_socket(Paths{}.socket().string(), token);
}

}  // namespace muster::cli
