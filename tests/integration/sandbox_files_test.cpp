// Context files: where they end up, as whose, and that neither the bundle nor what lies in HOME
// leads anywhere else.
#include <sys/stat.h>

#include "sandboxd/context_file.hpp"
#include "storage/base/ids.hpp"
#include "tests/integration/sandbox_fixture.hpp"

namespace muster::sandbox::test {

namespace {

/// A tar of what `script` makes in an empty directory, kept as a blob; its digest.
std::string bundle_of(Sandboxes& sandboxes, const std::string& script) {
  const fs::path directory = sandboxes.root() / "bundle";
  fs::create_directories(directory);
  shell(script + "; tar -cf ../bundle.tar .", directory);
  const auto tar = read_file(sandboxes.root() / "bundle.tar");
  REQUIRE(tar);
  const std::string digest = sha256_hex(*tar);
  REQUIRE(sandboxes.host().blobs.append(digest, 0, tar->size(), *tar));
  return digest;
}

void add_file(wire::SandboxSpecT& spec, const std::string& source, const std::string& path,
              unsigned mode, unsigned owner) {
  auto file = std::make_unique<wire::ContextFileT>();
  file->source = source;
  file->path = path;
  file->mode = mode;
  file->owner = owner;
  spec.context_files.push_back(std::move(file));
}

}  // namespace

TEST_CASE("context files are there before the first step, with mode and owner") {
  Sandboxes sandboxes;
  auto spec = sandboxes.spec(
      "stat -c '%n %a %u' ~/.npmrc ~/.config ~/.config/deep/tool.json /tmp/run; cat ~/.npmrc; "
      "/tmp/run; "
      "echo mine >> ~/.npmrc; (echo no >> ~/.config/deep/tool.json) 2>/dev/null || echo refused");
  spec.agent_bundle = bundle_of(sandboxes,
                                "mkdir ci; echo registry=x > ci/npmrc; echo '{}' > tool.json; "
                                "printf '#!/bin/sh\\necho ran\\n' > run");
  add_file(spec, "ci/npmrc", "/home/agent/.npmrc", 0600, 1000);
  add_file(spec, "tool.json", "/home/agent/.config/deep/tool.json", 0644, 0);
  add_file(spec, "run", "/tmp/run", 0755, 1000);
  const auto report = sandboxes.run(spec);
  INFO(report.message);
  CHECK(brief(report) == "unchanged agent=0");
  CHECK(sandboxes.log.starts_with(
      "/home/agent/.npmrc 600 1000\n/home/agent/.config 755 1000\n"
      "/home/agent/.config/deep/tool.json 644 0\n/tmp/run 755 1000\nregistry=x\nran\n"));
  CHECK(sandboxes.log.ends_with("refused\n"));
  sandboxes.require_gone("0123456789ABC-1");
}

TEST_CASE("links in the bundle and in HOME lead nowhere") {
  Sandboxes sandboxes;
  const fs::path bundle = sandboxes.root() / "unpacked", home = sandboxes.root() / "home";
  const fs::path outside = sandboxes.root() / "outside";
  for (const auto& directory : {bundle, home, outside}) fs::create_directories(directory);
  std::ofstream(bundle / "plain") << "plain";
  std::ofstream(outside / "secret") << "secret";
  fs::create_symlink(outside / "secret", bundle / "link");
  fs::create_symlink(outside, bundle / "directory");
  fs::create_symlink(outside, home / "away");
  fs::create_symlink(outside / "secret", home / "file");
  fs::create_directories(home / "taken");
  const auto place = [&](const std::string& source, const std::string& path) {
    return place_file({bundle, source, home, path, 0644, 4242, 4343});
  };
  CHECK_FALSE(place("link", "x"));
  CHECK_FALSE(place("directory/secret", "x"));
  CHECK_FALSE(place("../outside/secret", "x"));
  CHECK_FALSE(place("none", "x"));
  CHECK_FALSE(place("plain", "away/x"));
  CHECK_FALSE(place("plain", "taken"));
  CHECK_FALSE(fs::exists(home / "x"));
  CHECK_FALSE(fs::exists(outside / "x"));
  // A link under the file's own name gives way to it.
  REQUIRE(place("plain", "file"));
  CHECK(*read_file(outside / "secret") == "secret");
  CHECK(fs::is_regular_file(fs::symlink_status(home / "file")));
  REQUIRE(place("plain", "new/deep/file"));
  struct stat info {};
  REQUIRE(::stat((home / "new/deep/file").c_str(), &info) == 0);
  CHECK(info.st_uid == 4242);
  REQUIRE(::stat((home / "new/deep").c_str(), &info) == 0);
  CHECK(info.st_uid == 4343);
}

}  // namespace muster::sandbox::test
