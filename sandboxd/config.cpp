#include "sandboxd/config.hpp"

#include <yaml-cpp/yaml.h>

#include <functional>

#include "sandboxd/repo_file.hpp"
#include "storage/base/files.hpp"

namespace muster::sandbox {

namespace {

using Setter = std::function<void(const YAML::Node&)>;

void read_keys(const YAML::Node& map, const std::map<std::string, Setter>& keys, const std::string& file,
               std::string& trouble) {
  for (const auto& entry : map) {
    const auto key = entry.first.as<std::string>("");
    const std::string where = file + ":" + std::to_string(entry.first.Mark().line + 1) + ": ";
    const auto setter = keys.find(key);
    if (setter == keys.end()) {
      std::string known;
      for (const auto& [name, unused] : keys) known += (known.empty() ? "" : ", ") + name;
      trouble += where + "no key " + key + "; there are " + known + "\n";
      continue;
    }
    if (entry.second.IsNull()) {  // as text it would be "null"
      trouble += where + key + " has no value\n";
      continue;
    }
    try {
      setter->second(entry.second);
    } catch (const YAML::Exception&) {
      trouble += where + key + " has a value of the wrong kind\n";
    }
  }
}

template <class T>
Setter into(T& target) {
  return [&target](const YAML::Node& node) { target = node.as<T>(); };
}
Setter into(std::vector<std::filesystem::path>& target) {
  return [&target](const YAML::Node& node) {
    const auto texts = node.as<std::vector<std::string>>();
    target.assign(texts.begin(), texts.end());
  };
}
Setter into(std::filesystem::path& target) {
  return [&target](const YAML::Node& node) { target = node.as<std::string>(); };
}

/// A command as in fleet files: a string for the shell, or argv.
std::vector<std::string> command(const YAML::Node& node) {
  if (node.IsSequence()) return node.as<std::vector<std::string>>();
  return {"bash", "-eo", "pipefail", "-c", node.as<std::string>()};
}

/// Collects what is wrong with a value, beside wrong keys and kinds.
struct Complaints {
  const std::string& file;
  std::string& trouble;
  void add(const YAML::Node& at, const std::string& what) const {
    trouble += file + ":" + std::to_string(at.Mark().line + 1) + ": " + what + "\n";
  }
};

Setter image_into(std::string& target, const Complaints& complaints) {
  return [&target, complaints](const YAML::Node& node) {
    target = node.as<std::string>();
    if (!is_image(target)) complaints.add(node, "\"" + target + "\" is not an image of a host");
  };
}

/// Paths inside a repository.
Setter lock_files_into(std::optional<std::vector<std::string>>& target, const Complaints& complaints) {
  return [&target, complaints](const YAML::Node& node) {
    target = node.as<std::vector<std::string>>();
    for (const auto& path : *target)
      if (!is_repo_path(path)) complaints.add(node, "\"" + path + "\" is not a path inside a repository");
  };
}

void read_environment(const YAML::Node& node, NamedEnvironment& to, const Complaints& complaints) {
  const auto env = [&](const YAML::Node& map) {
    to.env = map.as<std::map<std::string, std::string>>();
    for (const auto& [name, value] : to.env)
      if (!is_variable(name)) complaints.add(map, "\"" + name + "\" is not a variable");
    for (const auto& entry : map)
      if (entry.second.IsNull()) complaints.add(entry.first, entry.first.as<std::string>() + " has no value; \"\" is empty");
  };
  const auto setup = [&](const YAML::Node& list) {
    if (!list.IsSequence()) return complaints.add(list, "setup is a list of commands");
    for (const auto& entry : list) to.setup.push_back(command(entry));
  };
  if (!node.IsMap()) return complaints.add(node, "an environment is a map");
  read_keys(node, {{"image", image_into(to.image, complaints)}, {"env", env}, {"setup", setup},
                   {"prebuild", lock_files_into(to.prebuild, complaints)}},
            complaints.file, complaints.trouble);
}

void read_environments(const YAML::Node& map, EnvironmentSettings& to, const Complaints& complaints) {
  if (!map.IsMap()) return complaints.add(map, "environments is a map of names");
  for (const auto& entry : map) {
    const auto name = entry.first.as<std::string>();
    if (!is_environment_name(name)) complaints.add(entry.first, "\"" + name + "\" is not a name of an environment");
    read_environment(entry.second, to.named[name], complaints);
  }
}

void read_devcontainer(const YAML::Node& map, EnvironmentSettings& to, const Complaints& complaints) {
  if (!map.IsMap()) return complaints.add(map, "devcontainer is a map");
  const auto images = [&](const YAML::Node& names) {
    if (!names.IsMap()) return complaints.add(names, "images is a map of names");
    for (const auto& entry : names)
      image_into(to.devcontainer_images[entry.first.as<std::string>()], complaints)(entry.second);
  };
  read_keys(map,
            {{"image", image_into(to.devcontainer_image, complaints)},
             {"images", images},
             {"mounts", into(to.devcontainer_mounts)},
             {"prebuild", lock_files_into(to.devcontainer_prebuild, complaints)}},
            complaints.file, complaints.trouble);
}

void read_warm_pool(const YAML::Node& map, WarmSettings& to, const Complaints& complaints) {
  if (!map.IsMap()) return complaints.add(map, "warm_pool is a map");
  read_keys(map,
            {{"max", into(to.max)}, {"per_environment", into(to.per_environment)}, {"idle_minutes", into(to.idle_minutes)}},
            complaints.file, complaints.trouble);
}

void read_snapshots(const YAML::Node& map, SnapshotLimits& to, const Complaints& complaints) {
  if (!map.IsMap()) return complaints.add(map, "snapshots is a map");
  read_keys(map, {{"max", into(to.max)}, {"max_bytes", into(to.max_bytes)}}, complaints.file, complaints.trouble);
  if (to.max > kMostSnapshots) complaints.add(map, "max is at most " + std::to_string(kMostSnapshots));
}

void read_registries(const YAML::Node& list, std::vector<AllowedRegistry>& to, const Complaints& complaints) {
  if (!list.IsSequence()) return complaints.add(list, "registries is a list");
  for (const auto& entry : list) {
    auto registry = parse_registry(entry.as<std::string>());
    if (!registry) {
      complaints.add(entry, registry.error().message);
    } else {
      to.push_back(std::move(*registry));
    }
  }
}

}  // namespace

Result<DaemonConfig> read_config(const std::filesystem::path& file, DaemonConfig config) {
  const auto text = read_file(file, 1u << 20);
  if (!text && text.error().code == Errc::not_found) return config;
  if (!text) return tl::unexpected(text.error());
  std::string trouble;
  const std::string name = file.string();
  const Complaints complaints{name, trouble};
  const std::map<std::string, Setter> tls = {{"ca", into(config.tls.ca)},
                                             {"certificate", into(config.tls.certificate)},
                                             {"key", into(config.tls.key)}};
  const std::map<std::string, Setter> keys = {
      {"name", into(config.name)},
      {"engine", into(config.engine)},
      {"slots", into(config.slots)},
      {"labels", into(config.labels)},
      {"allow_host_network", into(config.host.allow_host_network)},
      {"log_spool_bytes", into(config.host.log_spool_bytes)},
      {"disk_low_water_bytes", into(config.host.disk_low_water_bytes)},
      {"disk_limit", [&](const YAML::Node& node) {
         const auto word = node.as<std::string>();
         const std::map<std::string, DiskLimit> ways = {
             {"measure", DiskLimit::measure}, {"loop", DiskLimit::loop}, {"project", DiskLimit::project}};
         const auto way = ways.find(word);
         if (way == ways.end()) return complaints.add(node, "disk_limit is measure, loop or project");
         config.host.disk_limit = way->second;
       }},
      {"image_directories", into(config.host.image_directories)},
      {"max_image_bytes", into(config.host.max_image_bytes)},
      {"registries",
       [&](const YAML::Node& node) { read_registries(node, config.host.registries, complaints); }},
      {"environments",
       [&](const YAML::Node& node) { read_environments(node, config.host.environments, complaints); }},
      {"prebuild_max_age_hours", into(config.host.prebuild_max_age_hours)},
      {"devcontainer",
       [&](const YAML::Node& node) { read_devcontainer(node, config.host.environments, complaints); }},
      {"warm_pool", [&](const YAML::Node& node) { read_warm_pool(node, config.host.warm_pool, complaints); }},
      {"snapshots", [&](const YAML::Node& node) { read_snapshots(node, config.host.snapshots, complaints); }},
      {"concurrent_fetches", into(config.host.concurrent_fetches)},
      {"runtime", into(config.host.runtime)},
      {"conmon", into(config.host.conmon)},
      {"muster_init", into(config.host.muster_init)},
      {"uid_base", into(config.host.uid_base)},
      {"tls", [&](const YAML::Node& node) { read_keys(node, tls, name, trouble); }}};
  try {
    const YAML::Node document = YAML::Load(*text);
    if (document.IsMap()) {
      read_keys(document, keys, name, trouble);
    } else if (!document.IsNull()) {
      trouble = name + ": not a map of settings\n";
    }
  } catch (const YAML::Exception& error) {
    trouble = name + ":" + std::to_string(error.mark.line + 1) + ": " + error.msg + "\n";
  }
  if (config.host.warm_pool.max > 0 && config.host.disk_limit == DiskLimit::loop)
    trouble += name + ": warm_pool needs disk_limit: measure or project, because a disk has the size that its attempt wants\n";
  if (trouble.empty()) return config;
  trouble.pop_back();
  return fail(Errc::invalid, trouble);
}

}  // namespace muster::sandbox
