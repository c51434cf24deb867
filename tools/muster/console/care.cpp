// What the console does to the installation as a whole: limits, the log's level, backups,
// compaction. As with orders: a reason, what would be done, a question, and then it is done.
#include "tools/muster/console/render.hpp"
#include "tools/muster/console/session.hpp"

namespace muster::cli::console {
namespace {

struct Care {
  std::string path;
  Doc body;
};

/// Numbers as numbers; what is none is said to be so by the server.
Doc number_or_text(const std::string& typed) {
  const Doc value = Doc::parse(typed, nullptr, false);
  return value.is_number_unsigned() ? value : Doc(typed);
}

Care care_of(const Line& line) {
  const std::string& name = line.command->name;
  if (name == "backup") return {"/v1/admin/backups", {{"directory", line.words.front()}}};
  if (name == "log-level") return {"/v1/admin/log-level", {{"level", line.words.front()}}};
  if (name == "compact") return {"/v1/admin/compaction", Doc::object()};
  Doc body = Doc::object();
  for (const char* key : {"concurrency", "weight"})
    if (const std::string typed = line.option(key); !typed.empty())
      body[key] = number_or_text(typed);
  if (const std::string typed = line.option("total"); !typed.empty())
    body["running_total"] = number_or_text(typed);
  if (const std::string fleet = line.option("fleet"); !fleet.empty()) body["fleet"] = fleet;
  if (!line.option("clear").empty()) body["clear"] = true;
  return {"/v1/limits", std::move(body)};
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
