// What is wrong with a fleet file or a swarm file.
#include "tools/muster/commands/commands.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/prepare.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {

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
