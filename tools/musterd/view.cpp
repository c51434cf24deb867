#include "tools/musterd/view.hpp"

#include "actors/host/host.hpp"
#include "actors/indexes.hpp"
#include "actors/swarm/swarm.hpp"
#include "engine/core/kind.hpp"
#include "storage/journal/journal.hpp"

namespace muster::musterd {
namespace {

namespace index = actors::index;

constexpr std::size_t kShortestPrefix = 4;
constexpr std::size_t kRunIdLength = 13;
constexpr std::size_t kCandidates = 5;  // Named in the error of an ambiguous prefix.

/// The smallest key greater than `key`.
std::string after_key(std::string_view key) {
  return std::string(key) + '\0';
}

/// The exclusive end of an index's keys: names are ASCII or UTF-8, which has no 0xFF.
std::string end_of_index() {
  return "\xff";
}

bool is_run_id_prefix(std::string_view text) {
  return text.size() >= kShortestPrefix && text.size() <= kRunIdLength &&
         text.find_first_not_of("0123456789ABCDEFGHJKMNPQRSTVWXYZ") == std::string_view::npos;
}

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}

RunName run_name(std::string_view key, std::string_view value) {
  const std::size_t newline = std::min(value.find('\n'), value.size());
  return {std::string(key), std::string(value.substr(0, newline)),
          std::string(value.substr(std::min(newline + 1, value.size())))};
}

}  // namespace

template <class T>
Result<T> View::head(std::string_view kind, std::string_view key) const {
  auto bytes = engine_.head(actor(kind, key));
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  if (!*bytes)
    return fail(Errc::not_found, "there is no " + std::string(kind) + " " + std::string(key));
  return engine::decode_table<T>(**bytes);
}

template <class T>
Result<T> View::decoded_row(const engine::ActorId& id, std::string_view key) const {
  auto bytes = engine_.row(id, key);
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  if (!*bytes) return fail(Errc::not_found, id.kind + " " + id.key + " has no " + std::string(key));
  return engine::decode_table<T>(**bytes);
}

Result<void> View::each_fleet(std::string_view after,
                              const std::function<bool(const std::string&)>& each) const {
  return engine_.list(index::kFleet, after_key(after), end_of_index(),
                      [&](std::string_view key, const engine::ActorId&, std::string_view) {
                        return each(std::string(key));
                      });
}

Result<void> View::each_row(std::string_view fleet, std::string_view after,
                            const std::function<bool(const fbs::RunRowT&)>& each) const {
  Result<void> decoded{};
  auto scanned =
      engine_.rows(actor("fleet", fleet), "run/" + after_key(after), storage::prefix_end("run/"),
                   [&](std::string_view, std::string_view value) {
                     auto row = engine::decode_table<fbs::RunRowT>(value);
                     if (!row) {
                       decoded = tl::unexpected<Error>(row.error());
                       return false;
                     }
                     return each(*row);
                   });
  return scanned ? decoded : scanned;
}

Result<void> View::each_run(std::string_view after,
                            const std::function<bool(const RunName&)>& each) const {
  return engine_.list(index::kRun, after_key(after), end_of_index(),
                      [&](std::string_view key, const engine::ActorId&, std::string_view value) {
                        return each(run_name(key, value));
                      });
}

Result<void> View::each_pull(std::string_view fleet, std::string_view after,
                             const std::function<bool(const PullName&)>& each) const {
  if (fleet.empty())
    return engine_.list(index::kPull, after_key(after), end_of_index(),
                        [&](std::string_view key, const engine::ActorId&, std::string_view value) {
                          const RunName name = run_name(key, value);
                          return each({name.id, name.fleet, name.repository});
                        });
  const std::string prefix = std::string(fleet) + '\0';
  return engine_.list(index::kPullByFleet, prefix + after_key(after), storage::prefix_end(prefix),
                      [&](std::string_view key, const engine::ActorId&, std::string_view value) {
                        return each({std::string(key.substr(prefix.size())), std::string(fleet),
                                     std::string(value)});
                      });
}

Result<void> View::each_swarm(std::string_view after,
                              const std::function<bool(const std::string&)>& each) const {
  return engine_.list(index::kSwarm, after_key(after), end_of_index(),
                      [&](std::string_view key, const engine::ActorId&, std::string_view) {
                        return each(std::string(key));
                      });
}

