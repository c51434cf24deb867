// Reading: one function per section of the file.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "actors/spec/fleet_spec.hpp"
#include "actors/spec/json_walk.hpp"
#include "actors/spec/schema.hpp"
#include "actors/spec/units.hpp"

namespace muster::actors {
namespace {

using detail::Walk;
using nlohmann::json;

bool is_name(const std::string& text, const char* extra) {
  if (text.empty() || text.size() > 100) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view(extra).find(c) != std::string_view::npos;
  });
}

void check_branch(Walk& walk, const std::string& key, const std::string& branch) {
  if (!branch.empty() && !is_branch_name(branch))
    walk.problem(key, "\"" + branch + "\" is not a branch name that git accepts");
}

void check_one_line(Walk& walk, const std::string& key, const std::string& text) {
  if (text.find('\n') != std::string::npos) walk.problem(key, "must be one line");
}

void read_source(const json& value, const std::string& at, FleetSpec& spec,
                 std::vector<Problem>& problems) {
  if (value.is_string()) {
    problems.push_back({at, "say what it is: \"path: ...\", \"url: ...\" or \"file: ...\""});
    return;
  }
  Walk walk(&value, at, problems);
  RepositorySource source;
  std::string path, file, url;
  walk.text("path", path);
  walk.text("file", file);
  walk.text("url", url);
  walk.text("base_branch", source.base_branch, 200);
  walk.text_map("labels", source.labels);
  check_branch(walk, "base_branch", source.base_branch);
  walk.finish();
  if (!walk.present()) return;
  const int named =
      int{value.contains("path")} + int{value.contains("file")} + int{value.contains("url")};
  if (named != 1) {
    problems.push_back({at, "must have exactly one of path, file and url"});
    return;
  }
  source.kind = value.contains("path")   ? RepositorySource::Kind::path
                : value.contains("file") ? RepositorySource::Kind::file
                                         : RepositorySource::Kind::url;
  source.value = path + file + url;
  if (source.value.empty() && problems.empty()) problems.push_back({at, "names nothing"});
  spec.repositories.push_back(std::move(source));
}

bool is_reserved(const std::string& name) {
  static const std::set<std::string> kReserved{"REPOSITORY", "DRY_RUN", "HOME", "TMPDIR"};
  return name.starts_with("MUSTER_") || kReserved.contains(name);
}

bool is_variable(const std::string& name) {
  return is_name(name, "_") && std::isdigit(static_cast<unsigned char>(name.front())) == 0;
}

bool is_image(const std::string& image) {
  if (image == "host" || image == "devcontainer") return true;
  if (image.starts_with("env:")) return is_name(image.substr(4), "._-");
  if (image.starts_with("docker://")) {
    const std::size_t slash = image.find('/', 9);
    return slash > 9 && slash != std::string::npos && !image.ends_with("/") &&
           !image.ends_with(":");
  }
  const bool path =
      image.starts_with("dir:") || image.starts_with("tar:") || image.starts_with("oci:");
  return path && !image.ends_with(":");
}

void read_image(Walk& walk, std::string& image) {
  walk.text("image", image);
  if (!is_image(image))
    walk.problem("image",
                 "\"" + image +
                     "\" is not an image: host, devcontainer, env:NAME, dir:PATH, tar:PATH, "
                     "oci:PATH[:TAG] or docker://HOST/NAME[:TAG]");
}

void read_cpus(Walk& walk, std::uint32_t& milli) {
  const json* value = walk.find("cpus");
  if (value == nullptr) return;
  if (!value->is_number())
    return walk.problem("cpus", "must be a number like 1 or 0.5, not " + detail::described(*value));
  const double cpus = value->get<double>();
  if (cpus < 0.01 || cpus > 1024) return walk.problem("cpus", "must be between 0.01 and 1024");
  milli = static_cast<std::uint32_t>(std::lround(cpus * 1000));
}

