// A directory of a test's own, and git in it.
#pragma once

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "storage/base/process.hpp"

namespace muster::cli {

class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "mXXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = std::filesystem::canonical(name);
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  std::string write(const std::string& name, const std::string& text,
                    bool executable = false) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
    if (executable) std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    return file.string();
  }
  void git(std::vector<std::string> words) const {
    ProcessSpec spec;
    spec.argv = git_command();
    for (const char* word :
         {"-c", "user.name=T", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"})
      spec.argv.push_back(word);
    spec.argv.insert(spec.argv.end(), words.begin(), words.end());
    spec.env = git_environment();
    spec.directory = path_.string();
    const auto done = run_checked(spec);
    INFO((done ? "" : done.error().message));
    REQUIRE(done);
  }
  /// A bare repository with one commit on main.
  void repository(const std::string& name) const {
    const std::string work = (path_ / (name + ".work")).string();
    git({"init", "-q", work});
    git({"-C", work, "commit", "-q", "--allow-empty", "-m", "first"});
    git({"clone", "-q", "--bare", work, (path_ / name).string()});
    std::filesystem::remove_all(work);
  }
  /// This directory's path replaced by "DIR", for transcripts.
  [[nodiscard]] std::string anonymous(std::string text) const {
    for (std::size_t at; (at = text.find(path_.string())) != std::string::npos;)
      text.replace(at, path_.string().size(), "DIR");
    return text;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace muster::cli