template <class T>
Result<void> View::decoded_rows(
    const engine::ActorId& id, const std::string& prefix, std::string_view after,
    const std::function<bool(const std::string& rest, const T& row)>& each) const {
  Result<void> decoded{};
  const std::string lower = after.empty() ? prefix : prefix + after_key(after);
  auto scanned = engine_.rows(id, lower, storage::prefix_end(prefix),
                              [&](std::string_view key, std::string_view value) {
                                auto row = engine::decode_table<T>(value);
                                if (row) return each(std::string(key.substr(prefix.size())), *row);
                                decoded = tl::unexpected<Error>(row.error());
                                return false;
                              });
  return scanned ? decoded : scanned;
}

Result<void> View::each_facet(
    std::string_view swarm, std::string_view after,
    const std::function<bool(const std::string&, const fbs::FacetRowT&)>& each) const {
  return decoded_rows<fbs::FacetRowT>(actor("swarm", swarm), "facet/", after, each);
}

Result<void> View::each_commit(
    std::string_view swarm,
    const std::function<bool(const std::string&, const fbs::CommitRowT&)>& each) const {
  return decoded_rows<fbs::CommitRowT>(actor("swarm", swarm), "commit/", "", each);
}

Result<void> View::each_result(
    std::string_view swarm,
    const std::function<bool(std::uint32_t, std::string_view)>& each) const {
  const std::string prefix(actors::swarm::kResultPrefix);
  return engine_.rows(actor("swarm", swarm), prefix, storage::prefix_end(prefix),
                      [&](std::string_view key, std::string_view value) {
                        const std::string digits(key.substr(prefix.size()));
                        return each(static_cast<std::uint32_t>(std::stoul(digits)), value);
                      });
}

Result<void> View::each_note(
    std::string_view swarm,
    const std::function<bool(const std::string&, const fbs::NoteRowT&)>& each) const {
  return decoded_rows<fbs::NoteRowT>(actor("swarm", swarm), std::string(actors::swarm::kNotePrefix),
                                     "", [&](const std::string& rest, const fbs::NoteRowT& note) {
                                       return each(rest.substr(0, rest.find('/')), note);
                                     });
}

Result<void> View::each_message(std::string_view swarm,
                                const std::function<bool(const fbs::MessageRowT&)>& each) const {
  return decoded_rows<fbs::MessageRowT>(
      actor("swarm", swarm), std::string(actors::swarm::kMessagePrefix), "",
      [&](const std::string&, const fbs::MessageRowT& row) { return each(row); });
}

Result<void> View::each_host(const std::function<bool(const std::string&)>& each) const {
  return engine_.list(index::kHost, after_key(""), end_of_index(),
                      [&](std::string_view key, const engine::ActorId&, std::string_view) {
                        return each(std::string(key));
                      });
}

Result<fbs::FleetHeadT> View::fleet(std::string_view name) const {
  return head<fbs::FleetHeadT>("fleet", name);
}
Result<fbs::CreateFleetT> View::fleet_create(std::string_view name) const {
  return decoded_row<fbs::CreateFleetT>(actor("fleet", name), "create");
}
Result<fbs::RunRowT> View::row(std::string_view fleet, std::string_view run) const {
  return decoded_row<fbs::RunRowT>(actor("fleet", fleet), "run/" + std::string(run));
}
Result<fbs::RunHeadT> View::run_head(std::string_view id) const {
  return head<fbs::RunHeadT>("run", id);
}
Result<fbs::PullHeadT> View::pull(std::string_view id) const {
  return head<fbs::PullHeadT>("pull", id);
}
Result<fbs::HostHeadT> View::host(std::string_view name) const {
  return head<fbs::HostHeadT>("host", name);
}

std::vector<std::string> View::host_warm(const fbs::HostHeadT& host) const {
  auto row = decoded_row<fbs::WarmRowT>(actor("host", host.name), actors::Host::kWarmRow);
  return row ? std::move(row->urls) : host.warm;
}

Result<fbs::SwarmHeadT> View::swarm(std::string_view name) const {
  return head<fbs::SwarmHeadT>("swarm", name);
}
Result<fbs::LineRowT> View::swarm_line(std::string_view name, std::uint32_t number) const {
  return decoded_row<fbs::LineRowT>(actor("swarm", name), actors::swarm::numbered("line/", number));
}
Result<fbs::CreateSwarmT> View::swarm_create(std::string_view name) const {
  return decoded_row<fbs::CreateSwarmT>(actor("swarm", name), "create");
}
Result<std::string> View::swarm_reduced(std::string_view name) const {
  auto bytes = engine_.row(actor("swarm", name), std::string(actors::swarm::kReduced));
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  return bytes->value_or("");
}
Result<std::string> View::facet_feedback(std::string_view swarm, std::uint32_t number) const {
  auto bytes = engine_.row(actor("swarm", swarm), actors::swarm::numbered("feedback/", number));
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  return bytes->value_or("");
}
Result<fbs::PlanFacetT> View::swarm_plan(std::string_view name, std::uint32_t number) const {
  return decoded_row<fbs::PlanFacetT>(actor("swarm", name),
                                      actors::swarm::numbered("plan/", number));
}

