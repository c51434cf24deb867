#include "tools/musterd/store_commands.hpp"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "engine/runtime/runtime.hpp"
#include "storage/base/files.hpp"
#include "tools/musterd/audit_log.hpp"
#include "tools/musterd/backup.hpp"
#include "tools/musterd/check.hpp"
#include "tools/musterd/command_line.hpp"
#include "tools/musterd/offline.hpp"
#include "tools/musterd/tokens.hpp"

namespace muster::musterd {
namespace {

namespace fs = std::filesystem;

void print(const BackupManifest& manifest) {
  std::printf("%s  %s  %zu files  %llu bytes  generation %u  musterd %s\n", manifest.id.c_str(),
              to_rfc3339(manifest.at).c_str(), manifest.files.size(),
              static_cast<unsigned long long>(manifest.bytes()), manifest.generation,
              manifest.version.c_str());
}

/// The audit log's findings.
Result<std::vector<std::string>> check_audit(const Config& config) {
  if (!fs::exists(config.paths.audit())) return std::vector<std::string>{};
  const auto key = storage::VerifyingKey::read(config.paths.audit_key().string() + ".pub");
  if (!key) return tl::unexpected<Error>(key.error());
  auto report = storage::verify_audit(config.paths.audit(), config.audit_heads_path(), *key);
  if (!report) return tl::unexpected<Error>(report.error());
  for (std::string& finding : report->findings) finding.insert(0, "audit log: ");
  return std::move(report->findings);
}

/// The restored log says that it was restored. Heads that were signed after the backup name entries
/// that it does not hold: they are kept beside, for whoever wants to see what is missing.
Result<void> note_restore(const Config& config, const BackupManifest& manifest) {
  const fs::path heads = config.audit_heads_path();
  std::error_code error;
  if (fs::exists(heads, error))
    fs::rename(heads, heads.string() + ".before-restore-of-" + manifest.id, error);
  if (error) return fail(Errc::io, "moving " + heads.string() + ": " + error.message());
  auto chain = storage::AuditChain::open(config.paths.audit());
  if (!chain) return tl::unexpected<Error>(chain.error());
  const AuditNote note{
      "uid " + std::to_string(::geteuid()), "command", "", "backup.restore", manifest.id, "done",
      "made at " + to_rfc3339(manifest.at), ""};
  const auto head = (*chain)->append({audit_payload(note, wall_clock_now())});
  return head ? Result<void>{} : tl::unexpected<Error>(head.error());
}

}  // namespace

StoreCommands::StoreCommands(CLI::App& app)
    : check_(app.add_subcommand(
          "check", "with musterd stopped: verify the store, the fleets' counters, the audit log")),
      config_(app.add_subcommand("config", "the configuration")),
      backup_(
          app.add_subcommand("backup", "backups in a directory; muster backup create makes one")),
      list_(backup_->add_subcommand("list", "what is there")),
      verify_(backup_->add_subcommand("verify", "read every byte of a backup again")),
      restore_(
          app.add_subcommand("restore", "bring a backup back, into an installation without data")) {
  config_->require_subcommand(1);
  backup_->require_subcommand(1);
  CLI::App* show =
      config_->add_subcommand("show", "every setting with its value and where that comes from");
  show->add_flag("--json", json_, "one document");
  for (CLI::App* each : {list_, verify_, restore_})
    each->add_option("DIR", directory_, "the backups' directory")->required();
  for (CLI::App* each : {verify_, restore_})
    each->add_option("--id", id_, "which one; default: the newest");
}

bool StoreCommands::parsed() const {
  return check_->parsed() || config_->parsed() || backup_->parsed() || restore_->parsed();
}

int StoreCommands::run(const Config& config) const {
  if (check_->parsed()) return check(config);
  if (config_->parsed()) return show_config(config);
  if (restore_->parsed()) return restore(config);
  return list_->parsed() ? backups() : verify();
}

int StoreCommands::check(const Config& config) const {
  std::error_code error;
  if (!fs::is_directory(config.paths.engine(), error))
    return complain(
        {Errc::not_found, "there is no installation: no " + config.paths.engine().string()});
  const auto lock = lock_file(config.paths.data() / "musterd.lock");
  if (!lock) return complain({lock.error().code, "stop musterd first: " + lock.error().message});
  const auto sums = verify_offline(config.paths.engine());
  if (!sums) return complain(sums.error());
  const auto engine = open_offline(config.paths.engine());
  if (!engine) return complain(engine.error());
  const auto result = check_fleets(View(**engine));
  if (!result) return complain(result.error());
  const auto audit = check_audit(config);
  if (!audit) return complain(audit.error());
  if (const auto tokens = TokenStore(config.paths.tokens()).list(); !tokens)
    return complain(tokens.error());
  for (const std::string& difference : result->differences) std::printf("%s\n", difference.c_str());
  for (const std::string& finding : *audit) std::printf("%s\n", finding.c_str());
  const bool well = result->differences.empty() && audit->empty();
  std::fprintf(stderr, "%zu fleet%s, %zu run%s, %zu swarm%s: %s\n", result->fleets,
               result->fleets == 1 ? "" : "s", result->runs, result->runs == 1 ? "" : "s",
               result->swarms, result->swarms == 1 ? "" : "s",
               well ? "all agree" : "they disagree");
  return well ? 0 : kExitFailed;
}

int StoreCommands::backups() const {
  const auto all = list_backups(directory_);
  if (!all) return complain(all.error());
  for (const BackupManifest& manifest : *all) print(manifest);
  return 0;
}

int StoreCommands::verify() const {
  const auto manifest = find_backup(directory_, id_);
  if (!manifest) return complain(manifest.error());
  const auto wrong = verify_backup(directory_, *manifest);
  if (!wrong) return complain(wrong.error());
  for (const std::string& what : *wrong) std::printf("%s\n", what.c_str());
  std::fprintf(stderr, "%s: %zu files, %s\n", manifest->id.c_str(), manifest->files.size(),
               wrong->empty() ? "all as they were" : "NOT as they were");
  return wrong->empty() ? 0 : kExitFailed;
}

int StoreCommands::restore(const Config& config) const {
  const auto manifest = find_backup(fs::absolute(directory_), id_);
  if (!manifest) return complain(manifest.error());
  std::uint32_t generation = 0;
  const auto raise = [&](const fs::path& engine) -> Result<void> {
    const auto raised = engine::raise_generation(engine);
    if (!raised) return tl::unexpected<Error>(raised.error());
    generation = *raised;
    return {};
  };
  if (auto done = restore_backup(config.paths, fs::absolute(directory_), *manifest, raise); !done)
    return complain(done.error());
  if (auto noted = note_restore(config, *manifest); !noted) return complain(noted.error());
  print(*manifest);
  std::fprintf(
      stderr,
      "Restored, as generation %u. Start musterd; hosts that ran on meanwhile begin anew.\n",
      generation);
  return 0;
}

int StoreCommands::show_config(const Config& config) const {
  const auto all = show(config);
  if (!json_) {
    for (const ShownSetting& each : all)
      std::printf("%-27s %-32s # %s%s\n", (each.key + ":").c_str(),
                  each.value.empty() ? "\"\"" : each.value.c_str(), each.source.c_str(),
                  each.reloadable ? ", SIGHUP" : "");
    return 0;
  }
  auto json = nlohmann::ordered_json::object();
  for (const ShownSetting& each : all)
    json[each.key] = {
        {"value", each.value}, {"source", each.source}, {"reloadable", each.reloadable}};
  std::printf("%s\n", json.dump(2).c_str());
  return 0;
}

}  // namespace muster::musterd
