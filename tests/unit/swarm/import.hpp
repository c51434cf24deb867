// Commits for tests by the hundred, through one `git fast-import`.
#pragma once

#include <map>

#include "tests/unit/ports/git_fixture.hpp"

namespace muster::actors::swarm::test {

using actors::test::Directory;
using actors::test::git;
using actors::test::trim;
using actors::test::try_git;

struct File {
  std::string mode = "100644";
  std::string bytes;
  bool operator==(const File&) const = default;
};
using Files = std::map<std::string, File>;

/// A bare repository, and commits that are made all at once by import().
class Import {
 public:
  Import() { git(directory_.path(), {"init", "-q", "--bare", repository().string()}); }
  [[nodiscard]] std::filesystem::path repository() const { return directory_ / "r.git"; }
  [[nodiscard]] std::string objects() const { return (repository() / "objects").string(); }
  [[nodiscard]] std::filesystem::path scratch() const { return directory_ / "scratch"; }

  /// Its number, from 1; a parent is such a number.
  int commit(const Files& files, const std::vector<int>& parents = {}) {
    ++count_;
    stream_ += "commit refs/heads/c" + std::to_string(count_) +
               "\nmark :" + std::to_string(count_) + "\ncommitter T <t@x> 1700000000 +0000\n" +
               data("c");
    for (std::size_t i = 0; i < parents.size(); ++i)
      stream_ += (i == 0 ? "from :" : "merge :") + std::to_string(parents[i]) + "\n";
    stream_ += "deleteall\n";
    for (const auto& [path, file] : files)
      stream_ += "M " + file.mode + " inline " + quoted(path) + "\n" + data(file.bytes);
    return count_;
  }

  void import() {
    const std::filesystem::path marks = directory_ / "marks";
    git(repository(), {"fast-import", "--quiet", "--export-marks=" + marks.string()}, stream_);
    stream_.clear();
    std::ifstream in(marks);
    std::string mark, id;
    while (in >> mark >> id) ids_[std::stoi(mark.substr(1))] = id;
  }
  [[nodiscard]] const std::string& id(int commit) const { return ids_.at(commit); }

 private:
  static std::string data(const std::string& bytes) {
    return "data " + std::to_string(bytes.size()) + "\n" + bytes + "\n";
  }
  static std::string quoted(const std::string& path) {
    std::string out = "\"";
    for (const char c : path) {
      if (c == '"' || c == '\\') out += '\\';
      out += c == '\n' ? std::string("\\n") : std::string(1, c);
    }
    return out + '"';
  }

  Directory directory_;
  std::string stream_;
  int count_ = 0;
  std::map<int, std::string> ids_;
};

}  // namespace muster::actors::swarm::test
