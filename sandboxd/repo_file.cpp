#include "sandboxd/repo_file.hpp"

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "sandboxd/spec.hpp"
#include "storage/base/process.hpp"

namespace muster::sandbox {

namespace {

constexpr Duration kReadTimeout{30'000};
constexpr std::size_t kMaxListing = 256u << 20;
constexpr std::size_t kMaxPaths = 256, kMaxPath = 1000;

/// git, with as much memory and processor time as reading a file of a sane repository takes.
Result<std::string> bounded_git(const std::filesystem::path& objects, std::vector<std::string> args,
                                std::string input, std::size_t max_output) {
  ProcessSpec spec;
  spec.argv = {"prlimit", "--data=536870912", "--cpu=20", "--core=0"};
  for (auto& word : git_command()) spec.argv.push_back(std::move(word));
  for (auto& arg : args) spec.argv.push_back(std::move(arg));
  spec.env = git_environment();
  spec.env["GIT_DIR"] = objects.parent_path().string();
  spec.env["GIT_NO_LAZY_FETCH"] = "1";
  spec.input = std::move(input);
  spec.timeout = kReadTimeout;
  spec.max_output = max_output;
  auto out = run_checked(spec);
  if (!out) return fail(out.error(), "read the repository");
  return out;
}

}  // namespace

Result<std::vector<std::string>> tracked_files(const std::filesystem::path& objects, const std::string& commit) {
  if (!is_commit_id(commit)) return fail(Errc::internal, "no commit to read");
  const auto said = bounded_git(objects, {"ls-tree", "-r", "-z", "--name-only", "--full-tree", commit}, "", kMaxListing);
  if (!said) return tl::unexpected(said.error());
  if (said->size() == kMaxListing) return fail(Errc::invalid, "the commit has too many files");
  std::vector<std::string> paths;
  for (std::size_t at = 0; at < said->size();) {
    const std::size_t end = std::min(said->find('\0', at), said->size());
    paths.push_back(said->substr(at, end - at));
    at = end + 1;
  }
  return paths;
}

bool is_repo_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPath || path[0] == '/' || path.back() == '/') return false;
  if (std::any_of(path.begin(), path.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; })) return false;
  while (!path.empty()) {
    const std::string_view part = path.substr(0, path.find('/'));
    if (part.empty() || part == "." || part == "..") return false;
    path.remove_prefix(std::min(part.size() + 1, path.size()));
  }
  return true;
}

Result<std::vector<RepoFile>> find_files(const std::filesystem::path& objects, const std::string& commit,
                                         const std::vector<std::string>& paths) {
  if (!is_commit_id(commit) || paths.size() > kMaxPaths) return fail(Errc::internal, "no commit to read");
  std::string asked;
  for (const auto& path : paths) asked += commit + ":" + path + "\n";
  const auto said = bounded_git(objects, {"cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)"}, asked,
                             (paths.size() + 1) * (kMaxPath + 200));
  if (!said) return tl::unexpected(said.error());
  std::vector<RepoFile> found;
  std::istringstream lines(*said);
  for (std::string line; std::getline(lines, line);) {
    RepoFile file;
    if (is_commit_id(std::string_view(line).substr(0, 40)) && line.compare(40, 6, " blob ") == 0) {
      file.id = line.substr(0, 40);
      file.bytes = std::strtoull(line.c_str() + 46, nullptr, 10);
    }
    found.push_back(std::move(file));
  }
  if (found.size() != paths.size()) return fail(Errc::corrupt, "git answered for other files than were asked for");
  return found;
}

Result<std::string> read_blob(const std::filesystem::path& objects, const RepoFile& file, std::size_t limit) {
  if (file.bytes > limit)
    return fail(Errc::invalid, "is larger than " + std::to_string(limit) + " bytes");
  auto text = bounded_git(objects, {"cat-file", "blob", file.id}, "", limit + 1);
  if (text && text->size() != file.bytes) return fail(Errc::corrupt, "git gave another size than it said");
  return text;
}

}  // namespace muster::sandbox
