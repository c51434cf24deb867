// Commands over backups; what reads one while musterd is stopped is musterd's own.
#include "tools/muster/commands/commands.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

void print_backup(Context& context, const Json& backup) {
  context.out() << safe_line(str(backup, "id")) << "  " << safe_line(str(backup, "at")) << "  "
                << count(backup, "files") << " files  " << count(backup, "bytes") << " bytes";
  if (backup.contains("new_bytes"))
    context.out() << "  " << count(backup, "new_bytes") << " of them new";
  context.out() << "\n";
}

}  // namespace

int backup_create(Context& context, const std::string& directory, const std::string& reason) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto made = (*client)->post(
      "/v1/admin/backups", {{"directory", directory}, {"reason", reason}, {"by", Context::user()}},
      kNoTimeout);
  if (!made) return context.fail(made.error());
  if (context.json())
    context.out() << dumped(*made, 2) << "\n";
  else
    print_backup(context, *made);
  return 0;
}

int backup_list(Context& context, const std::string& directory) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto all = (*client)->get(with_query("/v1/admin/backups", {{"directory", directory}}));
  if (!all) return context.fail(all.error());
  if (context.json()) {
    context.out() << dumped(*all, 2) << "\n";
    return 0;
  }
  for (const Json& backup : list(*all, "backups")) print_backup(context, backup);
  return 0;
}

}  // namespace muster::cli
