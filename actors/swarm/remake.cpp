#include "actors/swarm/remake.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "actors/common.hpp"
#include "actors/swarm/scope.hpp"
#include "actors/swarm/shell_words.hpp"
#include "actors/swarm/swarm_fleets.hpp"

namespace muster::actors::swarm {
namespace {

constexpr std::size_t kShownPath = 200;

struct KnownRemaker {
  std::string_view name, tool, command;
};

constexpr std::string_view kNpm =
    "npm install --package-lock-only --ignore-scripts --no-audit --no-fund --fetch-retries=1 "
    "--fetch-retry-mintimeout=1000";

/// Its second generation says so in the file; the first can't make the file alone, and what else it makes is dropped.
constexpr std::string_view kYarn =
    "if grep -q '^__metadata:' yarn.lock; "
    "then YARN_ENABLE_IMMUTABLE_INSTALLS=false yarn install --mode=update-lockfile; "
    "else yarn install --ignore-scripts --non-interactive --no-progress; fi";

/// What is there already stays at its version, where the program can be told so.
constexpr std::array<KnownRemaker, 8> kKnownRemakers{
    {{"package-lock.json", "npm", kNpm},
     {"npm-shrinkwrap.json", "npm", kNpm},
     {"yarn.lock", "yarn", kYarn},
     {"pnpm-lock.yaml", "pnpm",
      "pnpm install --lockfile-only --ignore-scripts --no-frozen-lockfile"},
     {"Cargo.lock", "cargo", "cargo update --workspace"},
     {"go.sum", "go", "go mod tidy"},
     {"poetry.lock", "poetry", "poetry lock --no-update || poetry lock"},
     {"uv.lock", "uv", "uv lock"}}};

std::string_view name_of_file(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0.
}

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : "./" + path.substr(0, slash);
}

/// anew PATH DIRECTORY SECONDS TOOL COMMAND…: the file is made, or everything ends with 1.
constexpr const char* kAnew = R"(anew() {
  local path=$1 directory=$2 seconds=$3 tool=$4; shift 4
  [ -e "$path" ] || return 0
  if [ -n "$tool" ] && ! command -v "$tool" > /dev/null; then
    printf '== %s stays as it was merged: there is no %s here\n' "$path" "$tool"; return 0
  fi
  printf '== making %s anew\n' "$path"
  ( cd "$directory" && MUSTER_FILE=${path##*/} timeout "$seconds" "$@" ) ||
    { printf '== %s could not be made anew: exit %s\n' "$path" "$?"; exit 1; }
}
)";

/// Whatever else the programs left is dropped.
constexpr const char* kKeep = R"(export GIT_LITERAL_PATHSPECS=1
for path in "${files[@]}"; do
  if [ -e "$path" ] || git cat-file -e "HEAD:$path" 2> /dev/null; then git add -A -f -- "$path"; fi
done
git diff --cached --quiet ||
  git -c user.name=Muster -c user.email=muster@localhost commit -q --no-verify -m 'Made anew'
git reset -q --hard
git clean -ffdqx
)";

std::string remake_script(const SwarmSpec& swarm, const std::vector<std::string>& paths) {
  std::string calls, files = "files=(";
  for (const std::string& path : paths) {
    files += (files.back() == '(' ? "" : " ") + quoted_word(path);
    const auto remaker = remaker_of(swarm, path);
    if (!remaker) continue;
    const std::int64_t seconds = std::max<std::int64_t>(1, remaker->timeout.count() / 1000);
    calls += "anew " + quoted_word(path) + " " + quoted_word(directory_of(path)) + " " +
             std::to_string(seconds) + " " + quoted_word(remaker->tool) + " " +
             shell_line(remaker->run) + "\n";
  }
  return std::string("set -eu\n") + kAnew + calls + files + ")\n" + kKeep;
}

}  // namespace

Drivers drivers_of(const SwarmSpec& swarm) {
  Drivers drivers = usual_drivers();
  for (const MergeDriver& driver : swarm.drivers) drivers.declared.push_back(driver.path);
  return drivers;
}

std::optional<Remaker> remaker_of(const SwarmSpec& swarm, std::string_view path) {
  for (const MergeDriver& driver : swarm.drivers)
    if (matches(driver.path, path)) return Remaker{driver.run, "", driver.timeout};
  for (const KnownRemaker& known : kKnownRemakers)
    if (known.name == name_of_file(path))
      return Remaker{
          {std::string(known.command), {}}, std::string(known.tool), MergeDriver().timeout};
  return std::nullopt;
}

FleetSpec remake_fleet(const SwarmSpec& swarm, const std::vector<std::string>& paths) {
  FleetSpec fleet = swarm_fleet(swarm);
  fleet.agent.timeout = Duration{0};
  for (const std::string& path : paths)
    if (const auto remaker = remaker_of(swarm, path)) fleet.agent.timeout += remaker->timeout;
  fleet.agent.timeout = std::max(fleet.agent.timeout, Duration{60'000});
  fleet.agent.idle_timeout = Duration{0};
  fleet.agent.run.argv = {"bash", "-c", remake_script(swarm, paths)};
  for (const FacetCheck& check : swarm.verify)
    fleet.verify.push_back({check.name, check.run, "", check.timeout});
  std::string list;
  for (const std::string& path : paths) list += "- " + one_line(path, kShownPath) + "\n";
  fleet.delivery.commit.message =
      (paths.size() == 1 ? "Make " + one_line(std::string(name_of_file(paths[0])), kShownPath)
                         : "Make " + std::to_string(paths.size()) + " files") +
      " anew after merges\n\n" + list + "\nMuster-Swarm: " + swarm.name;
  return fleet;
}

std::vector<std::string> remade_by(std::string_view input_json) {
  std::vector<std::string> paths;
  const auto input = nlohmann::json::parse(input_json, nullptr, false);
  if (!input.is_object() || !input.contains("remake")) return paths;
  for (const auto& path : input["remake"])
    if (path.is_string()) paths.push_back(path.get<std::string>());
  return paths;
}

}  // namespace muster::actors::swarm
