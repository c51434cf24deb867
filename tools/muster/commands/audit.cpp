// Commands over the audit log.
#include <deque>
#include <fstream>

#include "storage/audit/chain.hpp"
#include "storage/audit/verify.hpp"
#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "tools/muster/commands/commands.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

constexpr std::size_t kMaxExport = 1u << 30;

/// "17  2026-11-22T17:53:36.476Z  alice  fleet.pause  default/fleet/bump  decided  lunch"
void print_entry(Context& context, const Json& entry) {
  if (context.json()) {
    context.out() << dumped(entry) << "\n";
    return;
  }
  context.out() << entry.value("number", 0ULL) << "  " << safe_line(str(entry, "at")) << "  "
                << (str(entry, "who").empty() ? "-" : safe_line(str(entry, "who")));
  for (const char* field : {"action", "target", "outcome", "detail"})
    if (const std::string text = str(entry, field); !text.empty())
      context.out() << "  " << safe_line(text);
  context.out() << "\n";
}

std::string query(const AuditFlags& flags) {
  return with_query("/v1/audit",
                    {{"who", flags.who}, {"action", flags.action}, {"since", flags.since}});
}

int show(Context& context, const Json& report) {
  const bool sound = report.value("sound", false);
  if (context.json()) {
    context.out() << dumped(report, 2) << "\n";
    return sound ? 0 : kExitSomeFailed;
  }
  for (const Json& finding : list(report, "findings"))
    context.out() << safe_line(finding.get<std::string>()) << "\n";
  context.out() << (sound ? "sound" : "NOT SOUND") << ": " << report.value("entries", 0ULL)
                << " entries, up to " << report.value("last", 0ULL);
  if (const auto newest = report.find("newest_signed");
      newest != report.end() && newest->is_object())
    context.out() << "; signed up to " << newest->value("number", 0ULL) << " at "
                  << safe_line(str(*newest, "at"));
  if (const auto kept = report.find("checkpoint"); kept != report.end() && kept->is_object())
    context.out() << "; exported and pruned up to " << kept->value("number", 0ULL);
  context.out() << "\n";
  if (report.value("torn", false))
    context.err()
        << "its last line is not whole: musterd was killed while it wrote, or somebody cut it\n";
  return sound ? 0 : kExitSomeFailed;
}

int verify_file(Context& context, const AuditFlags& flags) {
  if (flags.key.empty())
    return context.usage("--file needs --key",
                         "copy /etc/muster/audit.key.pub from musterd's machine");
  const auto key = storage::VerifyingKey::read(flags.key);
  if (!key) return context.fail({key.error().code, key.error().message, ""});
  const auto report = storage::verify_audit_export(
      flags.file, flags.heads.empty() ? "/nonexistent" : flags.heads, *key);
  if (!report) return context.fail({report.error().code, report.error().message, ""});
  Json verdict = {{"sound", report->findings.empty()},
               {"first", report->first},
               {"last", report->head.number},
               {"entries", report->entries},
               {"torn", report->torn},
               {"findings", report->findings}};
  if (report->newest_signed)
    verdict["newest_signed"] = {{"number", report->newest_signed->head.number},
                             {"at", to_rfc3339(report->newest_signed->at)}};
  return show(context, verdict);
}

}  // namespace

int audit_tail(Context& context, const AuditFlags& flags) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  std::deque<Json> newest;
  std::string last;
  const auto first = (*client)->get("/v1/audit?limit=1");
  if (!first) return context.fail(first.error());
  // With a filter the newest that fit may lie anywhere; without one they are the last.
  const bool filtered = !flags.who.empty() || !flags.action.empty() || !flags.since.empty();
  const std::uint64_t end = count(*first, "last");
  const std::uint64_t after = filtered || end < flags.lines ? 0 : end - flags.lines;
  for (std::string cursor;;) {
    const auto page = (*client)->get(query(flags) + (filtered ? "&" : "?") +
                                     "limit=1000&after=" + std::to_string(after) +
                                     (cursor.empty() ? "" : "&cursor=" + encoded(cursor)));
    if (!page) return context.fail(page.error());
    for (const Json& entry : list(*page, "entries")) {
      newest.push_back(entry);
      if (newest.size() > flags.lines) newest.pop_front();
      last = std::to_string(entry.value("number", 0ULL));
    }
    cursor = str(*page, "next");
    if (cursor.empty()) break;
  }
  for (const Json& entry : newest) print_entry(context, entry);
  context.out().flush();
  if (!flags.follow) return 0;
  if (last.empty()) last = "0";
  for (;;) {
    const auto ended =
        (*client)->events(query(flags), last, [&](const std::string&, const Json& entry) {
          print_entry(context, entry);
          context.out().flush();
          return static_cast<bool>(context.out());
        });
    if (!ended) return context.fail(ended.error());
    if (!context.out()) return 0;
  }
}

int audit_verify(Context& context, const AuditFlags& flags) {
  if (!flags.file.empty()) return verify_file(context, flags);
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto report = (*client)->get("/v1/audit/verify");
  return report ? show(context, *report) : context.fail(report.error());
}

int audit_export(Context& context, const AuditFlags& flags) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  std::ofstream file(flags.file, std::ios::binary | std::ios::trunc);
  if (!file) return context.fail({Errc::io, "can't write " + flags.file, ""});
  const auto done = (*client)->download(
      with_query("/v1/audit/export", {{"upto", flags.upto > 0 ? std::to_string(flags.upto) : ""}}),
      [&](std::string_view bytes) {
        file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        return static_cast<bool>(file);
      });
  file.close();
  if (!file) return context.fail({Errc::io, "can't write " + flags.file, ""});
  if (!done) return context.fail(done.error());
  context.err() << "written to " << flags.file << "; check it with: muster audit verify --file "
                << flags.file << " --key audit.key.pub\n";
  return 0;
}

int audit_prune(Context& context, const AuditFlags& flags) {
  const auto text = read_file(flags.file, kMaxExport);
  if (!text) return context.fail({text.error().code, text.error().message, ""});
  const std::size_t last = text->find_last_of('\n', text->size() < 2 ? 0 : text->size() - 2);
  const std::uint64_t upto =
      std::strtoull(text->c_str() + (last == std::string::npos ? 0 : last + 1), nullptr, 10);
  if (!text->ends_with('\n') || upto == 0)
    return context.fail({Errc::invalid, flags.file + " is no whole export of the audit log", ""});
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto done = (*client)->post("/v1/audit/prune", {{"upto", upto},
                                                        {"export_sha256", sha256_hex(*text)},
                                                        {"reason", flags.reason},
                                                        {"by", Context::user()}});
  if (!done) return context.fail(done.error());
  if (context.json())
    context.out() << dumped(*done, 2) << "\n";
  else
    context.out() << "pruned up to entry " << upto << "; keep " << flags.file << "\n";
  return 0;
}

}  // namespace muster::cli
