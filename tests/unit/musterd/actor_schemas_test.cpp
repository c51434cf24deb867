// Bytes of actors become what people read, and what they write becomes messages.
#include "tools/musterd/actor_schemas.hpp"
#include "tools/musterd/actor_waits.hpp"

#include <catch2/catch.hpp>

#include <algorithm>

#include "actors/fleet/fleet_generated.h"
#include "actors/host/host_generated.h"
#include "actors/ports/effects_generated.h"
#include "actors/pull/pull_generated.h"
#include "actors/repo/repo_generated.h"
#include "actors/run/run_generated.h"
#include "actors/swarm/swarm_generated.h"
#include "engine/core/kind.hpp"

using namespace muster;
using namespace muster::musterd;
namespace afbs = muster::actors::fbs;

namespace {

template <class Enum, std::size_t N, class Name>
void check_union(const std::string& kind, const Enum (&values)[N], Name name) {
  for (const Enum value : values) {
    const auto number = static_cast<std::uint16_t>(value);
    if (number == 0) continue;
    CHECK(actor_schemas().message_name(kind, number) == name(value));
    const auto described = actor_schemas().describe(kind);
    REQUIRE(described);
    CHECK(described->size() == N - 1);
  }
}

}  // namespace

TEST_CASE("every message of every kind is known by the name that the code gives it") {
  check_union("run", afbs::EnumValuesRunBody(), afbs::EnumNameRunBody);
  check_union("fleet", afbs::EnumValuesFleetBody(), afbs::EnumNameFleetBody);
  check_union("repo", afbs::EnumValuesRepoBody(), afbs::EnumNameRepoBody);
  check_union("pull", afbs::EnumValuesPullBody(), afbs::EnumNamePullBody);
  check_union("host", afbs::EnumValuesHostBody(), afbs::EnumNameHostBody);
  CHECK(actor_schemas().message_name("run", 99) == "99");
  CHECK(actor_schemas().message_name("none", 1) == "1");
}

TEST_CASE("a message is described with its tables' fields, for a form") {
  const Json messages = *actor_schemas().describe("run");
  const auto event = std::find_if(messages.begin(), messages.end(), [](const Json& message) {
    return message.at("name") == "HostEvent";
  });
  REQUIRE(event != messages.end());
  std::string told;
  for (const Json& field : event->at("fields")) {
    told += field.at("name").get<std::string>() + ":" + field.at("type").get<std::string>();
    for (const Json& inner : field.value("fields", Json::array()))
      told += " " + inner.at("name").get<std::string>();
    told += "\n";
  }
  CHECK(told.starts_with("host:string\nepoch:Epoch generation attempt session\nevent:RunEvent "));
  const auto made = messages.at(0).at("fields");
  CHECK(std::any_of(made.begin(), made.end(), [](const Json& field) {
    return field.at("name") == "reviewers" && field.at("type") == "[string]";
  }));
  CHECK(event->at("fields").at(1).at("fields").at(0).at("required") == true);  // Of a struct all are.
}

TEST_CASE("a state is told in the schema's order, enums by name, and hostile text stays text") {
  afbs::RunHeadT head;
  head.fleet = "bump";
  head.repository = "acme/api";
  head.state = afbs::RunState::failed;
  head.class_ = afbs::FailureClass::agent;
  head.message = "no \xff UTF-8, a quote \" and \\x";
  head.policy = std::make_unique<afbs::RunPolicyT>();
  head.policy->retry_on = {afbs::FailureClass::agent};
  const std::string bytes = engine::encode_table(head);
  const auto json = actor_schemas().state("run", bytes);
  REQUIRE(json);
  CHECK(json->at("fleet") == "bump");
  CHECK(json->at("state") == "failed");
  CHECK(json->at("class") == "agent");
  CHECK(json->at("policy").at("retry_on") == Json::array({"agent"}));
  CHECK(json->at("message") == "no \\xFF UTF-8, a quote \" and \\x");
  CHECK(json->begin().key() == "fleet");
  CHECK(actor_schemas().state_field("run", bytes, "state") == "failed");
  CHECK(actor_schemas().state_field("run", bytes, "repository") == "acme/api");
  CHECK(actor_schemas().state_field("run", bytes, "generation") == "1");
  CHECK(actor_schemas().state_field("run", bytes, "nothing").empty());
}

TEST_CASE("bytes that are not what they should be are refused, cut at any place") {
  afbs::HostHeadT head;
  head.name = "local";
  head.used.push_back(std::make_unique<afbs::SlotT>());
  head.used.back()->run = "ABC";
  const std::string bytes = engine::encode_table(head);
  REQUIRE(actor_schemas().state("host", bytes));
  for (std::size_t length = 0; length + 4 < bytes.size(); length += 4) {
    const auto cut = actor_schemas().state("host", bytes.substr(0, length));
    if (!cut) CHECK(cut.error().code == Errc::corrupt);
  }
  CHECK(actor_schemas().state("host", "").error().code == Errc::corrupt);
  CHECK(actor_schemas().state("nothing", bytes).error().code == Errc::not_found);
  CHECK(actor_schemas().message("host", {200, bytes}).error().code == Errc::not_found);
}

