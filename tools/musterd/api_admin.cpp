// /v1/admin: backups, the log level, compaction
#include "tools/musterd/api_base.hpp"
#include "tools/musterd/backup.hpp"

namespace muster::musterd {
namespace {

Json manifest_json(const BackupManifest& manifest) {
  return {{"id", manifest.id},
          {"at", to_rfc3339(manifest.at)},
          {"version", manifest.version},
          {"generation", manifest.generation},
          {"files", manifest.files.size()},
          {"bytes", manifest.bytes()}};
}

/// What an administrator's order says besides what is ordered; written down before it is carried
/// out.
Result<void> note_admin(const ApiContext& api, const Request& request, const Json& body,
                        const std::string& action, const std::string& target) {
  const auto reason = read_text(body, "reason");
  if (!reason) return tl::unexpected<Error>(reason.error());
  const auto by = read_by(body, request);
  if (!by) return tl::unexpected<Error>(by.error());
  return note_order(api, request, {*by, action, target, *reason});
}

Result<Response> create_backup(const ApiContext& api, const Request& request) {
  const auto body = read_object(request, {"directory", "reason", "by", "dry_run"});
  if (!body) return tl::unexpected<Error>(body.error());
  const auto directory = read_text(*body, "directory");
  if (!directory) return tl::unexpected<Error>(directory.error());
  if (directory->empty() || directory->front() != '/')
    return fail(Errc::invalid, "'directory' must be an absolute path on musterd's machine");
  const auto dry_run = read_flag(*body, "dry_run");
  if (!dry_run) return tl::unexpected<Error>(dry_run.error());
  if (*dry_run) {
    const auto there = list_backups(*directory);
    return json_response({{"dry_run", true},
                          {"directory", *directory},
                          {"backups_there", there ? there->size() : 0}});
  }
  if (auto noted = note_admin(api, request, *body, "backup.create", *directory); !noted)
    return tl::unexpected<Error>(noted.error());
  const auto made = api.parts.backup(*directory);
  if (!made) return tl::unexpected<Error>(made.error());
  Json json = manifest_json(made->manifest);
  json["new_files"] = made->new_files;
  json["new_bytes"] = made->new_bytes;
  return json_response(json, 201);
}

Result<Response> show_backups(const ApiContext&, const Request& request) {
  const std::string directory = request.parameter("directory");
  if (directory.empty() || directory.front() != '/')
    return fail(Errc::invalid, "directory= must be an absolute path on musterd's machine");
  const auto all = list_backups(directory);
  if (!all) return tl::unexpected<Error>(all.error());
  Json list = Json::array();
  for (const BackupManifest& manifest : *all) list.push_back(manifest_json(manifest));
  return json_response({{"backups", list}});
}

Result<Response> set_log_level(const ApiContext& api, const Request& request) {
  const auto body = read_object(request, {"level", "reason", "by", "dry_run"});
  if (!body) return tl::unexpected<Error>(body.error());
  const auto level = read_text(*body, "level");
  if (!level) return tl::unexpected<Error>(level.error());
  constexpr std::string_view kLevels[] = {"debug", "info", "warn", "error"};
  if (std::find(std::begin(kLevels), std::end(kLevels), *level) == std::end(kLevels))
    return fail(Errc::invalid, "'level' must be debug, info, warn or error");
  const auto dry_run = read_flag(*body, "dry_run");
  if (!dry_run) return tl::unexpected<Error>(dry_run.error());
  if (*dry_run) return json_response({{"dry_run", true}, {"level", *level}});
  if (auto noted = note_admin(api, request, *body, "log.level", *level); !noted)
    return tl::unexpected<Error>(noted.error());
  api.parts.set_log_level(*level);
  return json_response({{"dry_run", false}, {"level", *level}});
}

std::uint64_t bytes_on_disk(const ApiContext& api) {
  std::uint64_t bytes = 0;
  for (const engine::ShardStats& shard : api.parts.engine.stats())
    if (const auto found = shard.store.find("live_sst_bytes"); found != shard.store.end())
      bytes += found->second;
  return bytes;
}

Result<Response> compact(const ApiContext& api, const Request& request) {
  const auto body = read_object(request, {"reason", "by", "dry_run"});
  if (!body) return tl::unexpected<Error>(body.error());
  const auto dry_run = read_flag(*body, "dry_run");
  if (!dry_run) return tl::unexpected<Error>(dry_run.error());
  if (!api.parts.compact) return fail(Errc::unreachable, "this engine has no journal to compact");
  const std::uint64_t before = bytes_on_disk(api);
  if (*dry_run) return json_response({{"dry_run", true}, {"bytes", before}});
  if (auto noted = note_admin(api, request, *body, "journal.compact", "the journal"); !noted)
    return tl::unexpected<Error>(noted.error());
  if (auto done = api.parts.compact(); !done) return tl::unexpected<Error>(done.error());
  return json_response(
      {{"dry_run", false}, {"bytes", bytes_on_disk(api)}, {"bytes_before", before}});
}

}  // namespace

void add_admin_routes(Router& router, ApiContext api) {
  const auto with = [api](auto handler) {
    return [api, handler](const Request& request) { return handler(api, request); };
  };
  router.add({"POST", "/v1/admin/backups", with(create_backup), kMaxBody});
  router.add({"GET", "/v1/admin/backups", with(show_backups), 0});
  router.add({"POST", "/v1/admin/log-level", with(set_log_level), kMaxBody});
  router.add({"POST", "/v1/admin/compaction", with(compact), kMaxBody});
}

}  // namespace muster::musterd
