#include "sandboxd/config.hpp"

#include <yaml-cpp/yaml.h>

#include <functional>

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

}  // namespace

Result<DaemonConfig> read_config(const std::filesystem::path& file, DaemonConfig config) {
  const auto text = read_file(file, 1u << 20);
  if (!text && text.error().code == Errc::not_found) return config;
  if (!text) return tl::unexpected(text.error());
  std::string trouble;
  const std::string name = file.string();
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
         if (word != "measure" && word != "loop")
           trouble += name + ":" + std::to_string(node.Mark().line + 1) + ": disk_limit is measure or loop\n";
         config.host.disk_limit = word == "loop" ? DiskLimit::loop : DiskLimit::measure;
       }},
      {"image_directories", into(config.host.image_directories)},
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
  if (trouble.empty()) return config;
  trouble.pop_back();
  return fail(Errc::invalid, trouble);
}

}  // namespace muster::sandbox
