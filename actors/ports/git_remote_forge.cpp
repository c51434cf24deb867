#include "actors/ports/git_remote_forge.hpp"

#include <map>
#include <optional>
#include <sstream>

#include "actors/ports/git_handles.hpp"
#include "actors/ports/git_history.hpp"
#include "actors/ports/git_names.hpp"
#include "actors/ports/git_pack.hpp"
#include "storage/base/process.hpp"

namespace muster::actors::git {
namespace {

namespace fs = std::filesystem;

constexpr Duration kNetworkTimeout{300'000};
constexpr int kPushRaces = 3;

std::string branch_ref(const std::string& branch) {
  return "refs/heads/" + branch;
}

/// What the forge advertises: value by ref name, and the branch that its HEAD names.
struct Advertised {
  std::map<std::string, std::string> refs;
  std::string head_branch;

  [[nodiscard]] std::optional<std::string> branch(const std::string& name) const {
    const auto found = refs.find(branch_ref(name));
    return found == refs.end() ? std::nullopt : std::optional(found->second);
  }
};

Advertised parse_advertised(const std::string& text) {
  constexpr std::string_view kSymbolic = "ref: refs/heads/";
  Advertised out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    const std::string value = line.substr(0, tab);
    const std::string name = line.substr(tab + 1);
    if (value.starts_with(kSymbolic)) {
      if (name == "HEAD") out.head_branch = value.substr(kSymbolic.size());
    } else if (check_commit_id(value)) {
      out.refs[name] = value;
    }
  }
  return out;
}

/// What git said of a failure. A server of plain files (dumb HTTP) gets our words: git's differ by command.
std::string failure(const std::string& command, const std::string& err) {
  if (err.find("dumb http") != std::string::npos || err.find("git-http-push") != std::string::npos)
    return "the server only hands out files (dumb HTTP): nothing can be pushed there";
  return "git " + command + ": " + clean_message(err);
}

/// A bare repository whose "origin" is the URL, without blobs until something asks for them.
class Copy {
 public:
  static Result<Copy> make(const GitForgeOptions& options, const std::string& url) {
    auto directory = ScratchDirectory::make(options.scratch);
    if (!directory) return tl::unexpected<Error>(directory.error());
    Copy copy(std::move(*directory), options, url);
    auto made = copy.run({"init", "--quiet", "--bare", "--template=", copy.path().string()});
    if (!made) return tl::unexpected<Error>(made.error());
    return copy;
  }

  [[nodiscard]] fs::path path() const { return directory_.path() / "copy.git"; }
  [[nodiscard]] fs::path packs() const { return path() / "objects/pack"; }
  [[nodiscard]] std::string objects() const { return (path() / "objects").string(); }

  void set(const std::string& name, const std::string& value) { environment_[name] = value; }

  /// A git that ran, whatever it answered.
  Result<ProcessResult> try_run(const std::vector<std::string>& arguments,
                                std::size_t max_output = 1u << 20) const {
    ProcessSpec spec;
    spec.argv = git_command();
    spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
    spec.env = environment_;
    spec.directory = directory_.path().string();
    spec.timeout = kNetworkTimeout;
    spec.max_output = max_output;
    auto result = run_process(spec);
    if (!result) return result;
    if (result->timed_out) return fail(Errc::timed_out, "git " + arguments[0] + " took too long");
    return result;
  }

  Result<std::string> run(const std::vector<std::string>& arguments) const {
    auto result = try_run(arguments);
    if (!result) return tl::unexpected<Error>(result.error());
    if (!result->ok())
      return fail(Errc::unreachable, failure(arguments[0], result->err));
    return std::move(result->out);
  }

  /// HEAD and those of the branches that exist; empty names are left out.
  Result<Advertised> advertised(const std::vector<std::string>& branches) const {
    std::vector<std::string> arguments = {"ls-remote", "--quiet", "--symref", "origin", "HEAD"};
    for (const auto& branch : branches)
      if (!branch.empty()) arguments.push_back(branch_ref(branch));
    auto text = run(arguments);
    if (text && branches.front().empty()) {  // Its value is asked for once its name is known.
      const std::string head = parse_advertised(*text).head_branch;
      if (head.empty()) return fail(Errc::not_found, "HEAD of the repository names no branch");
      arguments.push_back(branch_ref(head));
      text = run(arguments);
    }
    if (!text) return tl::unexpected<Error>(text.error());
    return parse_advertised(*text);
  }

