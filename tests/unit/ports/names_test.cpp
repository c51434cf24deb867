#include "actors/ports/git_names.hpp"

#include <catch2/catch.hpp>

#include "storage/base/process.hpp"

using namespace muster;
using namespace muster::actors;

TEST_CASE("branch names follow the rules of git check-ref-format") {
  const std::string long_name(300, 'a');
  for (const std::string name : {"main",     "muster/libgreet-2",
                                 "a.b",      "a@b",
                                 "ä/ö",      "x/y/z",
                                 "1",        "a-",
                                 "lock",     "{",
                                 "a{b",      "",
                                 "-x",       "a/-b",
                                 "/a",       "a/",
                                 "a//b",     ".a",
                                 "a/.b",     "a.",
                                 "a..b",     "a.lock",
                                 "a.lock/b", "a b",
                                 "a~b",      "a^b",
                                 "a:b",      "a?b",
                                 "a*b",      "a[b",
                                 "a\\b",     "a@{b",
                                 "a\tb",     "a\x7f",
                                 "a\nb",     "refs/heads/x"}) {
    INFO(name);
    ProcessSpec spec;
    spec.argv = {"git", "check-ref-format", "--branch", name};
    spec.env = git_environment();
    spec.directory = "/";
    const auto git = run_process(spec);
    REQUIRE(git.has_value());
    CHECK(check_branch_name(name).has_value() == (git->exit_code == 0));
  }
  for (const std::string& name :
       {std::string("@"), std::string("HEAD"), long_name, std::string("a\0b", 3)})
    CHECK_FALSE(check_branch_name(name).has_value());
}

TEST_CASE("commit ids are whole SHA-1s, and SHA-256 is named") {
  CHECK(check_commit_id(std::string(40, 'a')));
  CHECK_FALSE(check_commit_id(std::string(39, 'a')));
  CHECK_FALSE(check_commit_id(std::string(40, 'A')));
  CHECK_FALSE(check_commit_id("--upload-pack=/bin/sh aaaaaaaaaaaaaaaaaaaa"));
  CHECK(check_commit_id(std::string(64, 'a')).error().message.find("SHA-256") != std::string::npos);
}

TEST_CASE("addresses: paths are local, four transports are allowed") {
  for (const char* path : {"/srv/git/api.git", "file:///srv/git/api.git",
                           "file://localhost/srv/git/api.git", "file:///srv/git/%61pi.git"}) {
    INFO(path);
    const auto address = parse_address(path);
    REQUIRE(address.has_value());
    CHECK(address->local);
    CHECK(address->path == "/srv/git/api.git");
  }
  for (const char* url : {"https://git.acme.dev/acme/api.git", "http://localhost:3000/a/b",
                          "git://host/x", "ssh://git@host:22/acme/api.git", "git@host:acme/api.git",
                          "host:api", "https://[::1]:8080/x.git", "https://user@host/x"}) {
    INFO(url);
    const auto address = parse_address(url);
    REQUIRE(address.has_value());
    CHECK_FALSE(address->local);
    CHECK(address->url == url);
  }
}

TEST_CASE("hostile addresses are refused, and no message repeats them") {
  for (const std::string url : {"",
                                "relative/path",
                                "-oProxyCommand=sh",
                                "--upload-pack=sh",
                                "ext::sh -c id",
                                "fd::3",
                                "ext::sh:x",
                                "ssh://-oProxyCommand=sh/x",
                                "ssh://git@-oProxyCommand=sh/x",
                                "ssh://-x@host/x",
                                "-x@host:y",
                                "git@-host:path",
                                "git@host:-path",
                                "https://user:hunter2@host/x",
                                "ssh://u:hunter2@host/x",
                                "ftp://host/x",
                                "file://other-host/x",
                                "https:///x",
                                "https://host",
                                "https://host/",
                                "file:///a%00b",
                                "file:///a%zz",
                                "https://host/a\nb",
                                "ssh://%2doProxyCommand=sh/x",
                                "https://a%40b:hunter2@host/x"}) {
    INFO(url);
    const auto address = parse_address(url);
    REQUIRE_FALSE(address.has_value());
    CHECK(address.error().code == Errc::invalid);
    CHECK(address.error().message.find("hunter2") == std::string::npos);
  }
  CHECK_FALSE(parse_address(std::string(5000, '/')).has_value());
}

TEST_CASE("git's messages lose what stands before the host") {
  CHECK(clean_message("fatal: could not read https://bob:s3cret@host/x: no\n") ==
        "fatal: could not read https://host/x: no");
  CHECK(clean_message("'ssh://t0ken@h/a' and https://x:y@h2/b") == "'ssh://h/a' and https://h2/b");
  CHECK(clean_message("a\tb\x1b[31m\n") == "a b [31m");
  CHECK(clean_message(std::string(900, 'x')).size() == 500);
}