/// Below HOME or /tmp, in plain words.
bool is_place(const std::string& path) {
  if (!path.starts_with("/home/agent/") && !path.starts_with("/tmp/")) return false;
  const std::string whole = path + "/";
  return whole.find("//") == std::string::npos && whole.find("/./") == std::string::npos &&
         whole.find("/../") == std::string::npos;
}

void read_mode(Walk& walk, std::uint32_t& mode) {
  const json* value = walk.find("mode");
  if (value == nullptr) return;
  const std::string text = value->is_string() ? value->get<std::string>() : "";
  if (text.size() < 3 || text.size() > 4 ||
      text.find_first_not_of("01234567") != std::string::npos ||
      std::stoul(text, nullptr, 8) > 0777)
    return walk.problem("mode", "must be permissions in quotes, like \"0644\" or \"0755\"");
  mode = static_cast<std::uint32_t>(std::stoul(text, nullptr, 8));
}

void read_placed_file(const json& value, const std::string& at, Environment& env,
                      std::vector<Problem>& problems) {
  Walk walk(&value, at, problems);
  PlacedFile file;
  walk.required("source");
  walk.required("path");
  walk.text("source", file.source, 1024);
  walk.text("path", file.path, 1024);
  const std::string source = "/" + file.source + "/";
  if (file.source.starts_with("/") || source.find("/../") != std::string::npos)
    walk.problem("source", "must be a path at or below the fleet file's directory");
  if (!file.path.empty() && !is_place(file.path))
    walk.problem("path", "\"" + file.path + "\" must be a whole path below /home/agent or /tmp");
  read_mode(walk, file.mode);
  walk.choice("owner", {"agent", "root"}, [&](std::size_t i) { file.root = i == 1; });
  walk.finish();
  for (const PlacedFile& other : env.files)
    if (!file.path.empty() && other.path == file.path)
      walk.problem("path", "\"" + file.path + "\" is named twice");
  env.files.push_back(std::move(file));
}

}  // namespace

void detail::read_environment(Walk walk, Environment& to) {
  auto& problems = walk.problems();
  read_image(walk, to.image);
  walk.each("setup", kMaxSteps, [&](const json& value, const std::string& at) {
    Command command;
    detail::read_command(value, at, problems, command);
    to.setup.push_back(std::move(command));
  });
  walk.text_map("env", to.env);
  for (const auto& [name, value] : to.env) {
    const std::string at = walk.pointer("env") + "/" + detail::escape_key(name);
    if (!is_variable(name))
      problems.push_back({at, "\"" + name + "\" is not a variable's name", true});
    if (is_reserved(name)) problems.push_back({at, name + " is set by Muster itself", true});
  }
  walk.texts("secrets", to.secrets);
  for (std::size_t i = 0; i < to.secrets.size(); ++i)
    if (!is_variable(to.secrets[i]) || is_reserved(to.secrets[i]))
      problems.push_back({walk.pointer("secrets") + "/" + std::to_string(i),
                          "\"" + to.secrets[i] +
                              "\" can't be a secret's name: it becomes a variable of the agent"});
  walk.each("files", kMaxListed, [&](const json& value, const std::string& at) {
    read_placed_file(value, at, to, problems);
  });
  walk.choice("network", {"none", "host"}, [&](std::size_t i) { to.host_network = i == 1; });
  Walk resources = walk.child("resources");
  read_cpus(resources, to.cpus_milli);
  resources.size("memory", to.memory_bytes, 16ull << 20);
  resources.number("pids", to.pids, 8, 1'000'000);
  resources.size("disk", to.disk_bytes, 16ull << 20);
  resources.finish();
  walk.finish();
}

