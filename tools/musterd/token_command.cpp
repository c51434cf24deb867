#include "tools/musterd/token_command.hpp"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "storage/base/files.hpp"
#include "tools/musterd/audit_log.hpp"
#include "tools/musterd/tokens.hpp"

namespace muster::musterd {
namespace {

nlohmann::ordered_json token_json(const Token& token, Instant now) {
  nlohmann::ordered_json json = {{"id", token.id},
                                 {"name", token.name},
                                 {"state", token.state(now)},
                                 {"role", name_of(token.role)},
                                 {"proxy", token.proxy},
                                 {"orgs", token.scope.orgs},
                                 {"fleets", token.scope.fleets},
                                 {"created_at", to_rfc3339(token.created)},
                                 {"expires_at", nullptr},
                                 {"revoked_at", nullptr}};
  if (token.expires) json["expires_at"] = to_rfc3339(*token.expires);
  if (token.revoked) json["revoked_at"] = to_rfc3339(*token.revoked);
  return json;
}

/// Before the file changes: a token that nobody wrote down must not work.
Result<void> write_down(const Paths& paths, const std::string& action, const std::string& target,
                        const std::string& detail) {
  auto chain = storage::AuditChain::open(paths.audit());
  if (!chain) return tl::unexpected<Error>(chain.error());
  const AuditNote note{
      "uid " + std::to_string(::geteuid()), "command", "", action, target, "asked", detail, ""};
  const auto head = (*chain)->append({audit_payload(note, wall_clock_now())});
  return head ? Result<void>{} : tl::unexpected<Error>(head.error());
}

std::string listed(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& each : list) text += (text.empty() ? "" : ",") + each;
  return text.empty() ? "all" : text;
}

}  // namespace

TokenCommand::TokenCommand(CLI::App& app)
    : token_(app.add_subcommand("token", "bearer tokens of the API")),
      create_(token_->add_subcommand("create", "make one, and show it once")),
      list_(token_->add_subcommand("list", "show all, without their secrets")),
      revoke_(token_->add_subcommand("revoke", "end one at once")) {
  token_->require_subcommand(1);
  create_->add_option("NAME", name_, "whose it is: stands in the audit log")->required();
  create_->add_option("--role", role_, "viewer | operator | admin")
      ->check(CLI::IsMember({"viewer", "operator", "admin"}));
  create_->add_option("--expires", expires_, "after 90d (the default), 12h, ...; never");
  create_->add_option("--fleet", fleets_, "only fleets whose names this glob fits (repeatable)");
  create_->add_option("--org", orgs_, "only this organisation (repeatable)");
  create_->add_flag("--proxy", proxy_,
                    "for a reverse proxy, which names its user in proxy_user_header");
  for (CLI::App* each : {create_, list_}) each->add_flag("--json", json_, "one document");
  revoke_->add_option("TOKEN", name_, "its id or its name")->required();
}

Result<void> TokenCommand::run(const Paths& paths) {
  if (create_->parsed()) return create(paths);
  return list_->parsed() ? list(paths) : revoke(paths);
}

Result<void> TokenCommand::create(const Paths& paths) {
  if (auto made = make_directory(paths.data(), 0711); !made) return made;
  const Instant now = wall_clock_now();
  Token token;
  token.name = name_;
  token.role = role_of(role_).value_or(Role::viewer);
  token.proxy = proxy_;
  token.scope = {orgs_, fleets_};
  if (expires_ != "never") {
    const auto lifetime = parse_duration(expires_);
    if (!lifetime) return fail(lifetime.error(), "--expires");
    token.expires = now + *lifetime;
  }
  const std::string what = role_ + (proxy_ ? ", proxy" : "") + ", fleets " + listed(fleets_) +
                           ", expires " + (token.expires ? to_rfc3339(*token.expires) : "never");
  if (auto noted = write_down(paths, "token.create", name_, what); !noted) return noted;
  const auto made = TokenStore(paths.tokens()).create(std::move(token), now);
  if (!made) return tl::unexpected<Error>(made.error());
  if (json_) {
    auto json = token_json(made->token, now);
    json["token"] = made->secret;
    std::printf("%s\n", json.dump(2).c_str());
  } else {
    std::printf("%s\n", made->secret.c_str());
    std::fprintf(stderr, "Token %s of %s, %s. It is shown this once; give it to MUSTER_TOKEN.\n",
                 made->token.id.c_str(), made->token.name.c_str(),
                 std::string(name_of(made->token.role)).c_str());
  }
  return {};
}

Result<void> TokenCommand::list(const Paths& paths) const {
  const auto tokens = TokenStore(paths.tokens()).list();
  if (!tokens) return tl::unexpected<Error>(tokens.error());
  const Instant now = wall_clock_now();
  if (json_) {
    auto all = nlohmann::ordered_json::array();
    for (const Token& token : *tokens) all.push_back(token_json(token, now));
    std::printf("%s\n", nlohmann::ordered_json{{"tokens", all}}.dump(2).c_str());
    return {};
  }
  std::printf("%-10s  %-20s  %-8s  %-8s  %-24s  %s\n", "ID", "NAME", "ROLE", "STATE", "EXPIRES",
              "FLEETS");
  for (const Token& token : *tokens)
    std::printf("%-10s  %-20s  %-8s  %-8s  %-24s  %s\n", token.id.c_str(), token.name.c_str(),
                token.proxy ? "proxy" : std::string(name_of(token.role)).c_str(),
                std::string(token.state(now)).c_str(),
                token.expires ? to_rfc3339(*token.expires).c_str() : "never",
                listed(token.scope.fleets).c_str());
  return {};
}

Result<void> TokenCommand::revoke(const Paths& paths) {
  if (auto noted = write_down(paths, "token.revoke", name_, ""); !noted) return noted;
  const auto revoked = TokenStore(paths.tokens()).revoke(name_, wall_clock_now());
  if (!revoked) return tl::unexpected<Error>(revoked.error());
  std::fprintf(stderr, "Token %s of %s is revoked.\n", revoked->id.c_str(), revoked->name.c_str());
  return {};
}

}  // namespace muster::musterd
