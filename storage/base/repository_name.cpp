#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <vector>

#include "storage/base/ids.hpp"

namespace muster {

namespace {

constexpr std::size_t kMaxUrl = 2048;

struct Transport {
  std::string_view scheme;
  std::string_view default_port;
};
constexpr std::array<Transport, 5> kTransports{
    {{"https", "443"}, {"http", "80"}, {"ssh", "22"}, {"git", "9418"}, {"file", ""}}};

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

void strip_suffix(std::string& text, std::string_view suffix) {
  if (text.size() > suffix.size() && text.ends_with(suffix))
    text.resize(text.size() - suffix.size());
}

/// OWNER/NAME from the last two parts of a path; a lone part is its own owner.
Result<std::string> owner_name(const std::string& path) {
  std::vector<std::string> parts;
  for (const auto& part : std::filesystem::path(path))
    if (!part.empty() && part != "/" && part != ".") parts.push_back(part.string());
  // A work tree may be named by its .git directory.
  if (parts.size() > 1 && parts.back() == ".git") parts.pop_back();
  if (parts.empty()) return fail(Errc::invalid, "this names no repository: " + path);
  std::string name = parts.back();
  strip_suffix(name, ".git");
  const std::string owner = parts.size() > 1 ? parts[parts.size() - 2] : name;
  for (const unsigned char c : owner + name)
    if (c < 0x21 || c == 0x7f || c == '#')
      return fail(Errc::invalid, "a repository's name has a character it can't have: " + path);
  return owner + "/" + name;
}

Result<RepositoryName> from_path(std::string_view text, std::string_view base) {
  auto path = std::filesystem::path(text);
  if (path.is_relative()) path = std::filesystem::path(base) / path;
  std::error_code error;
  auto canonical = std::filesystem::weakly_canonical(path, error);
  if (error) canonical = path.lexically_normal();
  std::string out = canonical.string();
  strip_suffix(out, "/");
  auto name = owner_name(out);
  if (!name) return tl::unexpected<Error>(name.error());
  return RepositoryName{out, out, *name};
}

Result<RepositoryName> from_url(std::string_view text, const Transport& transport) {
  std::string_view rest = text.substr(transport.scheme.size() + 3);
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos || slash + 1 >= rest.size())
    return fail(Errc::invalid, "this URL names no repository: " + std::string(text));
  std::string_view authority = rest.substr(0, slash);
  std::string path(rest.substr(slash));
  const std::size_t at = authority.rfind('@');
  const std::string_view user = at == std::string_view::npos ? "" : authority.substr(0, at);
  if (at != std::string_view::npos) authority.remove_prefix(at + 1);
  // ssh needs its user name; everything else that stands there is a credential.
  if (user.find(':') != std::string_view::npos || (!user.empty() && transport.scheme != "ssh"))
    return fail(Errc::invalid,
                "a URL must not hold credentials; use the engine's credential helper instead");
  std::string host = lower(authority);
  if (!transport.default_port.empty())
    strip_suffix(host, ":" + std::string(transport.default_port));
  if (host.empty() || host.front() == '-' || path.find("/-") == 0)
    return fail(Errc::invalid, "this URL names no host or path: " + std::string(text));
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  strip_suffix(path, ".git");
  auto name = owner_name(path);
  if (!name) return tl::unexpected<Error>(name.error());
  return RepositoryName{std::string(transport.scheme) + "://" + host + path, std::string(text),
                        *name};
}

/// "git@host:acme/api.git", ssh's short form: a colon before the first slash.
bool is_scp_form(std::string_view text) {
  const std::size_t colon = text.find(':');
  return colon != std::string_view::npos && colon > 0 && text.find('/') > colon &&
         text.find("://") == std::string_view::npos;
}

}  // namespace

Result<RepositoryName> parse_repository(std::string_view text, std::string_view base_directory) {
  if (text.empty() || text.size() > kMaxUrl || text.front() == '-')
    return fail(Errc::invalid, "not a repository: \"" + std::string(text.substr(0, 80)) + "\"");
  for (const unsigned char c : text)
    if (c < 0x20 || c == 0x7f) return fail(Errc::invalid, "a repository has a control character");
  if (const auto end = text.find("://"); end != std::string_view::npos) {
    const std::string scheme = lower(text.substr(0, end));
    for (const Transport& transport : kTransports) {
      if (scheme != transport.scheme) continue;
      if (scheme == "file") return from_path(text.substr(7), base_directory);
      return from_url(text, transport);
    }
    return fail(Errc::invalid, "git can't be asked for " + scheme +
                                   ":// here; use a path, https, http, ssh or git");
  }
  if (text.find("::") != std::string_view::npos)
    return fail(Errc::invalid, "remote helpers (…::…) are not allowed: " + std::string(text));
  if (!is_scp_form(text)) return from_path(text, base_directory);
  const std::size_t colon = text.find(':');
  std::string url = "ssh://" + std::string(text.substr(0, colon)) + "/" +
                    std::string(text.substr(text[colon + 1] == '/' ? colon + 2 : colon + 1));
  auto parsed = from_url(url, kTransports[2]);
  if (parsed) parsed->fetch_url = std::string(text);
  return parsed;
}

}  // namespace muster
