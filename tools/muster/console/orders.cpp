// What the console does to actors: it asks for a reason, shows what would happen to how many, asks,
// and then does it.
#include "tools/muster/console/form.hpp"
#include "tools/muster/console/render.hpp"
#include "tools/muster/console/session.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli::console {
namespace {

bool is_yes(const std::string& text) {
  return text == "yes" || text == "y";
}

/// The filters that the line says, as the API's `select`.
Doc selection_of(const Line& line) {
  Doc select = Doc::object();
  for (const auto& [name, value] : line.options)
    if (name != "reason" && name != "confirm" && name != "to") select[name] = value;
  return select;
}

}  // namespace

Answer<Doc> Session::post(const std::string& path, const Doc& body) {
  auto client = context_.client();
  if (!client) return tl::unexpected(client.error());
  // A backup takes as long as it takes; whoever waits may interrupt.
  const auto reply = (*client)->post(path, nlohmann::json::parse(dumped(body)), kNoTimeout);
  if (!reply) return tl::unexpected(reply.error());
  return Doc::parse(reply->dump());
}

std::optional<std::string> Session::reason_of(const Line& line) {
  const std::string said = line.option("reason");
  if (!said.empty()) return said;
  auto answer = ask_ ? ask_("Reason: ") : std::nullopt;
  if (answer && !answer->empty()) return answer;
  (void)context_.usage("a reason is needed", "reason=\"…\" stands in the audit log");
  return std::nullopt;
}

bool Session::confirmed(const Line& line, const std::string& question) {
  if (is_yes(line.option("confirm"))) return true;
  const auto answer = ask_ ? ask_(question) : std::nullopt;
  return answer && is_yes(*answer);
}

/// First without doing anything, then, when it is wanted, for good.
int Session::carry_out(const Line& line, const std::string& path, Doc body, const Render& render) {
  body["dry_run"] = true;
  const auto would = post(path, body);
  if (!would) return context_.fail(would.error());
  const bool nothing = would->contains("possible") && num(*would, "possible") == 0;
  if (nothing || !is_yes(line.option("confirm"))) {
    context_.out() << (context_.json() ? dumped(*would, 2) + "\n" : render(*would));
    context_.out().flush();
  }
  if (nothing && num(*would, "failed") > 0)
    return context_.fail({Errc::not_found, "none of them would take it", ""});
  if (nothing) {
    const bool letters = line.command->name == "replay" || line.command->name == "discard";
    return context_.fail(
        {Errc::not_found, "there is nothing to do it to",
         letters ? "`dead` lists what there is" : "`actors` lists what there is"});
  }
  if (!confirmed(line, "Do it? [yes/no] "))
    return context_.usage("nothing was done", ask_ ? "" : "add confirm=yes");
  body["dry_run"] = false;
  const auto did = post(path, body);
  if (!did) return context_.fail(did.error());
  context_.out() << (context_.json() ? dumped(*did, 2) + "\n" : render(*did));
  return num(*did, "failed") > 0 ? kExitSomeFailed : 0;
}

int Session::order(const Line& line) {
  Doc body = {{"action", line.command->name}};
  if (!line.words.empty()) body["ids"] = line.words;
  const Doc select = selection_of(line);
  if (!select.empty()) body["select"] = select;
  if (line.words.empty() && select.empty())
    return context_.usage("say which: " + usage(*line.command));
  const auto reason = reason_of(line);
  if (!reason) return kExitUsage;
  body["reason"] = *reason;
  body["by"] = Context::user();
  if (const std::string to = line.option("to"); !to.empty()) body["to"] = to;
  const Screen screen{context_.io().out.look, context_.now()};
  return carry_out(line, "/v1/operations", std::move(body),
                   [screen](const Doc& doc) { return operation_text(doc, screen); });
}

/// What the actor would do with a message.
std::string decides_text(const Doc& decides) {
  if (!decides.is_object()) return "";
  if (const std::string why = str(decides, "dead_letter"); !why.empty())
    return "it would become a dead letter: " + safe_line(why) + "\n";
  std::string out;
  if (const std::string why = str(decides, "refused"); !why.empty())
    out += "it would be refused: " + safe_line(why) + "\n";
  for (const Doc& sent : list(decides, "messages"))
    out += "    → " + safe_line(str(sent, "type")) + " to " + safe_line(str(sent, "to")) + "\n";
  for (const Doc& effect : list(decides, "effects"))
    out += "    ⇒ effect " + safe_line(str(effect, "key")) + "\n";
  return out;
}

/// From the line, or, at the prompt and with none in the line, asked for one by one.
Answer<Doc> Session::fields_of(const Line& line) {
  const auto kinds = get("/v1/kinds");
  if (!kinds) return tl::unexpected(kinds.error());
  const std::string kind = line.words[0].substr(0, line.words[0].find('/'));
  Doc known = Doc::array();
  for (const Doc& each : list(*kinds, "kinds"))
    for (const Doc& message : list(each, "messages"))
      if (str(each, "name") == kind && str(message, "name") == line.words[1])
        known = list(message, "fields");
  Doc fields = Doc::object();
  for (const auto& [name, typed] : line.fields) {
    const std::string plain = name.starts_with("field.") ? name.substr(6) : name;
    fields[plain] = typed;
    for (const Doc& field : known)
      if (str(field, "name") == plain) fields[plain] = field_value(field, typed);
  }
  if (!line.fields.empty() || !ask_) return fields;
  auto asked = ask_fields(known, ask_);
  if (!asked) return tl::unexpected(Failure{Errc::invalid, "nothing was done", ""});
  return std::move(*asked);
}

int Session::send(const Line& line) {
  const auto path = actor_path(line.words.front());
  if (!path) return context_.usage(path.error().message);
  const auto fields = fields_of(line);
  if (!fields) return context_.fail(fields.error());
  const auto reason = reason_of(line);
  if (!reason) return kExitUsage;
  const Screen screen{context_.io().out.look, context_.now()};
  return carry_out(
      line, *path + "/messages",
      {{"type", line.words[1]}, {"message", *fields}, {"reason", *reason}, {"by", Context::user()}},
      [screen](const Doc& doc) {
        return (flag(doc, "dry_run") ? "would send " : "sent ") + str(doc, "type") + " to " +
               str(doc, "to") + "\n" + fields_text(at(doc, "message"), screen, 2, false) +
               decides_text(at(doc, "decides"));
      });
}

}  // namespace muster::cli::console