Result<std::vector<fbs::AttemptRowT>> View::attempts(std::string_view id) const {
  std::vector<fbs::AttemptRowT> attempts;
  Result<void> decoded{};
  auto scanned = engine_.rows(actor("run", id), "attempt/", storage::prefix_end("attempt/"),
                              [&](std::string_view, std::string_view value) {
                                auto row = engine::decode_table<fbs::AttemptRowT>(value);
                                if (row) {
                                  attempts.push_back(std::move(*row));
                                } else {
                                  decoded = tl::unexpected<Error>(row.error());
                                }
                                return decoded.has_value();
                              });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  if (!decoded) return tl::unexpected<Error>(decoded.error());
  return attempts;
}

Result<fbs::AttemptRowT> View::attempt(std::string_view id, std::uint32_t number) const {
  std::string digits = std::to_string(number);
  digits.insert(0, 4 - std::min<std::size_t>(digits.size(), 4), '0');
  return decoded_row<fbs::AttemptRowT>(actor("run", id), "attempt/" + digits);
}

Result<RunWhole> View::run(std::string_view id) const {
  auto head = run_head(id);
  if (!head) return tl::unexpected<Error>(head.error());
  auto create = decoded_row<fbs::CreateRunT>(actor("run", id), "create");
  if (!create) return tl::unexpected<Error>(create.error());
  auto own_row = row(head->fleet, id);
  if (!own_row) return tl::unexpected<Error>(own_row.error());
  auto all = attempts(id);
  if (!all) return tl::unexpected<Error>(all.error());
  return RunWhole{std::string(id), std::move(*head), std::move(*create), std::move(*own_row),
                  std::move(*all)};
}

Result<std::string> View::pull_body(std::string_view id) const {
  auto bytes = engine_.row(actor("pull", id), "body");
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  return bytes->value_or("");
}

Result<std::string> View::find_run(std::string_view selector) const {
  if (selector.find('/') != std::string_view::npos) return find_by_repository(selector);
  const std::string id = upper(selector);
  if (!is_run_id_prefix(id))
    return fail(Errc::invalid, "'" + std::string(selector) +
                                   "' names no run: give at least 4 characters of its id, or "
                                   "FLEET/OWNER/NAME");
  return find_by_prefix(id);
}

/// The newest generation of that repository's run in that fleet.
Result<std::string> View::find_by_repository(std::string_view selector) const {
  const std::size_t slash = selector.find('/');
  const std::string_view fleet_name = selector.substr(0, slash);
  const std::string_view repository = selector.substr(slash + 1);
  if (auto exists = fleet(fleet_name); !exists) return tl::unexpected<Error>(exists.error());
  std::string found;
  std::uint32_t generation = 0;
  auto scanned = each_row(fleet_name, "", [&](const fbs::RunRowT& row) {
    if (row.repository == repository && row.generation > generation) {
      found = row.run;
      generation = row.generation;
    }
    return true;
  });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  if (found.empty())
    return fail(Errc::not_found,
                "fleet " + std::string(fleet_name) + " has no run of " + std::string(repository));
  return found;
}

Result<std::string> View::find_by_prefix(std::string_view prefix) const {
  std::vector<RunName> candidates;
  auto listed =
      engine_.list(index::kRun, prefix, storage::prefix_end(prefix),
                   [&](std::string_view key, const engine::ActorId&, std::string_view value) {
                     candidates.push_back(run_name(key, value));
                     return candidates.size() <= kCandidates;
                   });
  if (!listed) return tl::unexpected<Error>(listed.error());
  if (candidates.empty()) return fail(Errc::not_found, "no run begins with " + std::string(prefix));
  if (candidates.size() == 1) return candidates.front().id;
  std::string names;
  for (std::size_t i = 0; i < candidates.size() && i < kCandidates; ++i)
    names += (i == 0 ? "" : ", ") + candidates[i].id + " (" + candidates[i].fleet + "/" +
             candidates[i].repository + ")";
  if (candidates.size() > kCandidates) names += ", …";
  return fail(Errc::conflict, "several runs begin with " + std::string(prefix) + ": " + names);
}

}  // namespace muster::musterd