TEST_CASE("an actor of each kind says what it waits for") {
  afbs::FleetHeadT fleet;
  fleet.state = afbs::FleetState::running;
  fleet.total = 9;
  fleet.created = 8;
  const auto of_fleet = [&] { return what_it_waits_for("fleet", engine::encode_table(fleet)); };
  CHECK(of_fleet() == "1 run to be made");
  fleet.counts.resize(12);
  fleet.counts[static_cast<std::size_t>(afbs::RunState::queued)] = 3;
  fleet.counts[static_cast<std::size_t>(afbs::RunState::running)] = 2;
  fleet.counts[static_cast<std::size_t>(afbs::RunState::delivered)] = 4;
  CHECK(of_fleet() == "its runs: 3 queued, 2 running");
  fleet.state = afbs::FleetState::paused;
  fleet.reason = "paused by ann";
  CHECK(of_fleet() == "somebody to resume it: paused by ann");
  fleet.state = afbs::FleetState::completed;
  CHECK(of_fleet().empty());

  afbs::SwarmHeadT swarm;
  swarm.counts = {2, 1, 0, 0, 5, 0, 0};
  const auto of_swarm = [&] { return what_it_waits_for("swarm", engine::encode_table(swarm)); };
  CHECK(of_swarm() == "its facets: 2 waiting, 1 working");
  swarm.counts = {0, 0, 0, 0, 8, 0, 0};
  swarm.pulls_asked = 2;
  CHECK(of_swarm() == "2 pull requests to be opened");

  afbs::RepoHeadT repo;
  CHECK(what_it_waits_for("repo", engine::encode_table(repo)).empty());
  for (const char* run : {"A", "B"}) {
    repo.holders.push_back(std::make_unique<afbs::RepoTurnT>());
    repo.holders.back()->run = run;
    repo.waiting.push_back(std::make_unique<afbs::RepoTurnT>());
  }
  CHECK(what_it_waits_for("repo", engine::encode_table(repo)) ==
        "run/A and 1 other to give back its turn; 2 runs in line");

  afbs::PullHeadT pull;
  CHECK(what_it_waits_for("pull", engine::encode_table(pull)) == "somebody to merge or close it");
  pull.busy = "merge";
  CHECK(what_it_waits_for("pull", engine::encode_table(pull)) == "the forge's answer to merge");

  afbs::HostHeadT host;
  host.state = afbs::HostState::draining;
  host.used.push_back(std::make_unique<afbs::SlotT>());
  CHECK(what_it_waits_for("host", engine::encode_table(host)) == "1 run to end");
  host.state = afbs::HostState::unreachable;
  CHECK(what_it_waits_for("host", engine::encode_table(host)) == "it to connect");
  CHECK(what_it_waits_for("host", "no head of any kind").empty());
  CHECK(what_it_waits_for("run", "").empty());
}

TEST_CASE("rows and effects have schemas too") {
  afbs::RunRowT row;
  row.run = "ABC";
  row.state = afbs::RunState::queued;
  CHECK(actor_schemas().row("fleet", "run/ABC", engine::encode_table(row))->at("state") ==
        "queued");
  CHECK(*actor_schemas().row("pull", "body", "text") == "text");
  CHECK(actor_schemas().row("host", "x", "").error().code == Errc::not_found);
  afbs::EffectT effect;
  afbs::StopSandboxT stop;
  stop.run = "ABC";
  effect.body.Set(std::move(stop));
  const auto json = actor_schemas().effect(engine::encode_table(effect));
  REQUIRE(json);
  CHECK(json->at("body_type") == "StopSandbox");
  CHECK(json->at("body").at("run") == "ABC");
}

TEST_CASE("a message is made from its fields, and a mistake says which") {
  const auto made =
      actor_schemas().encode("run", "CancelRun", {{"reason", "not now"}, {"by", "ann"}});
  REQUIRE(made);
  CHECK(made->type == static_cast<std::uint16_t>(afbs::RunBody::CancelRun));
  const auto message = engine::decode_table<afbs::CancelRunT>(made->bytes);
  REQUIRE(message);
  CHECK(message->reason == "not now");
  CHECK(message->by == "ann");
  CHECK(actor_schemas().message("run", *made)->at("reason") == "not now");

  const auto refused = [](const char* kind, const char* name, const Json& fields) {
    const auto payload = actor_schemas().encode(kind, name, fields);
    return payload ? std::string("taken") : payload.error().message;
  };
  CHECK(refused("run", "CancelRun", {{"raeson", "x"}}).find("raeson") != std::string::npos);
  CHECK(refused("run", "Placed", Json::object()).find("host") != std::string::npos);
  CHECK(refused("run", "Placed", {{"host", "h"}, {"attempt", "many"}, {"session", 1}})
            .find("attempt: ") != std::string::npos);
  // Steps read the tables within a message: a step that finds none would end the program.
  CHECK(refused("run", "HostEvent", Json::object()) == "HostEvent: epoch is missing");
  CHECK(refused("run", "HostEvent",
                {{"epoch", {{"generation", 1}, {"session", 1}, {"attempt", 1}}}}) ==
        "HostEvent: event is missing");
  CHECK(refused("run", "Nothing", Json::object()).find("Nothing") != std::string::npos);
  CHECK(refused("run", "Placed", {{"host", "h"}, {"attempt", 2}}) == "taken");
}