  Result<void> fetch(const std::vector<std::string>& what, bool shallow) const {
    std::vector<std::string> arguments = {"fetch", "--quiet", "--no-tags", "--filter=blob:none"};
    if (shallow) arguments.emplace_back("--depth=1");
    arguments.emplace_back("origin");
    arguments.insert(arguments.end(), what.begin(), what.end());
    auto done = run(arguments);
    if (!done) return tl::unexpected<Error>(done.error());
    return {};
  }

  /// Whether `ancestor` is there and `tip` descends from it.
  Result<bool> contains(const std::string& tip, const std::string& ancestor) const {
    auto result = try_run({"merge-base", "--is-ancestor", ancestor, tip});
    if (!result) return tl::unexpected<Error>(result.error());
    return result->exit_code == 0;
  }

  /// Sets (or with an empty value deletes) the branch if it is still at `expected` (empty: not
  /// there). False when it is not; an error when the forge refuses or can't be reached.
  Result<bool> swap(const std::string& branch, const std::string& expected,
                    const std::string& value) const {
    auto result = try_run({"push", "--porcelain", "--no-verify",
                           "--force-with-lease=" + branch_ref(branch) + ":" + expected, "origin",
                           value + ":" + branch_ref(branch)});
    if (!result) return tl::unexpected<Error>(result.error());
    if (result->ok()) return true;
    if (result->out.find("(stale info)") != std::string::npos ||
        result->out.find("[rejected]") != std::string::npos)
      return false;
    const bool refused = result->out.find("[remote rejected]") != std::string::npos;
    return fail(refused ? Errc::refused : Errc::unreachable,
                failure("push", refused ? result->out + result->err : result->err));
  }

 private:
  Copy(ScratchDirectory directory, const GitForgeOptions& options, const std::string& url)
      : directory_(std::move(directory)), environment_(git_environment()) {
    environment_["GIT_DIR"] = path().string();
    environment_["GIT_ALLOW_PROTOCOL"] = "http:https:ssh:git";
    if (!options.git_config.empty())
      environment_["GIT_CONFIG_GLOBAL"] = options.git_config.string();
    // By the environment: not in the process list, and without the quoting of a file.
    const std::pair<const char*, std::string> settings[] = {
        {"remote.origin.url", url},
        {"remote.origin.promisor", "true"},
        {"remote.origin.partialclonefilter", "blob:none"}};
    int count = 0;
    for (const auto& [key, value] : settings) {
      environment_["GIT_CONFIG_KEY_" + std::to_string(count)] = key;
      environment_["GIT_CONFIG_VALUE_" + std::to_string(count++)] = value;
    }
    environment_["GIT_CONFIG_COUNT"] = std::to_string(count);
  }

