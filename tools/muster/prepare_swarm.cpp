#include "tools/muster/prepare_swarm.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "storage/base/files.hpp"
#include "storage/base/process.hpp"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;
using actors::Problem;
using nlohmann::json;

/// For the command that makes the plan.
constexpr Duration kPlanTime{5 * 60'000};

/// The caller's own environment: the command is the caller's.
std::map<std::string, std::string> own_environment() {
  std::map<std::string, std::string> own;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (const auto equals = text.find('='); equals != std::string::npos)
      own[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return own;
}

/// {run: text or a list of texts}, and nothing else.
std::optional<actors::Command> command_in(const json& facets) {
  const auto run = facets.find("run");
  if (run == facets.end() || facets.size() != 1) return std::nullopt;
  actors::Command command;
  if (run->is_string()) {
    command.shell = run->get<std::string>();
  } else if (run->is_array()) {
    for (const json& word : *run) {
      if (!word.is_string()) return std::nullopt;
      command.argv.push_back(word.get<std::string>());
    }
  }
  if (command.empty()) return std::nullopt;
  return command;
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);  // npos + 1 is 0.
}

json command_json(const actors::Command& command) {
  return command.shell.empty() ? json(command.argv) : json(command.shell);
}

class SwarmPreparation {
 public:
  explicit SwarmPreparation(const std::string& file)
      : file_(file), directory_(fs::absolute(fs::path(file)).parent_path()) {}

  tl::expected<PreparedSwarm, FleetProblems> run() {
    if (!read_document() || !generate_facets()) return failed();
    auto spec = actors::swarm::parse_swarm(swarm_.document.dump());
    if (!spec) {
      for (Problem& problem : spec.error()) problems_.push_back(std::move(problem));
      return failed();
    }
    swarm_.spec = std::move(*spec);
    resolve_repositories();
    bundle_agents();
    if (!problems_.empty()) return failed();
    return std::move(swarm_);
  }

 private:
  tl::unexpected<FleetProblems> failed() {
    for (const Problem& problem : problems_)
      found_.problems.push_back({source_.file, source_.place(problem),
                                 problem.at_key ? "" : actors::dotted(problem.pointer),
                                 problem.message});
    std::stable_sort(found_.problems.begin(), found_.problems.end(),
                     [](const Located& a, const Located& b) {
                       return std::tuple(a.place.line, a.place.column) <
                              std::tuple(b.place.line, b.place.column);
                     });
    return tl::unexpected(std::move(found_));
  }

  bool read_document() {
    auto text = read_file(file_, actors::swarm::kMaxSwarmBytes);
    if (!text) {
      found_.problems.push_back({"", {}, "", text.error().message});
      return false;
    }
    found_.text = *text;
    source_ = read_yaml(file_, std::move(*text));
    problems_ = source_.problems;
    if (source_.json.empty()) return false;
    swarm_.document = json::parse(source_.json);
    if (!swarm_.document.is_object())
      problems_.push_back({"", "a swarm file is a mapping (key: value)"});
    return problems_.empty();
  }

  /// `facets: {run: COMMAND}`: the command, run here in the file's directory, prints the list, as
  /// JSON or YAML.
  bool generate_facets() {
    const auto facets = swarm_.document.find("facets");
    if (facets == swarm_.document.end() || !facets->is_object()) return true;
    const auto command = command_in(*facets);
    if (!command) {
      problems_.push_back(
          {"/facets", "must be a list of facets, or {run: a command that prints it}"});
      return false;
    }
    ProcessSpec process;
    process.argv = command->to_argv();
    process.env = own_environment();
    process.directory = directory_.string();
    process.timeout = kPlanTime;
    process.max_output = actors::swarm::kMaxSwarmBytes;
    const auto done = run_process(process);
    std::string trouble;
    if (!done)
      trouble = "can't be run: " + done.error().message;
    else if (done->timed_out)
      trouble = "took longer than " + muster::to_string(kPlanTime);
    else if (!done->ok())
      trouble = "exited with " + std::to_string(done->exit_code) +
                (done->err.empty() ? "" : ": " + last_line(done->err));
    else if (done->output_truncated)
      trouble = "printed more than " + std::to_string(process.max_output) + " bytes";
    if (trouble.empty()) {
      const YamlSource printed = read_yaml("its output", done->out);
      if (printed.json.empty() || !printed.problems.empty())
        trouble = "did not print a list of facets";
      else
        *facets = json::parse(printed.json);
      if (trouble.empty() && !facets->is_array()) trouble = "did not print a list of facets";
    }
    if (!trouble.empty()) problems_.push_back({"/facets/run", trouble});
    return trouble.empty();
  }

  /// Each by itself, so that every one has its answer and the order stays.
  void resolve_repositories() {
    for (std::size_t i = 0; i < swarm_.spec.repositories.size(); ++i) {
      const auto& meant = swarm_.spec.repositories[i];
      const std::string pointer = "/repositories/" + std::to_string(i);
      if (!meant.url.empty()) {
        problems_.push_back({pointer + "/url",
                             "a swarm integrates in repositories on musterd's machine: give a "
                             "path"});
        continue;
      }
      actors::FleetSpec one;
      one.repositories.push_back(
          {actors::RepositorySource::Kind::path, meant.path, meant.base_branch, {}});
      Selection found = resolve_selection(one, {directory_, 0, 1, true});
      for (const SelectionProblem& problem : found.problems)
        problems_.push_back({pointer + "/path", problem.message});
      if (!found.problems.empty()) continue;
      if (found.repositories.size() != 1)
        problems_.push_back({pointer + "/path", "must be one repository, and is " +
                                                    std::to_string(found.repositories.size())});
      else
        swarm_.repositories.push_back(std::move(found.repositories[0]));
    }
  }

  /// The agent's command resolved, and its script noted.
  void bundle_one(json& agent, const actors::Command& run, const std::string& pointer) {
    actors::FleetSpec one;
    one.agent.run = run;
    std::vector<Problem> problems;
    const AgentBundle bundle = bundle_agent(one, directory_, problems);
    for (Problem& problem : problems) problems_.push_back({pointer, std::move(problem.message)});
    scripts_.insert(bundle.files.begin(), bundle.files.end());
    agent["run"] = command_json(one.agent.run);
  }

  void bundle_agents() {
    bundle_one(swarm_.document["agent"], swarm_.spec.agent, "/agent/run");
    json& facets = swarm_.document["facets"];
    for (std::size_t i = 0; i < facets.size(); ++i) {
      const auto& facet = swarm_.spec.facets[i];
      const std::string at = "/facets/" + std::to_string(i);
      if (facets[i].contains("agent"))
        bundle_one(facets[i]["agent"], facet.agent, at + "/agent/run");
      if (!facets[i].contains("best_of")) continue;
      const char* by = facet.best_of.judged ? "judge" : "score";
      bundle_one(facets[i]["best_of"][by], facet.best_of.run, at + "/best_of/" + by + "/run");
    }
    for (std::size_t i = 0; i < swarm_.spec.drivers.size(); ++i)
      bundle_one(swarm_.document["merge"]["drivers"][i], swarm_.spec.drivers[i].run,
                 "/merge/drivers/" + std::to_string(i) + "/run");
    if (swarm_.document.contains("resolver"))
      bundle_one(swarm_.document["resolver"], swarm_.spec.resolver.run, "/resolver/run");
    if (!swarm_.spec.reducer.run.empty())
      bundle_one(swarm_.document["results"]["reducer"], swarm_.spec.reducer.run,
                 "/results/reducer/run");
    actors::FleetSpec all;
    all.agent.run.shell = "true";
    all.agent.files = swarm_.spec.files;
    all.environment = swarm_.spec.environment;
    swarm_.bundle = bundle_agent(all, directory_, problems_, scripts_);
    for (std::size_t i = 0; i < all.environment.files.size(); ++i)
      swarm_.document["environment"]["files"][i]["source"] = all.environment.files[i].source;
  }

  std::string file_;
  fs::path directory_;
  YamlSource source_;
  std::vector<Problem> problems_;
  std::set<std::string> scripts_;
  PreparedSwarm swarm_;
  FleetProblems found_;
};

}  // namespace

tl::expected<PreparedSwarm, FleetProblems> prepare_swarm(const std::string& file) {
  return SwarmPreparation(file).run();
}

}  // namespace muster::cli
