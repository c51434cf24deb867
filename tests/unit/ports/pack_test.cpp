// Packs that must not get in: each leaves the target exactly as it was.
#include "git_fixture.hpp"
#include "storage/base/files.hpp"

using namespace muster;
using namespace muster::actors;
using namespace muster::actors::test;

namespace {

std::string object_files(const fs::path& repository) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(repository / "objects"))
    names.push_back(entry.path().string());
  std::sort(names.begin(), names.end());
  std::string all;
  for (const auto& name : names) all += name + "\n";
  return all;
}

/// Pushes, wants `rejected`, and that nothing of the target changed.
std::string rejected(Project& project, const PushRequest& request) {
  const std::string refs = project.refs();
  const std::string objects = object_files(project.bare());
  const auto forge = make_git_forge(project.scratch());
  const auto result = forge->push(request);
  INFO(result.message);
  CHECK(result.outcome == PushOutcome::rejected);
  CHECK(project.refs() == refs);
  CHECK(object_files(project.bare()) == objects);
  CHECK(fs::is_empty(project.scratch()));
  return result.message;
}

/// A commit whose tree is made of raw bytes, which git would never write.
std::string raw_commit(Project& project, const std::string& tree_bytes) {
  const std::string tree = git(
      project.work(), {"hash-object", "-w", "-t", "tree", "--literally", "--stdin"}, tree_bytes);
  return git(project.work(), {"hash-object", "-w", "-t", "commit", "--literally", "--stdin"},
             "tree " + tree + "\nparent " + project.main() +
                 "\nauthor A <a@x> 1 +0000\ncommitter A <a@x> 1 +0000\n\nx\n");
}

std::string entry(const std::string& mode, const std::string& name, const std::string& id) {
  std::string raw = mode + " " + name + std::string(1, '\0');
  for (std::size_t i = 0; i < 40; i += 2)
    raw += static_cast<char>(std::stoi(id.substr(i, 2), nullptr, 16));
  return raw;
}

/// `objects` one a line, and nothing else.
PushRequest exactly(Project& project, const std::string& head, const std::string& objects) {
  return {project.bare().string(),   "main", project.main(), head, "muster/x",
          project.pack(objects, {}), false};
}

}  // namespace

TEST_CASE("damaged packs are rejected") {
  Project project;
  auto request = project.request(project.change());
  std::string bytes = *read_file(request.pack);
  SECTION("cut short") {
    bytes.resize(bytes.size() - 30);
  }
  SECTION("empty") {
    bytes.clear();
  }
  SECTION("a header alone") {
    bytes.resize(12);
  }
  SECTION("a flipped bit") {
    bytes[bytes.size() / 2] ^= 0x10;
  }
  SECTION("a wrong checksum") {
    bytes.back() ^= 1;
  }
  SECTION("another version") {
    bytes[7] = 9;
  }
  SECTION("not a pack") {
    bytes = std::string(1000, 'x');
  }
  SECTION("more objects announced than there are") {
    bytes[11] = 90;
  }
  SECTION("countless objects announced") {
    bytes[8] = 0x7f;
  }
  SECTION("followed by something") {
    bytes += "trailing";
  }
  write(request.pack, bytes);
  rejected(project, request);
}

TEST_CASE("a pack larger than the limit is rejected unread") {
  Project project;
  auto request = project.request(project.change());
  fs::resize_file(request.pack, 300u << 20);  // Sparse.
  CHECK(rejected(project, request).find("too large") != std::string::npos);
}

TEST_CASE("thin packs are rejected: a host must bring every object") {
  Project project;
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "line " + std::to_string(i) + "\n";
  git(project.work(), {"checkout", "-q", "main"});
  write(project.work() / "large.txt", text);
  project.commit("Large");
  git(project.work(), {"push", "-q", "origin", "main"});
  auto request = project.request(project.change(text + "one more\n", "large.txt"));
  request.pack = project.pack(request.head_sha + " ^" + request.base_sha, {"--revs", "--thin"});
  rejected(project, request);
}

TEST_CASE("missing objects are found") {
  Project project;
  const std::string head = project.change();
  const std::string tree = git(project.work(), {"rev-parse", head + "^{tree}"});
  const std::string sub = git(project.work(), {"rev-parse", head + ":src"});
  const std::string blob = git(project.work(), {"rev-parse", head + ":src/greet.txt"});
  CHECK(rejected(project, exactly(project, head, head + " " + tree + " " + sub)).find(blob) !=
        std::string::npos);
  CHECK(rejected(project, exactly(project, head, head + " " + tree + " " + blob)).find(sub) !=
        std::string::npos);
  CHECK(rejected(project, exactly(project, head, head)).find(tree) != std::string::npos);
  CHECK(rejected(project, exactly(project, head, tree + " " + sub + " " + blob)).find(head) !=
        std::string::npos);
}

