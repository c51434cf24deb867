#include "tools/muster/prepare.hpp"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "storage/base/files.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kMaxShown = 50;

bool is_url(const std::string& text) {
  if (text.find("://") != std::string::npos) return true;
  const std::size_t colon = text.find(':');
  return colon != std::string::npos && text.find('/') > colon;  // git@host:acme/api
}

/// Puts the options over the file's document and remembers which option said what.
class Overlay {
 public:
  explicit Overlay(json& document) : document_(document) {}

  void set(const std::string& pointer, const std::string& option, json value) {
    document_[json::json_pointer(pointer)] = std::move(value);
    options_[pointer] = option;
  }
  void text(const std::string& pointer, const std::string& option, const std::string& value) {
    if (!value.empty()) set(pointer, option, value);
  }
  void texts(const std::string& pointer, const std::string& option,
             const std::vector<std::string>& value) {
    if (!value.empty()) set(pointer, option, value);
  }
  /// The option that said this, or something around it; "" when the file did.
  [[nodiscard]] std::string option(std::string pointer) const {
    for (;;) {
      if (const auto found = options_.find(pointer); found != options_.end()) return found->second;
      if (pointer.empty()) return "";
      pointer.resize(pointer.rfind('/'));
    }
  }

  void apply(const FleetInput& in) {
    text("/name", "--name", in.name);
    text("/prompt", "--prompt", in.prompt);
    sources(in);
    texts("/exclude", "--exclude", in.exclude);
    text("/environment/image", "--image", in.image);
    if (in.command.size() == 1) set("/agent/run", "the command", in.command.front());
    if (in.command.size() > 1) set("/agent/run", "the command", in.command);
    texts("/agent/files", "--file", in.files);
    verifications(in.verify);
    if (in.concurrency) set("/rollout/concurrency", "--concurrent", *in.concurrency);
    if (in.max_attempts) set("/rollout/retry/max_attempts", "--max-attempts", *in.max_attempts);
    text("/delivery/branch", "--branch", in.branch);
    text("/delivery/conflict_strategy", "--conflict-strategy", in.conflict_strategy);
    text("/delivery/commit/message", "--commit-message", in.message);
    text("/delivery/pull_request/title", "--pr-title", in.title);
    text("/delivery/pull_request/body", "--pr-body", in.body);
    if (in.draft) set("/delivery/pull_request/draft", "--draft", true);
    texts("/delivery/pull_request/labels", "--label", in.labels);
    texts("/delivery/pull_request/reviewers", "--reviewer", in.reviewers);
    texts("/delivery/pull_request/assignees", "--assignee", in.assignees);
    if (in.file.empty() && in.name.empty() && !in.branch.empty())
      set("/name", "--branch", name_from_branch(in.branch));
  }

 private:
  void sources(const FleetInput& in) {
    if (in.repositories.empty() && in.lists.empty()) return;
    json all = json::array();
    const auto add = [&](const char* key, const std::string& value, const std::string& option) {
      json source{{key, value}};
      if (!in.base_branch.empty()) source["base_branch"] = in.base_branch;
      options_["/repositories/" + std::to_string(all.size())] = option + " " + value;
      all.push_back(std::move(source));
    };
    for (const std::string& value : in.repositories)
      add(is_url(value) ? "url" : "path", value, "-R");
    for (const std::string& value : in.lists) add("file", value, "--repos");
    document_["repositories"] = std::move(all);
  }

  void verifications(const std::vector<std::string>& commands) {
    if (commands.empty()) return;
    json all = json::array();
    for (const std::string& command : commands) {
      options_["/verify/" + std::to_string(all.size())] = "--verify";
      const std::string name = all.empty() ? "verify" : "verify-" + std::to_string(all.size() + 1);
      all.push_back({{"name", name}, {"run", command}});
    }
    document_["verify"] = std::move(all);
  }

  json& document_;
  std::map<std::string, std::string> options_;
};

Located locate(const actors::Problem& problem, const YamlSource& source, const Overlay& overlay,
               bool from_file) {
  const std::string option = overlay.option(problem.pointer);
  const std::string subject = problem.at_key ? "" : actors::dotted(problem.pointer);
  if (!option.empty()) return {"", {}, option, problem.message};
  if (!from_file) return {"", {}, subject, problem.message};
  std::string clean = subject;
  if (const std::size_t twice = clean.find("~duplicate"); twice != std::string::npos)
    clean.resize(twice);
  return {source.file, source.place(problem), clean, problem.message};
}

/// In one-line mode, what a missing key asks of the command line.
std::string missing_option(const std::string& message) {
  if (message == "\"name\" is missing") return "give a branch with -B, or a name with --name";
  if (message == "\"repositories\" is missing") return "give the repositories with -R or --repos";
  if (message == "\"agent\" is missing" || message == "\"run\" is missing")
    return "give the command after --";
  return message;
}

