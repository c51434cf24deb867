// Real repositories for tests: made, changed and read by git itself.
#pragma once

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "actors/ports/forge.hpp"
#include "storage/base/process.hpp"

namespace muster::actors::test {

namespace fs = std::filesystem;

inline std::string trim(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

/// A directory that goes away with the test.
class Directory {
 public:
  Directory() {
    std::string name = (fs::temp_directory_path() / "muster-ports-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = fs::canonical(name);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  [[nodiscard]] const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

inline ProcessResult try_git(const fs::path& directory, const std::vector<std::string>& arguments,
                             const std::string& input = {}) {
  ProcessSpec spec;
  spec.argv = {"git", "-c", "safe.directory=*", "-c", "init.defaultBranch=main", "-c", "gc.auto=0"};
  spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
  spec.env = git_environment();
  for (const char* who : {"AUTHOR", "COMMITTER"}) {
    spec.env[std::string("GIT_") + who + "_NAME"] = "Tester";
    spec.env[std::string("GIT_") + who + "_EMAIL"] = "tester@localhost";
    spec.env[std::string("GIT_") + who + "_DATE"] = "1700000000 +0000";
  }
  spec.directory = directory.string();
  spec.input = input;
  spec.max_output = 8u << 20;
  auto result = run_process(spec);
  REQUIRE(result.has_value());
  return *result;
}

inline std::string git(const fs::path& directory, const std::vector<std::string>& arguments,
                       const std::string& input = {}) {
  const auto result = try_git(directory, arguments, input);
  INFO("git " << arguments[0] << ": " << result.err);
  REQUIRE(result.exit_code == 0);
  return trim(result.out);
}

inline void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

/// A bare repository with three commits on main, and a work tree beside it where changes are made.
class Project {
 public:
  explicit Project(const std::string& name = "api", const std::vector<std::string>& init = {})
      : bare_(directory_ / (name + ".git")), work_(directory_ / "work") {
    std::vector<std::string> arguments = {"init", "-q", "--bare", bare_.string()};
    arguments.insert(arguments.end(), init.begin(), init.end());
    git(directory_.path(), arguments);
    git(directory_.path(), {"clone", "-q", bare_.string(), work_.string()});
    git(work_, {"checkout", "-q", "-B", "main"});
    for (int i = 0; i < 3; ++i) {
      write(work_ / "src/greet.txt", "version " + std::to_string(i) + "\n");
      write(work_ / ("docs/" + std::to_string(i) + ".md"), "page\n");
      commit("Commit " + std::to_string(i));
    }
    git(work_, {"push", "-q", "origin", "main"});
  }

  [[nodiscard]] const fs::path& bare() const { return bare_; }
  [[nodiscard]] const fs::path& work() const { return work_; }
  [[nodiscard]] fs::path scratch() const { return directory_ / "scratch"; }
  [[nodiscard]] const Directory& directory() const { return directory_; }

  std::string commit(const std::string& message) {
    git(work_, {"add", "-A"});
    git(work_, {"commit", "-q", "--allow-empty", "-m", message});
    return git(work_, {"rev-parse", "HEAD"});
  }
  std::string main() { return git(bare_, {"rev-parse", "refs/heads/main"}); }
  /// The value of a branch of the target, or "".
  std::string branch(const std::string& name) {
    return trim(try_git(bare_, {"rev-parse", "-q", "--verify", "refs/heads/" + name}).out);
  }

  /// One commit on top of main that changes `file`; not pushed.
  std::string change(const std::string& text = "changed\n",
                     const std::string& file = "src/greet.txt") {
    git(work_, {"checkout", "-q", "-f", "main"});
    write(work_ / file, text);
    return commit("Change");
  }

  /// The objects that `revisions` ("HEAD ^main") name, as a file.
  fs::path pack(const std::string& revisions,
                const std::vector<std::string>& options = {"--revs"}) {
    const fs::path path = directory_ / ("pack-" + std::to_string(++packs_));
    std::string input;
    for (const char c : revisions) input += c == ' ' ? '\n' : c;
    std::vector<std::string> arguments = {"pack-objects", "-q", "--stdout"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const auto result = try_git(work_, arguments, input + "\n");
    REQUIRE(result.exit_code == 0);
    write(path, result.out);
    return path;
  }

  PushRequest request(const std::string& head, const std::string& branch = "muster/x") {
    const std::string base = main();
    return {bare_.string(), "main", base, head, branch, pack(head + " ^" + base), false};
  }

  /// What stands in the repository besides objects: to see that nothing was touched.
  std::string refs() { return git(bare_, {"for-each-ref"}); }

 private:
  Directory directory_;
  fs::path bare_, work_;
  int packs_ = 0;
};

}  // namespace muster::actors::test