TEST_CASE("objects that the commit does not need are not smuggled in") {
  Project project;
  const std::string head = project.change();
  const std::string extra = git(project.work(), {"hash-object", "-w", "--stdin"}, "contraband\n");
  const std::string all =
      git(project.work(), {"rev-list", "--objects", "--no-object-names", head, "^main"});
  std::string ids = head;
  for (const std::string& path :
       {std::string("^{tree}"), std::string(":src"), std::string(":src/greet.txt")})
    ids += " " + git(project.work(), {"rev-parse", head + path});
  CHECK(rejected(project, exactly(project, head, ids + " " + extra)).find(extra) !=
        std::string::npos);

  // What the target has already is no contraband: a pack with all of the base passes.
  const auto request = exactly(
      project, head, ids + " " + git(project.work(), {"rev-parse", project.main() + ":docs"}));
  CHECK(make_git_forge(project.scratch())->push(request).outcome == PushOutcome::pushed);
}

TEST_CASE("a commit that does not descend from the base is rejected") {
  Project project;
  git(project.work(), {"checkout", "-q", "--orphan", "other"});
  const std::string orphan = project.commit("Unrelated");
  auto request = project.request(orphan);
  request.pack = project.pack(orphan);
  CHECK(rejected(project, request).find("descend") != std::string::npos);
}

TEST_CASE("several commits, moved directories and merges of older commits are fine") {
  Project project;
  const auto forge = make_git_forge(project.scratch());
  git(project.work(), {"checkout", "-q", "main"});
  fs::rename(project.work() / "docs", project.work() / "manual");
  project.commit("Move a directory");
  write(project.work() / "src/new.txt", "new\n");
  project.commit("Add");
  git(project.work(), {"checkout", "-q", "-b", "old", project.main() + "~1"});
  write(project.work() / "old.txt", "old\n");
  project.commit("From an older commit");
  git(project.work(), {"checkout", "-q", "main"});
  git(project.work(), {"merge", "-q", "--no-ff", "-m", "Merge", "old"});
  const std::string head = git(project.work(), {"rev-parse", "HEAD"});
  const auto result = forge->push(project.request(head));
  INFO(result.message);
  CHECK(result.outcome == PushOutcome::pushed);
  git(project.bare(), {"fsck", "--strict"});
}

TEST_CASE("trees that git would not check out are rejected") {
  Project project;
  const std::string blob = git(project.work(), {"rev-parse", "main:src/greet.txt"});
  const std::string tree = git(project.work(), {"rev-parse", "main:src"});
  const std::string a = entry("100644", "a", blob);
  for (const std::string& raw : {entry("100644", ".git", blob),
                                 entry("100644", ".GIT", blob),
                                 entry("100644", ".git. ", blob),
                                 entry("40000", "git~1", tree),
                                 entry("100644", ".g\xe2\x80\x8cit", blob),
                                 entry("100644", "..", blob),
                                 entry("100644", "a/b", blob),
                                 entry("100644", "", blob),
                                 entry("100644", "x\\.git\\hooks", blob),
                                 entry("100644", ".git:$DATA", blob),
                                 entry("0100644", "a", blob),
                                 entry("100600", "a", blob),
                                 a + a,
                                 entry("100644", "b", blob) + a,
                                 a + entry("40000", "a", tree),
                                 entry("100644", "a", std::string(40, '0')),
                                 entry("120000", ".gitmodules", blob),
                                 entry("40000", "a", blob),
                                 entry("100644", "a", tree),
                                 std::string("100644 a")}) {
    INFO(raw);
    const std::string head = raw_commit(project, raw);
    rejected(project, exactly(project, head,
                              head + " " + git(project.work(), {"rev-parse", head + "^{tree}"})));
  }
}

TEST_CASE("a new .gitmodules is judged by git: bad ones are rejected, good ones pass") {
  Project project;
  const auto evil = project.change(
      "[submodule \"x\"]\n\tpath = x\n\turl = --upload-pack=touch /tmp/x\n", ".gitmodules");
  CHECK(rejected(project, project.request(evil)).find("git finds") != std::string::npos);
  const auto dots = project.change("[submodule \"../../x\"]\n\tpath = x\n\turl = https://host/x\n",
                                   ".gitmodules");
  rejected(project, project.request(dots));
  git(project.work(), {"checkout", "-q", "-f", "-B", "main", "origin/main"});
  const auto good =
      project.change("[submodule \"x\"]\n\tpath = x\n\turl = https://host/x\n", ".gitmodules");
  const auto result = make_git_forge(project.scratch())->push(project.request(good));
  INFO(result.message);
  CHECK(result.outcome == PushOutcome::pushed);
}

TEST_CASE("directories nested beyond reason are rejected, not followed to a crash") {
  Project project;
  std::string id = git(project.work(), {"rev-parse", "main:src/greet.txt"});
  id = git(project.work(), {"mktree"}, "100644 blob " + id + "\tf\n");
  std::string ids;
  for (int i = 0; i < 600; ++i) {
    id = git(project.work(), {"mktree"}, "040000 tree " + id + "\td\n");
    ids += " " + id;
  }
  const std::string head =
      git(project.work(), {"commit-tree", "-p", project.main(), "-m", "deep", id});
  auto request = project.request(head);
  CHECK(rejected(project, request).find("too deep") != std::string::npos);
}
