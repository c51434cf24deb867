#include "tools/musterd/authenticator.hpp"

#include <unistd.h>

#include <sstream>

namespace muster::musterd {
namespace {

constexpr std::size_t kMaxUser = 254;  // An e-mail address's longest.

bool is_printable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

/// "Bearer mst_…" -> "mst_…"; "" for anything else.
std::string bearer(const std::string& header) {
  constexpr std::string_view kScheme = "bearer ";
  if (header.size() <= kScheme.size()) return "";
  for (std::size_t i = 0; i < kScheme.size(); ++i)
    if (std::tolower(static_cast<unsigned char>(header[i])) != kScheme[i]) return "";
  return header.substr(kScheme.size());
}

std::string trimmed(std::string text) {
  text.erase(0, std::min(text.find_first_not_of(' '), text.size()));
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

}  // namespace

Authenticator::Authenticator(const TokenStore& tokens, ProxyHeaders proxy)
    : tokens_(tokens), proxy_(std::move(proxy)), owner_(::geteuid()) {}

Result<Identity> Authenticator::identify(const Request& request, Instant now) const {
  const std::string authorization = request.header("Authorization");
  const Peer& peer = request.peer;
  if (authorization.empty()) {
    const bool owns =
        peer.via == Peer::Via::unix_socket && peer.uid && (*peer.uid == owner_ || *peer.uid == 0);
    if (owns) return Identity{peer.address, "socket", Role::admin, {}, true};
    return fail(Errc::refused, "a token is needed here: Authorization: Bearer mst_...");
  }
  const std::string secret = bearer(authorization);
  if (secret.empty())
    return fail(Errc::refused, "the Authorization header must be: Bearer mst_...");
  auto token = tokens_.find(secret, now);
  if (!token) return tl::unexpected<Error>(token.error());
  if (token->proxy) {
    const std::lock_guard lock(mutex_);
    return by_proxy(request, *token, proxy_);
  }
  return Identity{token->name, "token " + token->id, token->role, token->scope, false};
}

void Authenticator::trust(ProxyHeaders proxy) {
  const std::lock_guard lock(mutex_);
  proxy_ = std::move(proxy);
}

/// The user has at most the proxy's own role and scope.
Result<Identity> Authenticator::by_proxy(const Request& request, const Token& token,
                                         const ProxyHeaders& proxy) {
  if (proxy.user.empty())
    return fail(Errc::refused,
                "a proxy's token is good for nothing before proxy_user_header is configured");
  const std::string user = request.header(proxy.user);
  if (user.empty() || user.size() > kMaxUser || !is_printable(user))
    return fail(Errc::refused, "the proxy names no user in " + proxy.user);
  Role role = Role::nobody;
  std::istringstream groups(request.header(proxy.groups));
  for (std::string group; std::getline(groups, group, ',');)
    if (const auto found = proxy.roles.find(trimmed(group)); found != proxy.roles.end())
      role = std::max(role, found->second);
  if (role == Role::nobody) return fail(Errc::refused, "no group of " + user + " has a role here");
  return Identity{user, "proxy " + token.id, std::min(role, token.role), token.scope, false};
}

}  // namespace muster::musterd
