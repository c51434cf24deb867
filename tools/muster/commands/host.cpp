// Commands over hosts.
#include "tools/muster/commands/commands.hpp"
#include "tools/muster/console/render.hpp"
#include "tools/muster/json_get.hpp"
#include "tools/muster/render/run_view.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {

int host_list(Context& context) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto hosts = (*client)->get("/v1/hosts");
  if (!hosts) return context.fail(hosts.error());
  const std::vector<Json> rows(list(*hosts, "hosts").begin(), list(*hosts, "hosts").end());
  if (context.json())
    context.out() << dumped(*hosts, 2) << "\n";
  else if (rows.empty())
    context.err() << "no hosts; \"musterd --embedded-host\" brings its own, or start sandboxd on "
                     "another machine\n";
  else
    context.out() << host_table(rows, context.io().out.look, context.now());
  if (context.json()) return 0;
  for (const Json& host : rows)
    if (const std::string why = str(host, "refused"); !why.empty())
      context.out() << safe_line(str(host, "name")) << " is refused: " << safe_line(why) << "\n";
  return 0;
}

int host_show(Context& context, const std::string& name) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto host = (*client)->get("/v1/hosts/" + encoded(name));
  if (!host) return context.fail(host.error());
  if (context.json())
    context.out() << dumped(*host, 2) << "\n";
  else
    context.out() << console::host_text(console::Doc(*host), {context.io().out.look, context.now()});
  return 0;
}

int host_change(Context& context, const std::string& name, const std::string& verb,
                const std::string& reason) {
  const auto client = context.client();
  if (!client) return context.fail(client.error());
  const auto host = (*client)->post("/v1/hosts/" + encoded(name) + "/" + verb,
                                    {{"reason", reason}, {"by", Context::user()}});
  if (!host) return context.fail(host.error());
  if (context.json())
    context.out() << dumped(*host, 2) << "\n";
  else
    context.out() << safe_line(name) << ": "
                  << (str(*host, "state").empty() ? verb : safe_line(str(*host, "state"))) << "\n";
  return 0;
}

}  // namespace muster::cli
