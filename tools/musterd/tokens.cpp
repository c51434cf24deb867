// tokens.json := {"version": 1, "tokens": [{"id", "name", "sha256", "role", "proxy", "orgs": [],
// "fleets": [],
//                 "created_at", "expires_at"?, "revoked_at"?}]}; times are RFC 3339. Mode 0600.
#include "tools/musterd/tokens.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/spec/units.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"

namespace muster::musterd {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMaxTokenFile = 4u << 20;
constexpr std::size_t kIdLength = 10;
constexpr std::size_t kSecretLength = 51;  // 255 bits of base32
constexpr std::size_t kSecretBytes = 32;
constexpr std::string_view kPrefix = "mst_";

ordered_json to_json(const Token& token) {
  ordered_json json = {{"id", token.id},
                       {"name", token.name},
                       {"sha256", token.sha256},
                       {"role", name_of(token.role)},
                       {"proxy", token.proxy},
                       {"orgs", token.scope.orgs},
                       {"fleets", token.scope.fleets},
                       {"created_at", to_rfc3339(token.created)}};
  if (token.expires) json["expires_at"] = to_rfc3339(*token.expires);
  if (token.revoked) json["revoked_at"] = to_rfc3339(*token.revoked);
  return json;
}

std::optional<Instant> time_at(const ordered_json& json, const char* key) {
  if (!json.contains(key)) return std::nullopt;
  const auto time = parse_rfc3339(json.at(key).get<std::string>());
  // A time that can't be read must not make a token live longer.
  return time ? *time : Instant{0};
}

Token from_json(const ordered_json& json) {
  Token token;
  token.id = json.at("id").get<std::string>();
  token.name = json.at("name").get<std::string>();
  token.sha256 = json.at("sha256").get<std::string>();
  token.role = role_of(json.at("role").get<std::string>()).value_or(Role::nobody);
  token.proxy = json.at("proxy").get<bool>();
  token.scope.orgs = json.at("orgs").get<std::vector<std::string>>();
  token.scope.fleets = json.at("fleets").get<std::vector<std::string>>();
  token.created = time_at(json, "created_at").value_or(Instant{0});
  token.expires = time_at(json, "expires_at");
  token.revoked = time_at(json, "revoked_at");
  return token;
}

bool is_token_name(const std::string& name) {
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '@';
  });
}

}  // namespace

bool Scope::covers_org(std::string_view org) const {
  return orgs.empty() || std::find(orgs.begin(), orgs.end(), org) != orgs.end();
}

bool Scope::covers_fleet(std::string_view fleet) const {
  return fleets.empty() || std::any_of(fleets.begin(), fleets.end(), [&](const std::string& glob) {
           return actors::glob_match(glob, std::string(fleet));
         });
}

std::string_view Token::state(Instant now) const {
  if (revoked) return "revoked";
  return expires && *expires <= now ? "expired" : "active";
}

std::optional<TokenStore::Version> TokenStore::version() const {
  struct stat status {};
  if (::stat(file_.c_str(), &status) != 0) return std::nullopt;
  return Version{status.st_ino,
                 std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec,
                 static_cast<std::uint64_t>(status.st_size)};
}

Result<std::shared_ptr<const TokenStore::Tokens>> TokenStore::read() const {
  const std::lock_guard lock(mutex_);
  const auto now = version();
  if (tokens_ && now == seen_) return tokens_;
  auto tokens = std::make_shared<Tokens>();
  if (now) {
    const auto text = read_file(file_, kMaxTokenFile);
    if (!text) return tl::unexpected<Error>(text.error());
    try {
      const auto document = ordered_json::parse(*text);
      for (const auto& each : document.at("tokens")) tokens->push_back(from_json(each));
    } catch (const ordered_json::exception& wrong) {
      return fail(Errc::corrupt, file_.string() + ": " + wrong.what());
    }
  }
  seen_ = now;
  tokens_ = tokens;
  return tokens_;
}

