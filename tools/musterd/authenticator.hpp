// From a connection and a request's headers to who asks.
//
//   unix socket   musterd's own user and root are admins without a token; everybody else on it
//   needs one elsewhere     Authorization: Bearer mst_… a proxy       a token made with --proxy may
//   name its user in the configured header, with the groups that give
//                 the role; without that configuration the headers mean nothing
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "tools/musterd/http.hpp"
#include "tools/musterd/identity.hpp"
#include "tools/musterd/tokens.hpp"

namespace muster::musterd {

/// What a reverse proxy that has authenticated a user (OIDC) may say about it.
struct ProxyHeaders {
  std::string user;                   ///< "X-Forwarded-Email"; empty: proxies are not believed.
  std::string groups;                 ///< "X-Forwarded-Groups", separated by commas.
  std::map<std::string, Role> roles;  ///< By group; the highest counts.
};

class Authenticator {
 public:
  Authenticator(const TokenStore& tokens, ProxyHeaders proxy);

  /// From now on.
  void trust(ProxyHeaders proxy);

  /// Errc::refused says what is missing, never which part of a token was wrong.
  Result<Identity> identify(const Request& request, Instant now) const;

 private:
  static Result<Identity> by_proxy(const Request& request, const Token& token,
                                   const ProxyHeaders& proxy);

  const TokenStore& tokens_;
  mutable std::mutex mutex_;
  ProxyHeaders proxy_;  ///< Under mutex_.
  std::uint32_t owner_;
};

}  // namespace muster::musterd