class Preparation {
 public:
  explicit Preparation(const FleetInput& input) : input_(input) {}

  tl::expected<PreparedFleet, FleetProblems> run() {
    if (!read_document()) return tl::unexpected(std::move(found_));
    Overlay overlay(document_);
    overlay.apply(input_);
    std::vector<actors::Problem> problems = source_.problems;
    PreparedFleet fleet;
    fleet.spec = actors::read_fleet_json(document_.dump(), problems);
    // A part that was understood is looked into even when another is wrong: all is said in one
    // round.
    const auto understood = [&](const char* part) {
      return std::none_of(problems.begin(), problems.end(),
                          [&](const actors::Problem& p) { return p.pointer.starts_with(part); });
    };
    if (document_.contains("repositories") && understood("/repositories") && understood("/exclude"))
      fleet.selection =
          resolve_selection(fleet.spec, {directory_, input_.limit, 16, input_.check_repositories});
    if (document_.contains("agent") && understood("/agent"))
      fleet.bundle = bundle_agent(fleet.spec, directory_, problems);
    for (actors::WorkspaceRepository& other : fleet.spec.workspace)
      if (other.path) other.location = (directory_ / other.location).lexically_normal().string();
    report(problems, overlay);
    report(fleet.selection.problems, overlay);
    if (!found_.problems.empty()) return tl::unexpected(std::move(found_));
    fleet.spec_json = actors::to_canonical_json(fleet.spec);
    return fleet;
  }

 private:
  bool read_document() {
    std::error_code error;
    directory_ = fs::current_path(error);
    document_ = json::object();
    if (input_.file.empty()) return true;
    directory_ = fs::absolute(fs::path(input_.file)).parent_path();
    auto text = read_file(input_.file, actors::kMaxSpecBytes);
    if (!text) {
      found_.problems.push_back({"", {}, "", text.error().message});
      return false;
    }
    found_.text = *text;
    source_ = read_yaml(input_.file, std::move(*text));
    if (!source_.json.empty()) document_ = json::parse(source_.json);
    if (document_.is_object() && !source_.json.empty()) return true;
    if (source_.problems.empty())
      source_.problems.push_back({"", "a fleet file is a mapping (key: value)"});
    json nothing;
    report(source_.problems, Overlay(nothing));
    return false;
  }

  void report(const std::vector<actors::Problem>& problems, const Overlay& overlay) {
    for (actors::Problem problem : problems) {
      if (input_.file.empty()) problem.message = missing_option(problem.message);
      const bool asks = problem.message.starts_with("give ");
      Located located = locate(problem, source_, overlay, !input_.file.empty());
      if (asks) located.subject.clear();
      found_.problems.push_back(std::move(located));
    }
    sort();
  }

  void report(const std::vector<SelectionProblem>& problems, const Overlay& overlay) {
    for (const SelectionProblem& p : problems) {
      if (p.line != 0)
        found_.problems.push_back({p.file, {p.line, 0}, "", p.message});
      else
        found_.problems.push_back(
            locate({p.pointer, p.message}, source_, overlay, !input_.file.empty()));
    }
    sort();
  }

  /// In the fleet file's order; lists of repositories after it.
  void sort() {
    const auto order = [&](const Located& p) {
      return std::tuple(!p.file.empty() && p.file != input_.file, p.place.line, p.place.column);
    };
    std::stable_sort(found_.problems.begin(), found_.problems.end(),
                     [&](const Located& a, const Located& b) { return order(a) < order(b); });
  }

  const FleetInput& input_;
  fs::path directory_;
  json document_;
  YamlSource source_;
  FleetProblems found_;
};

}  // namespace

tl::expected<PreparedFleet, FleetProblems> prepare_fleet(const FleetInput& input) {
  return Preparation(input).run();
}

std::string render_problems(const FleetProblems& found) {
  std::string out;
  const std::size_t shown = std::min(found.problems.size(), kMaxShown);
  for (std::size_t i = 0; i < shown; ++i) out += render_problem(found.problems[i], found.text);
  if (found.problems.size() > shown)
    out += "and " + std::to_string(found.problems.size() - shown) + " more\n";
  return out;
}

std::string name_from_branch(const std::string& branch) {
  std::string name;
  for (const char c : branch.substr(branch.rfind('/') + 1)) {
    const char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const bool kept = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') ||
                      lower == '.' || lower == '-';
    name += kept ? lower : '-';
  }
  name.erase(0, name.find_first_not_of(".-"));
  return name.substr(0, 63);
}

std::string dry_run_name(const std::string& name, Instant now) {
  const std::string t = to_rfc3339(now);  // 2026-11-22T15:45:01.000Z
  const std::string suffix = ".dry-" + t.substr(5, 2) + t.substr(8, 2) + t.substr(11, 2) +
                             t.substr(14, 2) + t.substr(17, 2);
  return name.substr(0, 63 - suffix.size()) + suffix;
}

}  // namespace muster::cli
