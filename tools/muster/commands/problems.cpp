// Fleet files and swarm files before musterd has them: written to start from, and what is wrong with one.
#include <filesystem>

#include "storage/base/files.hpp"
#include "tools/muster/commands/commands.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/prepare.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {

int write_template(Context& context, const Template& to) {
  std::error_code error;
  if (!to.force && std::filesystem::exists(to.file, error))
    return context.fail({Errc::conflict, to.file + " is there already",
                         "name another file, or replace it with --force"});
  const auto written = write_file_durably(to.file, to.text);
  if (!written) return context.fail({written.error().code, written.error().message, ""});
  if (context.json())
    context.out() << dumped({{"file", to.file}}) << "\n";
  else
    context.out() << "Wrote " << safe_line(to.file) << ". Next: muster " << to.kind << " validate "
                  << shell_quoted(to.file) << "\n";
  return 0;
}

int report_problems(Context& context, const FleetProblems& found) {
  if (context.json()) {
    Json all = Json::array();
    for (const Located& p : found.problems)
      all.push_back({{"file", p.file},
                     {"line", p.place.line},
                     {"column", p.place.column},
                     {"subject", p.subject},
                     {"message", p.message}});
    context.out() << dumped({{"valid", false}, {"problems", all}}, 2) << "\n";
  }
  context.err() << render_problems(found) << plural(found.problems.size(), "problem")
                << "; nothing was started\n"
                << std::flush;
  return kExitUsage;
}

}  // namespace muster::cli
