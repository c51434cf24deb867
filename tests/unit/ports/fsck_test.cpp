#include "actors/ports/git_fsck.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "actors/ports/git_local.hpp"

using namespace muster::actors::git;

TEST_CASE("commits are checked like git fsck does") {
  const std::string tree = "tree " + std::string(40, 'a') + "\n";
  const std::string who = "A B <a@x> 1700000000 +0100\n";
  const auto ok = [](const std::string& raw) { return check_commit(raw).has_value(); };
  CHECK(ok(tree + "author " + who + "committer " + who + "\nmessage\n"));
  CHECK(ok(tree + "author " + who + "committer " + who + "gpgsig x\n y\n\nmessage\n"));
  CHECK_FALSE(ok("author " + who + "committer " + who + "\nmessage\n"));
  CHECK_FALSE(ok(tree + "parent x\nauthor " + who + "committer " + who + "\nm\n"));
  CHECK_FALSE(ok(tree + "author A B a@x 1 +0100\ncommitter " + who + "\nm\n"));
  CHECK_FALSE(ok(tree + "author A <a@x> x +0100\ncommitter " + who + "\nm\n"));
  CHECK_FALSE(ok(tree + "author A <a<@x> 1 +0100\ncommitter " + who + "\nm\n"));
  CHECK_FALSE(ok(tree + "author " + who + "\nm\n"));
  CHECK_FALSE(ok(tree + "author " + who + "committer " + who));
  CHECK_FALSE(ok(tree + "author " + who + "committer " + who + std::string("\nm\0", 3)));
}

TEST_CASE("forms of .git on other file systems") {
  for (const char* name :
       {".git", ".GIT", ".Git", ".git ", ".git.", ".git. .", "git~1", "GIT~1",
        ".git::$INDEX_ALLOCATION", ".g\xe2\x80\x8cit", "\xef\xbb\xbf.git", ".gi\xe2\x81\xaft"})
    CHECK(is_dot_git(name));
  for (const char* name :
       {".gitignore", "git", ".gi", "..git", "git~2", ".git-x", ".g\xe2\x80\x90it"})
    CHECK_FALSE(is_dot_git(name));
}

TEST_CASE("a repository's shape is read from its configuration, and nothing else of it") {
  CHECK(read_shape("[core]\n\tbare = true\n").bare == true);
  CHECK(read_shape("[CORE]\n\tBare=false # x\n").bare == false);
  CHECK(read_shape("[core] bare\n").bare == true);
  CHECK_FALSE(read_shape("[core \"x\"]\n\tbare = true\n[other]\nbare = true\n").bare.has_value());
  CHECK(read_shape("[extensions]\n\tobjectFormat = sha1\n\tnoop = 1\n").unsupported.empty());
  CHECK(read_shape("[extensions]\n\tobjectFormat = sha256\n").unsupported.find("SHA-256") !=
        std::string::npos);
  CHECK(read_shape("[extensions]\n\tsomethingNew = yes\n").unsupported.find("somethingnew") !=
        std::string::npos);
  CHECK(read_shape("\x00\xff[[[\n]=\n[\n").unsupported.empty());
}
