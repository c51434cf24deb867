#include "tools/muster/repository_check.hpp"

#include <array>
#include <cstdlib>

#include "storage/base/files.hpp"
#include "storage/base/process.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;

constexpr Duration kAskTimeout{30'000};
constexpr std::size_t kMaxPackedRefs = 64u << 20;

bool is_git_directory(const fs::path& path) {
  std::error_code error;
  return fs::exists(path / "HEAD", error) && fs::is_directory(path / "objects", error);
}

/// The directory that holds HEAD; empty when git must be asked (a linked work tree, a reftable).
fs::path git_directory(const fs::path& path) {
  std::error_code error;
  for (const fs::path& candidate : {path, path / ".git"})
    if (is_git_directory(candidate) && fs::is_directory(candidate / "refs", error) &&
        !fs::exists(candidate / "reftable", error))
      return candidate;
  return {};
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.pop_back();
  return text;
}

Result<std::string> missing(const std::string& branch, bool is_head) {
  if (is_head)
    return fail(Errc::not_found, "its HEAD is " + branch + ", which has no commit (is it empty?)");
  return fail(Errc::not_found, "it has no branch " + branch);
}

Result<std::string> from_directory(const fs::path& git, const std::string& wanted) {
  std::string branch = wanted;
  if (branch.empty()) {
    const auto head = read_file(git / "HEAD", 4096);
    if (!head) return fail(Errc::unreachable, head.error().message);
    const std::string text = trimmed(*head);
    constexpr std::string_view kSymbolic = "ref: refs/heads/";
    if (!text.starts_with(kSymbolic)) return std::string();
    branch = text.substr(kSymbolic.size());
  }
  std::error_code error;
  if (fs::exists(git / "refs/heads" / branch, error)) return branch;
  if (const auto packed = read_file(git / "packed-refs", kMaxPackedRefs))
    if (packed->find(" refs/heads/" + branch + "\n") != std::string::npos) return branch;
  return missing(branch, wanted.empty());
}

/// git's own word for it: the line with "fatal:", else the last one.
std::string reason(const std::string& err) {
  const std::size_t fatal = err.find("fatal: ");
  if (fatal == std::string::npos) return trimmed(std::string(last_lines(err, 1)));
  return trimmed(err.substr(fatal + 7, err.find('\n', fatal) - fatal - 7));
}

/// As the engine's, and with what a person needs to reach their own remotes.
std::map<std::string, std::string> person_environment() {
  auto environment = git_environment();
  for (const char* name : {"HOME", "SSH_AUTH_SOCK", "http_proxy", "https_proxy", "no_proxy",
                           "HTTPS_PROXY", "NO_PROXY"})
    if (const char* value = std::getenv(name)) environment[name] = value;
  return environment;
}

Result<std::string> ask_git(const std::string& url, const std::string& wanted) {
  ProcessSpec spec;
  spec.argv = git_command();
  const std::string ref = wanted.empty() ? "HEAD" : "refs/heads/" + wanted;
  for (const std::string& word :
       {std::string("ls-remote"), std::string("--symref"), std::string("--"), url, ref})
    spec.argv.push_back(word);
  spec.env = person_environment();
  spec.timeout = kAskTimeout;
  const auto answer = run_process(spec);
  if (!answer) return fail(answer.error(), "git ls-remote");
  if (answer->timed_out)
    return fail(Errc::unreachable, "no answer within " + to_string(kAskTimeout));
  if (!answer->ok()) {
    const std::string why = reason(answer->err);
    return fail(
        Errc::unreachable,
        "git can't read it: " + (why.empty() ? "exit " + std::to_string(answer->exit_code) : why));
  }
  if (!wanted.empty()) {
    if (answer->out.find("\t" + ref + "\n") == std::string::npos) return missing(wanted, false);
    return wanted;
  }
  if (answer->out.empty()) return fail(Errc::not_found, "it has no commit (is it empty?)");
  constexpr std::string_view kSymbolic = "ref: refs/heads/";
  if (!answer->out.starts_with(kSymbolic)) return std::string();
  return answer->out.substr(kSymbolic.size(), answer->out.find('\t') - kSymbolic.size());
}

}  // namespace

bool looks_like_repository(const fs::path& path) {
  std::error_code error;
  return is_git_directory(path) || fs::exists(path / ".git", error);
}

Result<std::string> resolve_base_branch(const std::string& url, const std::string& wanted) {
  if (!url.starts_with("/")) return ask_git(url, wanted);
  std::error_code error;
  if (!fs::exists(url, error)) return fail(Errc::not_found, "there is no " + url);
  if (!looks_like_repository(url)) return fail(Errc::not_found, url + " is not a git repository");
  const fs::path git = git_directory(url);
  return git.empty() ? ask_git(url, wanted) : from_directory(git, wanted);
}

}  // namespace muster::cli