Result<void> TokenStore::write(const Tokens& tokens) {
  ordered_json list = ordered_json::array();
  for (const Token& token : tokens) list.push_back(to_json(token));
  const ordered_json document = {{"version", 1}, {"tokens", list}};
  return write_file_durably(file_, document.dump(1) + "\n", 0600);
}

Result<TokenStore::Made> TokenStore::create(Token token, Instant now) {
  if (!is_token_name(token.name))
    return fail(Errc::invalid, "a token's name is 1 to 63 of a-z, A-Z, 0-9, '-', '.', '_' and '@'");
  if (token.role == Role::nobody)
    return fail(Errc::invalid, "a token's role is viewer, operator or admin");
  const auto lock = lock_file(file_.string() + ".lock");
  if (!lock) return tl::unexpected<Error>(lock.error());
  const auto present = read();
  if (!present) return tl::unexpected<Error>(present.error());
  Tokens tokens = **present;
  for (const Token& other : tokens)
    if (other.name == token.name && other.state(now) == "active")
      return fail(Errc::conflict,
                  "there is an active token " + token.name + " already: " + other.id);
  if (tokens.size() >= kMaxTokens) {
    const auto ended = std::find_if(tokens.begin(), tokens.end(), [&](const Token& old) {
      return old.state(now) != "active";
    });
    if (ended == tokens.end())
      return fail(Errc::overloaded, "there are " + std::to_string(kMaxTokens) +
                                        " active tokens: revoke some first");
    tokens.erase(ended);
  }
  const std::string secret = crockford_base32(random_bytes(kSecretBytes), kSecretLength);
  token.id = crockford_base32(random_bytes(kSecretBytes), kIdLength);
  token.sha256 = sha256_hex(secret);
  token.created = now;
  tokens.push_back(token);
  if (auto written = write(tokens); !written) return tl::unexpected<Error>(written.error());
  return Made{token, std::string(kPrefix) + token.id + "_" + secret};
}

Result<Token> TokenStore::revoke(const std::string& id_or_name, Instant now) {
  const auto lock = lock_file(file_.string() + ".lock");
  if (!lock) return tl::unexpected<Error>(lock.error());
  const auto present = read();
  if (!present) return tl::unexpected<Error>(present.error());
  Tokens tokens = **present;
  const auto found = std::find_if(tokens.begin(), tokens.end(), [&](const Token& token) {
    return (token.id == id_or_name || token.name == id_or_name) && !token.revoked;
  });
  if (found == tokens.end()) return fail(Errc::not_found, "no token " + id_or_name + " to revoke");
  found->revoked = now;
  const Token revoked = *found;
  if (auto written = write(tokens); !written) return tl::unexpected<Error>(written.error());
  return revoked;
}

Result<std::vector<Token>> TokenStore::list() const {
  const auto tokens = read();
  if (!tokens) return tl::unexpected<Error>(tokens.error());
  return **tokens;
}

Result<Token> TokenStore::find(std::string_view text, Instant now) const {
  const auto tokens = read();
  if (!tokens) return tl::unexpected<Error>(tokens.error());
  const auto wrong = [] { return fail(Errc::refused, "the token is unknown, revoked or expired"); };
  if (!text.starts_with(kPrefix) || text.size() != kPrefix.size() + kIdLength + 1 + kSecretLength)
    return wrong();
  const std::string_view id = text.substr(kPrefix.size(), kIdLength);
  const std::string given = sha256_hex(text.substr(text.size() - kSecretLength));
  // Whether the id is known is no secret; whether the secret fits is compared in constant time.
  static const std::string kNone(64, '0');
  const auto found = std::find_if((*tokens)->begin(), (*tokens)->end(),
                                  [&](const Token& token) { return token.id == id; });
  const bool known = found != (*tokens)->end();
  const bool fits = constant_time_equal(given, known ? found->sha256 : kNone);
  if (!known || !fits || found->state(now) != "active") return wrong();
  return *found;
}

}  // namespace muster::musterd