namespace {

/// What it is called when the file does not say: the last part of where it is.
std::string name_of_location(std::string location) {
  while (location.ends_with("/")) location.pop_back();
  std::string name = location.substr(location.find_last_of("/:") + 1);
  if (name.ends_with(".git")) name.resize(name.size() - 4);
  return name;
}

void read_workspace_repository(const json& value, const std::string& at, FleetSpec& spec,
                               std::vector<Problem>& problems) {
  Walk walk(&value, at, problems);
  WorkspaceRepository to;
  std::string path, url;
  walk.text("name", to.name, 63);
  walk.text("path", path);
  walk.text("url", url);
  walk.text("base_branch", to.base_branch, 200);
  check_branch(walk, "base_branch", to.base_branch);
  walk.finish();
  if (!walk.present()) return;
  if (value.contains("path") == value.contains("url")) {
    problems.push_back({at, "must have exactly one of path and url"});
    return;
  }
  to.path = value.contains("path");
  to.location = path + url;
  if (to.location.empty() && problems.empty()) problems.push_back({at, "names nothing"});
  if (to.name.empty()) to.name = name_of_location(to.location);
  const bool plain = is_name(to.name, "._-") && std::isalnum(static_cast<unsigned char>(to.name.front())) != 0 &&
                     to.name.size() <= 63;
  if (!to.location.empty() && !plain)
    problems.push_back({at, "\"" + to.name + "\" is no name for a directory: give one with name"});
  for (const WorkspaceRepository& other : spec.workspace)
    if (other.name == to.name) problems.push_back({at, "\"" + to.name + "\" names two repositories: give one of them another name"});
  spec.workspace.push_back(std::move(to));
}

void read_workspace(Walk walk, FleetSpec& spec) {
  auto& problems = walk.problems();
  walk.each("repositories", kMaxWorkspaceRepositories, [&](const json& value, const std::string& at) {
    read_workspace_repository(value, at, spec, problems);
  });
  walk.finish();
}

void read_checkpoint(Walk walk, CheckpointPolicy& to) {
  if (!walk.present()) return;
  to.interval = kCheckpointInterval;
  walk.duration("interval", to.interval, Duration{1'000});
  walk.flag("resume", to.resume);
  walk.finish();
}

void read_agent(Walk walk, Agent& to) {
  walk.required("run");
  walk.command("run", to.run);
  walk.texts("files", to.files);
  walk.duration("timeout", to.timeout);
  walk.duration("idle_timeout", to.idle_timeout, Duration{0});
  walk.finish();
}

void read_verification(const json& value, const std::string& at, FleetSpec& spec,
                       std::vector<Problem>& problems) {
  Walk walk(&value, at, problems);
  Verification to;
  walk.required("name");
  walk.required("run");
  walk.text("name", to.name, 63);
  walk.command("run", to.run);
  walk.text("if_exists", to.if_exists);
  walk.duration("timeout", to.timeout);
  walk.finish();
  if (!to.name.empty() && !is_name(to.name, "._-"))
    walk.problem("name",
                 "\"" + to.name + "\" may hold letters, digits, dots, dashes and underscores only");
  const std::string& path = to.if_exists;
  if (path.starts_with("/") || path == ".." || path.starts_with("../") ||
      path.find("/../") != std::string::npos || path.ends_with("/.."))
    walk.problem("if_exists", "must be a path inside the repository");
  for (const Verification& other : spec.verify)
    if (!to.name.empty() && other.name == to.name)
      walk.problem("name", "\"" + to.name + "\" names two verifications");
  spec.verify.push_back(std::move(to));
}

void read_wave(const json& value, const std::string& at, std::vector<Wave>& waves,
               std::vector<Problem>& problems) {
  Wave wave;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() >= 1 &&
      value.get<std::uint64_t>() <= 1'000'000) {
    wave.count = value.get<std::uint32_t>();
  } else if (value.is_string()) {
    const auto percent = parse_percent(value.get_ref<const std::string&>());
    if (!percent) {
      problems.push_back({at, percent.error().message});
      return;
    }
    wave.permille = *percent;
    if (*percent == 0) problems.push_back({at, "must be more than 0%"});
  } else {
    problems.push_back({at, "must be a number of repositories or a percentage like 10%, not " +
                                detail::described(value)});
    return;
  }
  const auto same_unit = std::find_if(waves.rbegin(), waves.rend(), [&](const Wave& w) {
    return (w.count != 0) == (wave.count != 0);
  });
  if (same_unit != waves.rend() && wave.count <= same_unit->count &&
      wave.permille <= same_unit->permille)
    problems.push_back({at, "waves are cumulative: this one must be larger than the one before"});
  waves.push_back(wave);
}

void read_waves(Walk& walk, std::vector<Wave>& to) {
  const json* value = walk.find("waves");
  if (value == nullptr) return;
  auto& problems = walk.problems();
  const std::size_t before = problems.size();
  std::vector<Wave> waves;
  walk.each("waves", kMaxListed,
            [&](const json& item, const std::string& at) { read_wave(item, at, waves, problems); });
  if (problems.size() != before) return;
  if (waves.empty() || waves.back().permille != 1000)
    return walk.problem("waves",
                        "the last wave must be 100%, so that every repository has its turn");
  to = std::move(waves);
}

void read_retry(Walk walk, RetrySpec& to) {
  walk.number("max_attempts", to.max_attempts, 1, 100);
  static const std::vector<std::string> kClasses{"infrastructure", "agent", "verification",
                                                 "delivery"};
  if (walk.find("on") != nullptr) to.on.clear();
  walk.each("on", kClasses.size(), [&](const json& value, const std::string& at) {
    const auto found = std::find(kClasses.begin(), kClasses.end(),
                                 value.is_string() ? value.get<std::string>() : "");
    if (found == kClasses.end())
      walk.problems().push_back(
          {at, "must be one of infrastructure, agent, verification, delivery"});
    else
      to.on.push_back(static_cast<fbs::FailureClass>(1 + (found - kClasses.begin())));
  });
  walk.duration("backoff", to.backoff, Duration{0});
  walk.duration("max_backoff", to.max_backoff, Duration{0});
  walk.finish();
}

void read_rollout(Walk walk, Rollout& to) {
  read_waves(walk, to.waves);
  walk.number("concurrency", to.concurrency, 1, 100'000);
  Walk halt = walk.child("halt");
  if (const json* rate = halt.find("failure_rate")) {
    const auto percent = parse_percent(rate->is_string() ? rate->get<std::string>() : rate->dump());
    if (percent)
      to.halt_permille = *percent;
    else
      halt.problem("failure_rate", percent.error().message);
  }
  halt.number("min_runs", to.halt_min_runs, 1, 1'000'000);
  halt.finish();
  walk.number("priority", to.priority, -1000, 1000);
  read_retry(walk.child("retry"), to.retry);
  walk.duration("timeout", to.timeout);
  walk.texts("escalate", to.escalate);
  walk.finish();
}

void read_author(Walk& walk, CommitText& to) {
  std::string author;
  walk.text("author", author, 200);
  if (author.empty()) return;
  const std::size_t open = author.find(" <");
  const bool shaped = open != std::string::npos && open > 0 && author.ends_with(">") &&
                      author.size() > open + 3 &&
                      author.find_first_of("\n\r") == std::string::npos &&
                      author.find('<') == open + 1 && author.find('>') == author.size() - 1;
  if (!shaped) return walk.problem("author", "must look like \"Name <name@example.org>\"");
  to.author_name = author.substr(0, open);
  to.author_email = author.substr(open + 2, author.size() - open - 3);
}

void read_delivery(Walk walk, Delivery& to) {
  using fbs::ConflictStrategy;
  using fbs::DeliveryMode;
  walk.choice("mode", {"pull_request", "branch", "none"},
              [&](std::size_t i) { to.mode = static_cast<DeliveryMode>(i); });
  walk.text("branch", to.branch, 200);
  check_branch(walk, "branch", to.branch);
  walk.choice("conflict_strategy", {"skip", "replace"},
              [&](std::size_t i) { to.conflict_strategy = static_cast<ConflictStrategy>(i); });
  Walk commit = walk.child("commit");
  commit.text("message", to.commit.message, kMaxText);
  read_author(commit, to.commit);
  commit.flag("manual", to.commit.manual);
  commit.finish();
  Walk pull = walk.child("pull_request");
  pull.text("title", to.pull_request.title, 256);
  check_one_line(pull, "title", to.pull_request.title);
  pull.text("body", to.pull_request.body, kMaxText);
  pull.flag("draft", to.pull_request.draft);
  pull.texts("labels", to.pull_request.labels);
  pull.texts("reviewers", to.pull_request.reviewers);
  pull.texts("assignees", to.pull_request.assignees);
  pull.finish();
  walk.finish();
}

void read_fleet(Walk walk, FleetSpec& spec) {
  auto& problems = walk.problems();
  std::uint32_t version = 1;
  walk.number("version", version, 1, 1);
  walk.required("name");
  walk.text("name", spec.name, 200);
  if (!spec.name.empty() && !is_fleet_name(spec.name))
    walk.problem("name", "\"" + spec.name +
                             "\" must be lower-case letters, digits, dots and dashes, at most 63");
  walk.text("prompt", spec.prompt, kMaxText);
  walk.required("repositories");
  walk.each("repositories", kMaxSources, [&](const json& value, const std::string& at) {
    read_source(value, at, spec, problems);
  });
  if (const json* list = walk.find("repositories");
      list != nullptr && list->is_array() && list->empty())
    walk.problem("repositories", "selects nothing");
  walk.texts("exclude", spec.exclude);
  read_workspace(walk.child("workspace"), spec);
  detail::read_environment(walk.child("environment"), spec.environment);
  walk.required("agent");
  read_agent(walk.child("agent"), spec.agent);
  read_checkpoint(walk.child("checkpoint"), spec.checkpoint);
  walk.each("verify", kMaxSteps, [&](const json& value, const std::string& at) {
    read_verification(value, at, spec, problems);
  });
  if (spec.environment.setup.size() + spec.verify.size() > kMaxSteps)
    walk.problem("verify", "setup and verify have more than " + std::to_string(kMaxSteps) +
                               " commands together");
  read_rollout(walk.child("rollout"), spec.rollout);
  read_delivery(walk.child("delivery"), spec.delivery);
  if (spec.delivery.branch.empty()) spec.delivery.branch = "muster/" + spec.name;
  walk.finish();
}

}  // namespace

FleetSpec read_fleet_json(std::string_view text, std::vector<Problem>& problems) {
  FleetSpec spec;
  if (text.size() > kMaxSpecBytes) {
    problems.push_back({"", "is larger than " + size_text(kMaxSpecBytes)});
    return spec;
  }
  const json document = json::parse(text, nullptr, false);
  if (document.is_discarded()) {
    problems.push_back({"", "is not valid JSON"});
    return spec;
  }
  read_fleet(Walk(&document, "", problems), spec);
  add_schema_problems(text, fleet_schema(), problems);
  return spec;
}

tl::expected<FleetSpec, std::vector<Problem>> parse_fleet(std::string_view text) {
  std::vector<Problem> problems;
  FleetSpec spec = read_fleet_json(text, problems);
  if (!problems.empty()) return tl::unexpected(std::move(problems));
  return spec;
}

std::string dotted(std::string_view pointer) {
  std::string out;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);
    const std::size_t end = std::min(pointer.find('/'), pointer.size());
    const std::string_view part = pointer.substr(0, end);
    const bool index =
        !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    if (index)
      out += "[" + std::string(part) + "]";
    else
      out += (out.empty() ? "" : ".") + std::string(part);
    pointer.remove_prefix(end);
  }
  std::size_t at = 0;
  while ((at = out.find("~1", at)) != std::string::npos) out.replace(at, 2, "/");
  return out;
}

}  // namespace muster::actors
