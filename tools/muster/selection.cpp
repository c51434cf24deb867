#include "tools/muster/selection.hpp"

#include <glob.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "actors/spec/units.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "storage/base/process.hpp"
#include "tools/muster/repository_check.hpp"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;
using actors::RepositorySource;

constexpr std::size_t kMaxRepositories = 50'000;
constexpr std::size_t kMaxListFile = 16u << 20;

struct Candidate {
  Selected entry;
  std::string pointer, file;
  std::size_t line = 0;
  std::string problem;
};

class Resolver {
 public:
  Resolver(const actors::FleetSpec& spec, const SelectionOptions& options)
      : spec_(spec), options_(options) {}

  Selection run() {
    for (std::size_t i = 0; i < spec_.repositories.size(); ++i) {
      pointer_ = "/repositories/" + std::to_string(i);
      add_source(spec_.repositories[i]);
    }
    exclude();
    if (options_.check) check_all();
    refuse_same_names();
    for (Candidate& c : candidates_) {
      if (c.problem.empty())
        result_.repositories.push_back(std::move(c.entry));
      else
        result_.problems.push_back({c.pointer, c.file, c.line, std::move(c.problem)});
    }
    if (result_.repositories.empty() && result_.problems.empty())
      result_.problems.push_back({"/repositories", "", 0,
                                  result_.excluded == 0
                                      ? "selects no repository"
                                      : "selects no repository: all " +
                                            std::to_string(result_.excluded) + " are excluded"});
    return std::move(result_);
  }

 private:
  void problem(std::string message, const std::string& file = "", std::size_t line = 0) {
    result_.problems.push_back({pointer_, file, line, std::move(message)});
  }

  void add_source(const RepositorySource& source) {
    switch (source.kind) {
      case RepositorySource::Kind::path:
        return add_path(source);
      case RepositorySource::Kind::url:
        return add_one(source.value, source, options_.directory, "", 0);
      case RepositorySource::Kind::file:
        return add_file(source);
    }
  }

  void add_path(const RepositorySource& source) {
    if (source.value.find_first_of("*?[") == std::string::npos)
      return add_one(source.value, source, options_.directory, "", 0);
    const fs::path pattern = options_.directory / source.value;
    glob_t found{};
    const int status = ::glob(pattern.c_str(), GLOB_BRACE, nullptr, &found);
    if (status != 0 && status != GLOB_NOMATCH) problem("can't read what matches " + source.value);
    std::size_t repositories = 0;
    for (std::size_t i = 0; i < found.gl_pathc; ++i) {
      if (!looks_like_repository(found.gl_pathv[i])) continue;
      ++repositories;
      add_one(found.gl_pathv[i], source, options_.directory, "", 0);
    }
    if (found.gl_pathc == 0)
      problem("nothing matches " + pattern.string());
    else if (repositories == 0)
      problem("nothing that matches " + pattern.string() + " is a git repository");
    ::globfree(&found);
  }

  void add_file(const RepositorySource& source) {
    const fs::path path = options_.directory / source.value;
    const auto text = read_file(path, kMaxListFile);
    if (!text) return problem("can't read the list: " + text.error().message);
    std::size_t line = 0, listed = 0;
    for (std::size_t begin = 0; begin < text->size();) {
      const std::size_t end = std::min(text->find('\n', begin), text->size());
      const std::string entry = content(text->substr(begin, end - begin));
      begin = end + 1;
      ++line;
      if (entry.empty()) continue;
      ++listed;
      add_one(entry, source, path.parent_path(), source.value, line);
    }
    if (listed == 0) problem("the list " + path.string() + " names no repository");
  }

  /// Without its comment and blanks around it; a '#' inside a word belongs to the word.
  static std::string content(const std::string& line) {
    std::size_t end = line.size();
    for (std::size_t i = 0; i < line.size(); ++i)
      if (line[i] == '#' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) {
        end = i;
        break;
      }
    const std::size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos || first >= end) return "";
    const std::size_t last = line.find_last_not_of(" \t\r", end - 1);
    return line.substr(first, last + 1 - first);
  }

  void add_one(const std::string& written, const RepositorySource& source, const fs::path& base,
               const std::string& file, std::size_t line) {
    const auto name = parse_repository(written, fs::absolute(base).string());
    if (!name) return problem(name.error().message, file, line);
    if (!seen_.insert(name->canonical_url).second) {
      ++result_.duplicates;
      return;
    }
    if (candidates_.size() >= kMaxRepositories)
      return problem("selects more than " + std::to_string(kMaxRepositories) + " repositories",
                     file, line);
    candidates_.push_back({{name->owner_name, name->fetch_url, name->canonical_url,
                            source.base_branch, source.labels},
                           pointer_,
                           file,
                           line,
                           ""});
  }

  void exclude() {
    const auto excluded = [&](const Candidate& c) {
      return std::any_of(spec_.exclude.begin(), spec_.exclude.end(), [&](const std::string& glob) {
        return actors::glob_match(glob, c.entry.repository);
      });
    };
    result_.excluded = std::erase_if(candidates_, excluded);
    if (options_.limit == 0 || candidates_.size() <= options_.limit) return;
    result_.beyond_limit = candidates_.size() - options_.limit;
    candidates_.erase(candidates_.begin() + static_cast<std::ptrdiff_t>(options_.limit),
                      candidates_.end());
  }

  void check_all() {
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      for (std::size_t i = next++; i < candidates_.size(); i = next++) check(candidates_[i]);
    };
    std::vector<std::jthread> workers;
    const std::size_t count = std::min(options_.parallel, candidates_.size());
    for (std::size_t i = 1; i < count; ++i) workers.emplace_back(work);
    work();
  }

  void check(Candidate& c) const {
    auto branch = resolve_base_branch(c.entry.url, c.entry.base_branch);
    if (!branch)
      c.problem = c.entry.repository + ": " + branch.error().message;
    else if (!branch->empty() && *branch == spec_.delivery.branch &&
             spec_.delivery.mode != actors::fbs::DeliveryMode::none)
      c.problem = c.entry.repository + ": delivery.branch \"" + *branch +
                  "\" is its base branch; choose another";
    else
      c.entry.base_branch = std::move(*branch);
  }

  /// OWNER/NAME names runs, pull requests and locks, so it must be unique in a fleet.
  void refuse_same_names() {
    std::map<std::string, std::string> urls;
    for (Candidate& c : candidates_) {
      const auto [at, added] = urls.try_emplace(c.entry.repository, c.entry.canonical_url);
      if (!added && c.problem.empty())
        c.problem = c.entry.canonical_url + " and " + at->second + " are both named " +
                    c.entry.repository + "; exclude one";
    }
  }

  const actors::FleetSpec& spec_;
  const SelectionOptions& options_;
  std::string pointer_;
  std::set<std::string> seen_;
  std::vector<Candidate> candidates_;
  Selection result_;
};

}  // namespace

Selection resolve_selection(const actors::FleetSpec& spec, const SelectionOptions& options) {
  return Resolver(spec, options).run();
}

}  // namespace muster::cli
