#include "actors/ports/git_local.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <filesystem>
#include <memory>

#include "actors/ports/git_files.hpp"

namespace muster::actors::git {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxConfigBytes = 1u << 20;
constexpr std::size_t kMaxHeadBytes = 4096;
constexpr int kMaxWorkTrees = 10'000;

std::string trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())))
    text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())))
    text.remove_suffix(1);
  return std::string(text);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// What a value may look like after '=': without comment and quotes.
std::string value_of(std::string_view text) {
  std::string value = trimmed(text.substr(0, text.find_first_of("#;")));
  std::erase(value, '"');
  return lower(value);
}

bool is_true(const std::string& value) {
  return value == "true" || value == "yes" || value == "on" || value == "1";
}

void note_extension(const std::string& key, const std::string& value, RepositoryShape& shape) {
  constexpr std::array<std::string_view, 4> kHarmless = {"noop", "partialclone", "worktreeconfig",
                                                         "preciousobjects"};
  if (std::find(kHarmless.begin(), kHarmless.end(), key) != kHarmless.end()) return;
  if ((key == "objectformat" && value == "sha1") || (key == "refstorage" && value == "files"))
    return;
  shape.unsupported = key == "objectformat" && value == "sha256"
                          ? "it uses SHA-256 object names, which Muster does not support yet"
                          : "it uses the extension " + key + ", which Muster does not support";
}

void note_line(const std::string& section, std::string_view line, RepositoryShape& shape) {
  const std::size_t equals = line.find('=');
  const std::string key = lower(trimmed(line.substr(0, equals)));
  const std::string value =
      equals == std::string_view::npos ? "true" : value_of(line.substr(equals + 1));
  if (section == "core" && key == "bare") shape.bare = is_true(value);
  if (section == "extensions" && !key.empty()) note_extension(key, value, shape);
}

Result<Fd> open_absolute(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid()) return fd;
  if (errno == ENOENT || errno == ENOTDIR) return fail(Errc::not_found, path + " does not exist");
  return fail_errno(path, errno);
}

bool looks_like_git_directory(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path / "HEAD", ignored) &&
         (fs::is_directory(path / "objects", ignored) || fs::exists(path / "commondir", ignored));
}

/// Where a .git file ("gitdir: PATH") points.
Result<fs::path> linked_git_directory(const fs::path& work_tree) {
  auto directory = open_absolute(work_tree.string());
  if (!directory) return tl::unexpected<Error>(directory.error());
  auto text = read_at(directory->get(), ".git", kMaxHeadBytes);
  if (!text) return tl::unexpected<Error>(text.error());
  if (!*text || !(*text)->starts_with("gitdir: "))
    return fail(Errc::not_found, work_tree.string() + " is not a git repository");
  return (work_tree / trimmed(std::string_view(**text).substr(8))).lexically_normal();
}

Result<fs::path> find_git_directory(const std::string& path) {
  for (const fs::path& candidate :
       {fs::path(path) / ".git", fs::path(path), fs::path(path + ".git")})
    if (looks_like_git_directory(candidate)) return candidate;
  return linked_git_directory(path);
}

Result<std::optional<std::string>> symbolic_branch(int directory) {
  auto text = read_at(directory, "HEAD", kMaxHeadBytes);
  if (!text) return tl::unexpected<Error>(text.error());
  const std::string head = trimmed(std::move(*text).value_or(""));
  constexpr std::string_view kPrefix = "ref: refs/heads/";
  if (!head.starts_with(kPrefix)) return std::nullopt;
  return head.substr(kPrefix.size());
}

}  // namespace

RepositoryShape read_shape(std::string_view config) {
  RepositoryShape shape;
  std::string section;
  while (!config.empty()) {
    const std::size_t end = config.find('\n');
    std::string line = trimmed(config.substr(0, end));
    config.remove_prefix(end == std::string_view::npos ? config.size() : end + 1);
    if (line.starts_with('[')) {
      const std::size_t close = line.find(']');
      if (close == std::string::npos) continue;
      section = lower(trimmed(std::string_view(line).substr(1, close - 1)));
      line = trimmed(std::string_view(line).substr(close + 1));
    }
    if (!line.empty() && line[0] != '#' && line[0] != ';') note_line(section, line, shape);
  }
  return shape;
}

Result<LocalRepository> LocalRepository::open(const std::string& path) {
  auto found = find_git_directory(path);
  if (!found) return tl::unexpected<Error>(found.error());
  std::error_code error;
  // Resolved once; below this, no symbolic link is followed for writing.
  const fs::path git = fs::canonical(*found, error);
  if (error) return fail(Errc::not_found, path + ": " + error.message());

  LocalRepository repository;
  auto directory = open_absolute(git.string());
  if (!directory) return tl::unexpected<Error>(directory.error());
  repository.git_ = std::move(*directory);
  auto common = read_at(repository.git_.get(), "commondir", kMaxHeadBytes);
  if (!common) return tl::unexpected<Error>(common.error());
  const fs::path common_path = *common ? fs::canonical(git / trimmed(**common), error) : git;
  if (error) return fail(Errc::not_found, path + ": " + error.message());
  repository.common_path_ = common_path.string();
  directory = open_absolute(repository.common_path_);
  if (!directory) return tl::unexpected<Error>(directory.error());
  repository.common_ = std::move(*directory);

  const auto config = read_at(repository.common_.get(), "config", kMaxConfigBytes);
  if (!config) return tl::unexpected<Error>(config.error());
  const RepositoryShape shape = read_shape(config->value_or(""));
  if (!shape.unsupported.empty())
    return fail(Errc::refused, "the repository can't be used: " + shape.unsupported);
  repository.bare_ = shape.bare.value_or(common_path.filename() != ".git");
  return repository;
}

Result<Fd> LocalRepository::pack_directory() const {
  return make_directories(common_.get(), "objects/pack");
}

Result<std::string> LocalRepository::head_branch() const {
  auto branch = symbolic_branch(git_.get());
  if (!branch) return tl::unexpected<Error>(branch.error());
  if (!*branch) return fail(Errc::not_found, "HEAD of the repository names no branch");
  return std::move(**branch);
}

Result<std::string> LocalRepository::base_branch(const std::string& named) const {
  return named.empty() ? head_branch() : Result<std::string>(named);
}

Result<bool> LocalRepository::checked_out(const std::string& branch) const {
  if (!bare_) {
    const auto main = symbolic_branch(common_.get());
    if (!main) return tl::unexpected<Error>(main.error());
    if (*main == branch) return true;
  }
  auto worktrees = open_directory(common_.get(), "worktrees");
  if (!worktrees) return false;
  const int fd = worktrees->get();
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(fdopendir(worktrees->release()), closedir);
  if (entries == nullptr) return fail_errno("worktrees", errno);
  int seen = 0;
  while (const dirent* entry = readdir(entries.get())) {
    if (entry->d_name[0] == '.') continue;
    if (++seen > kMaxWorkTrees)
      return fail(Errc::refused, "the repository has too many work trees");
    const auto directory = open_directory(fd, entry->d_name);
    if (!directory) continue;
    const auto linked = symbolic_branch(directory->get());
    if (linked && *linked == branch) return true;
  }
  return false;
}

}  // namespace muster::actors::git