  ScratchDirectory directory_;
  std::map<std::string, std::string> environment_;
};

PushResult push_failed(const Error& error) {
  const bool final =
      error.code == Errc::refused || error.code == Errc::corrupt || error.code == Errc::invalid;
  return {final ? PushOutcome::rejected : PushOutcome::failed, error.message};
}

PushResult already_there(const std::string& branch) {
  return {PushOutcome::already_there, "branch '" + branch + "' is there"};
}

/// Fetches the base; false when it can't be built upon any more.
Result<bool> fetch_base(const Copy& copy, const std::string& base_branch, const std::string& tip,
                        const std::string& base) {
  const bool at_tip = tip == base;
  auto fetched = copy.fetch({"+" + branch_ref(base_branch) + ":refs/muster/base"}, at_tip);
  if (fetched) {
    auto there = copy.contains("refs/muster/base", base);
    if (!there || *there || !at_tip) return there;
    fetched =
        copy.fetch({"--unshallow", "+" + branch_ref(base_branch) + ":refs/muster/base"}, false);
  }
  if (!fetched) return tl::unexpected<Error>(fetched.error());
  return copy.contains("refs/muster/base", base);  // It moved between ls-remote and fetch.
}

/// Puts the pack into the copy, and judges it by what is known here; the forge judges it again.
Result<void> add_checked_pack(const Copy& copy, const PushRequest& request) {
  const auto pack = index_pack(request.pack, copy.packs());
  if (!pack) return tl::unexpected<Error>(pack.error());
  const auto odb = open_objects(copy.objects());
  if (!odb) return tl::unexpected<Error>(odb.error());
  const auto doubtful = check_pack(*pack, odb->get(), parse_id(request.base_sha),
                                   parse_id(request.head_sha), Outside::is_the_forges);
  if (!doubtful) return tl::unexpected<Error>(doubtful.error());
  if (*doubtful) return fsck_with_git(*pack, copy.objects());
  return {};
}

/// A patch by `git diff`, which fetches the blobs that it needs.
Result<std::string> run_diff(const Copy& copy, const std::string& range, std::size_t limit) {
  auto result =
      copy.try_run({"diff", "--no-color", "--no-ext-diff", "--no-textconv", range}, limit);
  if (!result) return tl::unexpected<Error>(result.error());
  if (!result->ok()) return fail(Errc::unreachable, "git diff: " + clean_message(result->err));
  if (result->output_truncated) result->out += kDiffCut;
  return std::move(result->out);
}

/// The merge commit of two commits that the copy has; an empty id and `conflict` when they
/// conflict.
Result<Merged> make_merge(Copy& copy, const std::string& base, const MergeRequest& request) {
  if (request.message.empty()) {
    auto forward = copy.contains(request.head_sha, base);
    if (!forward) return tl::unexpected<Error>(forward.error());
    if (*forward) return Merged{parse_id(request.head_sha), std::nullopt, {}};
    return Merged{{}, std::nullopt, "the base has moved on: this is no fast-forward"};
  }
  auto tree = copy.try_run(
      {"merge-tree", "--write-tree", "--name-only", "--no-messages", base, request.head_sha});
  if (!tree) return tl::unexpected<Error>(tree.error());
  const std::string tree_id = tree->out.substr(0, tree->out.find('\n'));
  if (tree->exit_code == 1)
    return Merged{{},
                  std::nullopt,
                  "the merge conflicts in " + clean_message(tree->out.substr(tree_id.size() + 1))};
  if (!tree->ok()) return fail(Errc::unreachable, "git merge-tree: " + clean_message(tree->err));
  const std::string date = std::to_string(request.date_unix_ms / 1000) + " +0000";
  const std::pair<const char*, std::string> identity[] = {
      {"GIT_AUTHOR_NAME", request.author_name},
      {"GIT_AUTHOR_EMAIL", request.author_email},
      {"GIT_COMMITTER_NAME", request.author_name},
      {"GIT_COMMITTER_EMAIL", request.author_email},
      {"GIT_AUTHOR_DATE", date},
      {"GIT_COMMITTER_DATE", date}};
  for (const auto& [name, value] : identity) copy.set(name, value);
  auto commit =
      copy.run({"commit-tree", tree_id, "-p", base, "-p", request.head_sha, "-m", request.message});
  if (!commit) return tl::unexpected<Error>(commit.error());
  return Merged{parse_id(commit->substr(0, commit->find('\n'))), std::nullopt, {}};
}

/// One try: a result, or nothing when the base branch moved meanwhile.
std::optional<MergeResult> try_merge(const GitForgeOptions& options, const std::string& url,
                                     const MergeRequest& request) {
  auto copy = Copy::make(options, url);
  if (!copy) return merge_failed(copy.error());
  const auto advertised = copy->advertised({request.base_branch, request.branch});
  if (!advertised) return merge_failed(advertised.error());
  const std::string base_branch =
      request.base_branch.empty() ? advertised->head_branch : request.base_branch;
  const auto tip = advertised->branch(base_branch);
  if (!tip)
    return no_merge(MergeOutcome::failed, "base branch '" + base_branch + "' does not exist");
  if (auto ok = copy->fetch({"+" + branch_ref(base_branch) + ":refs/muster/base"}, false); !ok)
    return merge_failed(ok.error());
  const auto merged = copy->contains("refs/muster/base", request.head_sha);
  if (!merged) return merge_failed(merged.error());
  if (*merged)
    return MergeResult{MergeOutcome::already_merged, *tip,
                       "'" + base_branch + "' contains " + request.head_sha};
  const auto now = advertised->branch(request.branch);
  if (now != request.head_sha)
    return no_merge(MergeOutcome::head_moved, "branch '" + request.branch + "' " +
                                                  (now ? "is at " + *now : "does not exist"));
  if (auto ok = copy->fetch({"+" + branch_ref(request.branch) + ":refs/muster/head"}, false); !ok)
    return merge_failed(ok.error());
  const auto made = make_merge(*copy, *tip, request);
  if (!made) return merge_failed(made.error());
  if (!made->conflict.empty()) return no_merge(MergeOutcome::conflict, made->conflict);
  const std::string commit = to_string(made->commit);
  const auto done = copy->swap(base_branch, *tip, commit);
  if (!done) return merge_failed(done.error());
  if (!*done) return std::nullopt;
  return MergeResult{MergeOutcome::merged, commit, "'" + base_branch + "' is at " + commit};
}

}  // namespace

PushResult RemoteForge::push(const std::string& url, const PushRequest& request) const {
  auto copy = Copy::make(options, url);
  if (!copy) return push_failed(copy.error());
  const auto advertised = copy->advertised({request.base_branch, request.branch});
  if (!advertised) return push_failed(advertised.error());
  const auto now = advertised->branch(request.branch);
  if (now == request.head_sha) return already_there(request.branch);
  if (now && !request.replace)
    return {PushOutcome::branch_exists,
            "branch '" + request.branch + "' exists already, at " + *now};
  const std::string base_branch =
      request.base_branch.empty() ? advertised->head_branch : request.base_branch;
  if (request.branch == base_branch || request.branch == advertised->head_branch)
    return refused_base_branch(request.branch);
  const auto tip = advertised->branch(base_branch);
  if (!tip)
    return {PushOutcome::base_moved, "base branch '" + base_branch + "' does not exist any more"};
  const auto base = fetch_base(*copy, base_branch, *tip, request.base_sha);
  if (!base) return push_failed(base.error());
  if (!*base)
    return {PushOutcome::base_moved,
            "base branch '" + base_branch + "' does not contain " + request.base_sha + " any more"};
  if (auto ok = add_checked_pack(*copy, request); !ok) return push_failed(ok.error());

  const auto done = copy->swap(request.branch, now.value_or(""), request.head_sha);
  if (!done) return push_failed(done.error());
  if (*done)
    return {PushOutcome::pushed, "branch '" + request.branch + "' is at " + request.head_sha};
  const auto after = copy->advertised({request.branch});
  if (after && after->branch(request.branch) == request.head_sha)
    return already_there(request.branch);
  return {PushOutcome::branch_exists, "another push came first to branch '" + request.branch + "'"};
}

MergeResult RemoteForge::merge(const std::string& url, const MergeRequest& request) const {
  for (int race = 0; race < kPushRaces; ++race)
    if (auto result = try_merge(options, url, request)) return *result;
  return no_merge(MergeOutcome::failed, "the base branch keeps moving; try again");
}

Result<void> RemoteForge::delete_branch(const std::string& url, const std::string& branch,
                                        const std::string& expected_sha) const {
  const auto copy = Copy::make(options, url);
  if (!copy) return tl::unexpected<Error>(copy.error());
  const auto advertised = copy->advertised({branch});
  if (!advertised) return tl::unexpected<Error>(advertised.error());
  const auto now = advertised->branch(branch);
  if (!now) return {};
  if (*now != expected_sha) return fail(Errc::conflict, "branch '" + branch + "' is at " + *now);
  const auto done = copy->swap(branch, expected_sha, "");
  if (!done) return tl::unexpected<Error>(done.error());
  if (!*done) return fail(Errc::conflict, "branch '" + branch + "' was changed meanwhile");
  return {};
}

Result<std::string> RemoteForge::diff(const std::string& url, const std::string& base_sha,
                                      const std::string& head_sha, std::size_t limit) const {
  const auto copy = Copy::make(options, url);
  if (!copy) return tl::unexpected<Error>(copy.error());
  if (auto ok = copy->fetch({base_sha, head_sha}, false); !ok)
    return tl::unexpected<Error>(ok.error());
  return run_diff(*copy, base_sha + "..." + head_sha, limit);
}

Result<std::string> RemoteForge::diff_pack(const std::string& url, const PushRequest& request,
                                           std::size_t limit) const {
  const auto copy = Copy::make(options, url);
  if (!copy) return tl::unexpected<Error>(copy.error());
  if (auto ok = copy->fetch({request.base_sha}, true); !ok)
    return tl::unexpected<Error>(ok.error());
  if (auto ok = add_checked_pack(*copy, request); !ok) return tl::unexpected<Error>(ok.error());
  return run_diff(*copy, request.base_sha + ".." + request.head_sha, limit);
}

}  // namespace muster::actors::git
