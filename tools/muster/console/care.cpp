// What the console does to the installation as a whole: the log's level, backups. As with orders: a
// reason, what would be done, a question, and then it is done.
#include "tools/muster/console/render.hpp"
#include "tools/muster/console/session.hpp"

namespace muster::cli::console {
namespace {

struct Care {
  std::string path;
  Doc body;
};

Care care_of(const Line& line) {
  if (line.command->name == "backup")
    return {"/v1/admin/backups", {{"directory", line.words.front()}}};
  return {"/v1/admin/log-level", {{"level", line.words.front()}}};
}

}  // namespace

int Session::care(const Line& line) {
  Care care = care_of(line);
  const auto reason = reason_of(line);
  if (!reason) return kExitUsage;
  care.body["reason"] = *reason;
  care.body["by"] = Context::user();
  const Screen screen{context_.io().out.look, context_.now()};
  return carry_out(line, care.path, std::move(care.body),
                   [screen](const Doc& doc) { return care_text(doc, screen); });
}

int Session::verify() {
  const auto report = get("/v1/audit/verify");
  if (!report) return context_.fail(report.error());
  const Screen screen{context_.io().out.look, context_.now()};
  context_.out() << (context_.json() ? dumped(*report, 2) + "\n" : verified_text(*report, screen));
  return flag(*report, "sound") ? 0 : kExitSomeFailed;
}

}  // namespace muster::cli::console
