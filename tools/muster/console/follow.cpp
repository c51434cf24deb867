// `follow`: decisions as they are committed, until Ctrl-C. It asks twice a second for what is new;
// the server sends a bounded number and says how many it left out.
#include "tools/muster/console/render.hpp"
#include "tools/muster/console/session.hpp"
#include "tools/muster/text.hpp"
#include "tools/muster/wait.hpp"

namespace muster::cli::console {
namespace {

using Query = std::vector<std::pair<std::string, std::string>>;

constexpr Duration kAsk{500};
constexpr const char* kMostSteps = "200";  ///< Of one answer: more, nobody reads.

Query follow_query(const Line& line) {
  Query query{{"limit", kMostSteps}};
  for (const char* name : {"kind", "prefix", "fleet", "host", "state"})
    query.emplace_back(name, line.option(name));
  if (!line.option("dead").empty()) query.emplace_back("dead", "true");
  if (!line.words.empty()) query.emplace_back("actor", line.words.front());
  return query;
}

}  // namespace

int Session::follow(const Line& line) {
  const auto lasts = parse_duration(line.option("for").empty() ? "0s" : line.option("for"));
  if (!lasts) return context_.usage("for=" + line.option("for") + ": " + lasts.error().message);
  const Interrupt interrupt;
  const Instant end = context_.now() + *lasts;
  const Query query = follow_query(line);
  auto answer = get(with_query("/v1/steps", query));
  while (answer) {
    const Screen screen{context_.io().out.look, context_.now()};
    if (context_.json())
      for (const Doc& step : list(*answer, "steps")) context_.out() << dumped(step) << "\n";
    else
      context_.out() << steps_text(*answer, screen);
    context_.out().flush();
    if (lasts->count() > 0 && context_.now() >= end) return 0;
    if (interrupt.pause(kAsk)) {
      if (ask_) context_.out() << "\n";  // The terminal's ^C stands where the prompt begins.
      return 0;
    }
    Query next = query;
    next.emplace_back("cursor", str(*answer, "next"));
    answer = get(with_query("/v1/steps", next));
  }
  return context_.fail(answer.error());
}

}  // namespace muster::cli::console
