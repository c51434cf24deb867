// /v1/runs/{id}/snapshots and /v1/runs/{id}/fork
#include <algorithm>
#include <atomic>

#include "actors/repo/repo.hpp"
#include "actors/spec/derive.hpp"
#include "actors/spec/units.hpp"
#include "storage/base/ids.hpp"
#include "tools/musterd/api_base.hpp"
#include "tools/musterd/host_orders.hpp"

namespace muster::musterd {
namespace {

constexpr Duration kTakeLimit{60'000};  // A large workspace goes on being copied, and is in the list then.
constexpr Duration kAskLimit{10'000};
constexpr std::size_t kMostHostsAsked = 8;
constexpr int kMostTakers = 2;  // Requests that wait for a host: of the server's four workers.
constexpr std::size_t kIdDigits = 16;
constexpr std::size_t kForkDigits = 6;  // Of the name of a fork's fleet that nobody named.
constexpr std::size_t kMostFleetName = 63;

/// Whoever waits for a host holds a worker of the server meanwhile.
class Taker {
 public:
  explicit Taker(std::atomic<int>& takers) : takers_(takers), fits_(++takers_ <= kMostTakers) {}
  ~Taker() { --takers_; }
  Taker(const Taker&) = delete;
  Taker& operator=(const Taker&) = delete;
  [[nodiscard]] bool fits() const { return fits_; }

 private:
  std::atomic<int>& takers_;
  const bool fits_;
};

/// The same for the same request when it comes again: the host takes none twice.
std::string digest_of(const Request& request, const std::string& run) {
  return sha256_hex("snapshot\n" + run + "\n" + request.header("Idempotency-Key"));
}

Result<Json> ask_host(const ApiContext& api, const actors::ExecPlace& place, const storage::HostOrder& order,
                   Duration limit) {
  if (api.parts.execs == nullptr) return fail(Errc::unreachable, "no host can be asked here");
  return order_host(*api.parts.execs, place, order, limit);
}

Result<Json> take(const ApiContext& api, const Request& request, const std::string& run,
                  const std::string& name) {
  const auto head = api.view.run_head(run);
  if (!head) return tl::unexpected<Error>(head.error());
  if (head->state != fbs::RunState::running && head->state != fbs::RunState::verifying)
    return fail(Errc::conflict, "run " + run + " is " + std::string(name_of(head->state)) +
                                    ": a snapshot is taken of a running sandbox");
  const std::string id = "snap-" + digest_of(request, run).substr(0, kIdDigits);
  const auto said = ask_host(api, {head->host, run, head->attempt}, {storage::kTakeSnapshot, id, name}, kTakeLimit);
  if (!said && said.error().code == Errc::timed_out)
    return fail(Errc::timed_out, said.error().message + ": snapshot " + id +
                                     " is in the list of the run's snapshots once it is whole");
  if (!said) return tl::unexpected<Error>(said.error());
  auto json = snapshot_json(*said, head->host, run);
  if (!json) return fail(Errc::corrupt, "host " + head->host + " gave no answer that can be read");
  return std::move(*json);
}

struct Found {
  Json snapshots = Json::array();
  Json unreachable = Json::array();  ///< Hosts that may have more.
};

/// On every host where the run was lately.
Result<Found> find_snapshots(const ApiContext& api, const std::string& run) {
  const auto attempts = api.view.attempts(run);
  if (!attempts) return tl::unexpected<Error>(attempts.error());
  std::vector<std::string> hosts;
  for (auto attempt = attempts->rbegin(); attempt != attempts->rend() && hosts.size() < kMostHostsAsked; ++attempt)
    if (!attempt->host.empty() && std::find(hosts.begin(), hosts.end(), attempt->host) == hosts.end())
      hosts.push_back(attempt->host);
  Found found;
  for (const std::string& host : hosts) {
    const auto said = ask_host(api, {host, run, 1}, {storage::kListSnapshots}, kAskLimit);
    if (!said) {
      found.unreachable.push_back(host);
      continue;
    }
    for (const Json& one : *said)
      if (auto json = snapshot_json(one, host, run)) found.snapshots.push_back(std::move(*json));
  }
  return found;
}

/// Errc::not_found, with the hosts that could not be asked.
Result<Json> find_snapshot(const ApiContext& api, const std::string& run, const std::string& id) {
  const auto found = find_snapshots(api, run);
  if (!found) return tl::unexpected<Error>(found.error());
  for (const Json& one : found->snapshots)
    if (one.at("id") == id) return one;
  std::string away;
  for (const Json& host : found->unreachable) away += (away.empty() ? "" : ", ") + host.get<std::string>();
  if (!away.empty()) return fail(Errc::unreachable, "run " + run + " has no snapshot " + id + " but maybe on " + away);
  return fail(Errc::not_found, "run " + run + " has no snapshot " + id);
}

Result<Response> take_snapshot(const ApiContext& api, const Request& request) {
  const auto id = api.view.find_run(request.params.at("id"));
  if (!id) return tl::unexpected<Error>(id.error());
  const auto body = read_object(request, {"name", "by"});
  if (!body) return tl::unexpected<Error>(body.error());
  const auto name = read_text(*body, "name");
  if (!name) return tl::unexpected<Error>(name.error());
  const auto by = read_by(*body, request);
  if (!by) return tl::unexpected<Error>(by.error());
  if (auto noted = note_order(api, request, {*by, "run.snapshot", *id, *name}); !noted)
    return tl::unexpected<Error>(noted.error());
  const auto taken = take(api, request, *id, *name);
  if (!taken) return tl::unexpected<Error>(taken.error());
  return json_response(*taken, 201);
}

Result<Response> list_snapshots(const ApiContext& api, const Request& request) {
  const auto id = api.view.find_run(request.params.at("id"));
  if (!id) return tl::unexpected<Error>(id.error());
  const auto found = find_snapshots(api, *id);
  if (!found) return tl::unexpected<Error>(found.error());
  return json_response({{"snapshots", found->snapshots}, {"unreachable", found->unreachable}});
}

Result<Response> remove_snapshot(const ApiContext& api, const Request& request) {
  const auto id = api.view.find_run(request.params.at("id"));
  if (!id) return tl::unexpected<Error>(id.error());
  const auto words = read_order(request);
  if (!words) return tl::unexpected<Error>(words.error());
  const auto snapshot = find_snapshot(api, *id, request.params.at("snapshot"));
  if (!snapshot) return tl::unexpected<Error>(snapshot.error());
  const std::string name = snapshot->at("id");
  if (auto noted = note_order(api, request, {words->by, "run.snapshot.remove", *id, name + " " + words->reason}); !noted)
    return tl::unexpected<Error>(noted.error());
  const auto said = ask_host(api, {snapshot->at("host"), *id, 1}, {storage::kRemoveSnapshot, name}, kTakeLimit);
  if (!said) return tl::unexpected<Error>(said.error());
  return json_response(*snapshot);
}

// ---- forks ----

struct ForkWords {
  std::string snapshot, name, prompt, command, by;
};

Result<ForkWords> read_fork(const Request& request, const std::string& run,
                            const std::string& fleet) {
  const auto body = read_object(request, {"snapshot", "name", "prompt", "command", "by"});
  if (!body) return tl::unexpected<Error>(body.error());
  ForkWords words;
  for (const auto& [key, to] : {std::pair{"snapshot", &words.snapshot}, {"name", &words.name},
                                {"prompt", &words.prompt}, {"command", &words.command}}) {
    auto text = read_text(*body, key);
    if (!text) return tl::unexpected<Error>(text.error());
    *to = std::move(*text);
  }
  auto by = read_by(*body, request);
  if (!by) return tl::unexpected<Error>(by.error());
  words.by = std::move(*by);
  const std::string ending = "-fork-" + digest_of(request, run).substr(0, kForkDigits);
  if (words.name.empty()) words.name = fleet.substr(0, kMostFleetName - ending.size()) + ending;
  if (!actors::is_fleet_name(words.name))
    return fail(Errc::invalid, "\"" + words.name + "\" is no name of a fleet: lower-case letters, digits, '.' and '-'");
  if (!request.who.scope.covers_fleet(words.name))
    return fail(Errc::not_found, "the token is for other fleets than " + words.name);
  return words;
}

/// The origin's fleet file, for one repository and with a branch of its own.
Result<actors::FleetSpec> fork_spec(const ApiContext& api, const RunWhole& origin, const fbs::CreateFleetT& fleet,
                                    const ForkWords& words) {
  const auto text = api.parts.blobs.get(fleet.spec_digest);
  if (!text) return tl::unexpected<Error>(text.error());
  auto spec = actors::stored_fleet(*text);
  if (!spec) return spec;
  spec->name = words.name;
  if (!words.prompt.empty()) spec->prompt = words.prompt;
  if (!words.command.empty()) spec->agent.run = {words.command, {}};
  actors::RepositorySource source;
  source.kind = origin.create.url.starts_with("/") ? actors::RepositorySource::Kind::path
                                                   : actors::RepositorySource::Kind::url;
  source.value = origin.create.url;
  source.base_branch = origin.create.base_branch;
  spec->repositories = {source};
  spec->exclude.clear();
  spec->rollout.waves = {{0, 1000}};
  spec->delivery.branch = "muster/" + words.name;
  return spec;
}

/// As the client of `fleet run` would have listed it.
std::string one_repository(const fbs::CreateRunT& run) {
  const Json labels = Json::parse(run.labels_json, nullptr, false);
  return Json({{"repository", run.repository},
               {"url", run.url},
               {"canonical_url", run.canonical_url},
               {"base_branch", run.base_branch},
               {"labels", labels.is_object() ? labels : Json::object()}})
             .dump() +
         "\n";
}

Result<fbs::CreateFleetT> make_fork(const ApiContext& api, const RunWhole& origin, const fbs::CreateFleetT& fleet,
                                    const ForkWords& words, const Json& snapshot) {
  const auto spec = fork_spec(api, origin, fleet, words);
  if (!spec) return tl::unexpected<Error>(spec.error());
  const std::string spec_json = actors::to_canonical_json(*spec), list = one_repository(origin.create);
  if (auto sound = actors::stored_fleet(spec_json); !sound) return tl::unexpected<Error>(sound.error());
  if (!fleet.agent_bundle.empty() && !api.parts.blobs.touch(fleet.agent_bundle))
    return fail(Errc::not_found, "the agent's files of fleet " + origin.head.fleet + " are gone");
  const actors::FleetDigests digests{sha256_hex(spec_json), sha256_hex(list), fleet.agent_bundle};
  if (auto put = api.parts.blobs.put(digests.spec, spec_json); !put) return tl::unexpected<Error>(put.error());
  if (auto put = api.parts.blobs.put(digests.snapshot, list); !put) return tl::unexpected<Error>(put.error());
  const bool dry_run = fleet.policy && fleet.policy->dry_run;
  auto create = actors::make_create_fleet(*spec, digests, 1, words.by, dry_run, api.view.now());
  create.fork = std::make_unique<fbs::ForkT>();
  create.fork->run = origin.id;
  create.fork->snapshot = snapshot.at("id");
  create.fork->host = snapshot.at("host");
  create.policy->runs_per_repo = actors::Repo::kBesideOthers;
  create.digest = sha256_hex("fork\n" + create.digest + "\n" + create.fork->snapshot + "\n" + create.fork->host);
  return create;
}

Result<Response> fork_run(const ApiContext& api, const Request& request) {
  const auto id = api.view.find_run(request.params.at("id"));
  if (!id) return tl::unexpected<Error>(id.error());
  const auto origin = api.view.run(*id);
  if (!origin) return tl::unexpected<Error>(origin.error());
  const std::string& fleet_name = origin->head.fleet;
  if (origin->head.swarm)
    return fail(Errc::refused, "run " + *id + " belongs to swarm " + fleet_name + ", which makes its runs itself");
  const auto fleet = api.view.fleet_create(fleet_name);
  if (!fleet) return tl::unexpected<Error>(fleet.error());
  const auto words = read_fork(request, *id, fleet_name);
  if (!words) return tl::unexpected<Error>(words.error());
  if (auto noted = note_order(api, request, {words->by, "run.fork", *id, words->name + " " + words->snapshot}); !noted)
    return tl::unexpected<Error>(noted.error());
  const auto snapshot = words->snapshot.empty() ? take(api, request, *id, words->name)
                                                : find_snapshot(api, *id, words->snapshot);
  if (!snapshot) return tl::unexpected<Error>(snapshot.error());
  const auto create = make_fork(api, *origin, *fleet, *words, *snapshot);
  if (!create) return tl::unexpected<Error>(create.error());
  const auto reply = call_actor(api, request, api.view.actor("fleet", words->name),
                                payload_of<fbs::FleetBodyUnionTraits>(*create), engine::Lane::normal);
  if (!reply) return tl::unexpected<Error>(reply.error());
  return json_response({{"run", run_id(words->name, origin->create.canonical_url, 1)},
                        {"fleet", words->name},
                        {"snapshot", *snapshot}},
                       201);
}

}  // namespace

void add_snapshot_routes(Router& router, ApiContext api) {
  const auto takers = std::make_shared<std::atomic<int>>(0);
  const auto waiting = [api, takers](auto handler) {
    return [api, takers, handler](const Request& request) -> Result<Response> {
      const Taker taker(*takers);
      if (!taker.fits()) return fail(Errc::overloaded, "others wait for a host's snapshot already");
      return handler(api, request);
    };
  };
  router.add({"POST", "/v1/runs/{id}/snapshots", waiting(take_snapshot), kMaxBody});
  router.add({"GET", "/v1/runs/{id}/snapshots", waiting(list_snapshots), 0});
  router.add({"POST", "/v1/runs/{id}/snapshots/{snapshot}/remove", waiting(remove_snapshot), kMaxBody});
  router.add({"POST", "/v1/runs/{id}/fork", waiting(fork_run), kMaxBody});
}

}  // namespace muster::musterd
