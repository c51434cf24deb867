// Tokens: what is kept, what is found, and what is not; and who a request's headers make of its
// caller.
#include <sys/stat.h>
#include <unistd.h>

#include "storage/base/files.hpp"
#include "tests/unit/musterd/api_fixture.hpp"
#include "tools/musterd/authenticator.hpp"
#include "tools/musterd/tokens.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

constexpr Instant kNow{1'800'000'000'000};

struct Store {
  TokenStore::Made make(const std::string& name, Role role = Role::viewer,
                        std::optional<Instant> expires = std::nullopt) {
    Token token;
    token.name = name;
    token.role = role;
    token.expires = expires;
    auto made = tokens.create(std::move(token), kNow);
    REQUIRE(made);
    return *made;
  }
  TemporaryDirectory directory;
  std::filesystem::path file = directory.path / "tokens.json";
  TokenStore tokens{file};
};

Request from(Peer peer, const std::string& authorization = "") {
  Request request;
  request.peer = std::move(peer);
  if (!authorization.empty()) request.headers["Authorization"] = authorization;
  return request;
}

const Peer kAway{Peer::Via::tls, std::nullopt, "10.0.0.7:40122"};

}  // namespace

TEST_CASE_METHOD(Store, "of a token only a hash is kept, readable for its owner alone") {
  const auto made = make("ci", Role::operator_);
  const std::string secret = made.secret.substr(made.secret.rfind('_') + 1);
  const auto text = read_file(file, 1u << 20);
  REQUIRE(text);
  CHECK(text->find(secret) == std::string::npos);
  CHECK(text->find(sha256_hex(secret)) != std::string::npos);
  struct stat status {};
  REQUIRE(::stat(file.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);

  const auto found = tokens.find(made.secret, kNow);
  REQUIRE(found);
  CHECK(found->name == "ci");
  CHECK(found->role == Role::operator_);
}

TEST_CASE_METHOD(Store, "what is wrong, expired or revoked gets the same answer") {
  const auto made = make("ci", Role::viewer, kNow + Duration{1000});
  const auto answer = [&](const std::string& secret, Instant now) {
    const auto found = tokens.find(secret, now);
    return found ? "found" : found.error().message;
  };
  CHECK(answer(made.secret, kNow + Duration{999}) == "found");
  const std::string no = answer(made.secret, kNow + Duration{1000});
  CHECK(no == "the token is unknown, revoked or expired");
  std::string changed = made.secret;
  changed.back() = changed.back() == 'A' ? 'B' : 'A';
  CHECK(answer(changed, kNow) == no);
  CHECK(answer("mst_0000000000_" + made.secret.substr(15), kNow) == no);
  CHECK(answer("", kNow) == no);
  REQUIRE(tokens.revoke("ci", kNow));
  CHECK(answer(made.secret, kNow) == no);
  CHECK(tokens.revoke("ci", kNow).error().code == Errc::not_found);
}

TEST_CASE_METHOD(Store, "another process's change counts at once") {
  const TokenStore running(file);
  TokenStore command(file);
  CHECK(running.list()->empty());
  Token token;
  token.name = "ci";
  const auto made = command.create(token, kNow);
  REQUIRE(made);
  CHECK(running.find(made->secret, kNow));
  REQUIRE(command.revoke(made->token.id, kNow));
  CHECK(!running.find(made->secret, kNow));
  CHECK(running.list()->front().state(kNow) == "revoked");
}

TEST_CASE_METHOD(Store, "one active token a name, and names that fit a log") {
  make("ci");
  Token same;
  same.name = "ci";
  CHECK(tokens.create(same, kNow).error().code == Errc::conflict);
  REQUIRE(tokens.revoke("ci", kNow));
  CHECK(tokens.create(same, kNow));
  for (const char* name : {"", "a b", "a\nb", "x/y"}) {
    Token bad;
    bad.name = name;
    CHECK(tokens.create(bad, kNow).error().code == Errc::invalid);
  }
}

TEST_CASE_METHOD(Store, "a file that is damaged lets nobody in") {
  const auto made = make("ci");
  REQUIRE(write_file_durably(file, "{\"tokens\": [{}]}", 0600));
  CHECK(tokens.find(made.secret, kNow).error().code == Errc::corrupt);
}

TEST_CASE_METHOD(Store, "the socket's owner needs no token, everybody else does") {
  const Authenticator door(tokens, {});
  const auto local = [](std::uint32_t uid) {
    return from({Peer::Via::unix_socket, uid, "uid " + std::to_string(uid)});
  };
  const auto owner = door.identify(local(::geteuid()), kNow);
  REQUIRE(owner);
  CHECK(owner->role == Role::admin);
  CHECK(owner->may_name_others);
  CHECK(!door.identify(local(12'345), kNow));
  CHECK(!door.identify(from({Peer::Via::loopback, std::nullopt, "127.0.0.1:5"}), kNow));
  CHECK(!door.identify(from(kAway), kNow));

  const auto made = make("ci", Role::operator_);
  const auto known = door.identify(from(kAway, "bearer " + made.secret), kNow);
  REQUIRE(known);
  CHECK(known->name == "ci");
  CHECK(known->how == "token " + made.token.id);
  CHECK(!known->may_name_others);
  CHECK(!door.identify(from(kAway, "Basic " + made.secret), kNow));
  // A wrong token is not mended by the socket.
  Request wrong = local(::geteuid());
  wrong.headers["Authorization"] = "Bearer mst_x";
  CHECK(!door.identify(wrong, kNow));
}

TEST_CASE_METHOD(
    Store, "a proxy's word counts only where it is configured, and no further than its token") {
  Token token;
  token.name = "oidc";
  token.role = Role::operator_;
  token.proxy = true;
  const auto made = tokens.create(token, kNow);
  REQUIRE(made);
  Request request = from(kAway, "Bearer " + made->secret);
  request.headers["X-User"] = "alice@example.org";
  request.headers["X-Groups"] = "staff, muster-admins";
  CHECK(!Authenticator(tokens, {}).identify(request, kNow));

  const Authenticator door(
      tokens, {"X-User", "X-Groups", {{"muster-admins", Role::admin}, {"all", Role::viewer}}});
  const auto alice = door.identify(request, kNow);
  REQUIRE(alice);
  CHECK(alice->name == "alice@example.org");
  CHECK(alice->role == Role::operator_);
  request.headers["X-Groups"] = "staff";
  CHECK(!door.identify(request, kNow));
  request.headers["X-User"] = "a b";
  CHECK(!door.identify(request, kNow));
  // The header of somebody who is no proxy means nothing.
  const auto plain = make("bob");
  Request pretender = from(kAway, "Bearer " + plain.secret);
  pretender.headers["X-User"] = "root";
  pretender.headers["X-Groups"] = "muster-admins";
  CHECK(door.identify(pretender, kNow)->name == "bob");
  CHECK(door.identify(pretender, kNow)->role == Role::viewer);
}
