// sandboxd as a process, against an engine that this test plays over the real link.
#include "tests/integration/sandbox_daemon.hpp"

namespace muster::sandbox::test {

TEST_CASE("an attempt over the link: events in order, pack before its end, the whole log, then nothing left") {
  World world;
  auto spec = world.sandboxes.spec("echo hello; cat $MUSTER_AGENT_DIR/greeting; seq 1 100000; echo x > new.txt");
  Sandboxes::add_step(spec, "verify:a", "test -s new.txt");
  const std::string tar = shell("cd $(mktemp -d) && echo from-bundle > greeting && tar -cf - greeting | base64 -w0");
  const std::string bundle = shell("echo " + tar + " | base64 -d | od -An -v -tx1 | tr -d ' \\n'");
  std::string bytes;
  for (std::size_t i = 0; i + 1 < bundle.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(bundle.substr(i, 2), nullptr, 16)));
  spec.agent_bundle = sha256_hex(bytes);
  world.engine.send_blob(spec.agent_bundle, bytes);
  world.engine.start(spec);
  const auto report = world.engine.wait_report(kId);
  CHECK(brief(report) == "changed agent=0 verify:a=0");
  CHECK(world.engine.story(kId) == "accepted running verifying finished");
  CHECK(sha256_hex(world.engine.packs[report->pack_digest]) == report->pack_digest);
  world.engine.wait([&] { return world.engine.complete_logs.contains(kId); });
  CHECK(world.engine.logs[kId].size() == report->log_bytes);
  const std::string log = world.engine.log_text(kId);
  CHECK(log.starts_with("hello\nfrom-bundle\n1\n2\n"));
  CHECK(log.ends_with("99999\n100000\n"));
  CHECK(log.size() == 6 + 12 + 588895);
  world.wait_forgotten(kId);
}

TEST_CASE("kill -9 of sandboxd: the sandbox lives on, is adopted, and no event or log byte is lost") {
  World world;
  auto spec = world.sandboxes.spec(std::string(kPause) + "seq 1 2000; echo x > new.txt");
  world.engine.start(spec);
  world.wait_file(world.output(kId) / "here");
  world.daemon->kill_and_restart();
  world.engine.wait([&] { return world.engine.hellos == 2; });
  CHECK(world.engine.running == std::vector<std::string>{kId});
  world.touch(world.output(kId) / "go");
  CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  CHECK(world.engine.story(kId) == "accepted running finished");
  world.engine.wait([&] { return world.engine.complete_logs.contains(kId); });
  CHECK(world.engine.log_text(kId) == "before\nafter\n" + shell("seq 1 2000") + "\n");
  world.wait_forgotten(kId);
}

TEST_CASE("an attempt that ends while no sandboxd lives is reported by the next one") {
  World world;
  world.engine.start(world.sandboxes.spec(std::string(kPause) + "echo x > new.txt"));
  world.wait_file(world.output(kId) / "here");
  world.daemon->end(SIGKILL);
  world.touch(world.output(kId) / "go");
  world.wait_file(world.sandboxes.host().ops.exits() / kId);
  world.daemon->start();
  CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  CHECK(world.engine.story(kId) == "accepted running finished");
  world.wait_forgotten(kId);
}

TEST_CASE("what the engine did not acknowledge comes again, with its pack, from the next sandboxd") {
  World world;
  world.engine.acknowledge(false, true);
  world.engine.start(world.sandboxes.spec("echo x > new.txt"));
  const auto report = world.engine.wait_report(kId);
  CHECK(brief(report) == "changed agent=0");
  {
    world.engine.wait([&] {
      world.engine.reports.clear();
      world.engine.packs.clear();
      return true;
    });
  }
  world.daemon->end(SIGKILL);
  world.engine.acknowledge(true, true);
  world.daemon->start();
  CHECK(world.engine.wait_report(kId)->head_sha == report->head_sha);
  CHECK(sha256_hex(world.engine.packs[report->pack_digest]) == report->pack_digest);
  CHECK(world.engine.story(kId) == "accepted running finished");
  world.wait_forgotten(kId);
}

TEST_CASE("a stop ends the sandbox and is reported as cancelled") {
  World world;
  world.engine.start(world.sandboxes.spec(kPause));
  world.wait_file(world.output(kId) / "here");
  world.engine.stop("0123456789ABC", 1, 5'000);
  CHECK(brief(world.engine.wait_report(kId)) == "cancelled(cancelled) agent=143/stopped");
  world.wait_forgotten(kId);
}

TEST_CASE("what people say appears in the running sandbox, once and in order, also after kill -9 of sandboxd") {
  World world;
  auto spec = world.sandboxes.spec(
      "line() { until [ \"$(wc -l < $MUSTER_STEER_FILE)\" -ge $1 ]; do sleep 0.02; done; sed -n $1p $MUSTER_STEER_FILE; }\n"
      "line 1; touch $MUSTER_OUTPUT/here; line 2; touch $MUSTER_OUTPUT/two; line 3; line 4; wc -l < $MUSTER_STEER_FILE\n"
      "! echo mine >> $MUSTER_STEER_FILE");
  spec.messages.push_back(std::make_unique<wire::SteerMessageT>());
  spec.messages.back()->number = 1;
  spec.messages.back()->text = "before it began";
  world.engine.start(spec);
  world.wait_file(world.output(kId) / "here");
  world.engine.steer("0123456789ABC", 1, {{2, "second"}});
  world.wait_file(world.output(kId) / "two");
  world.engine.wait([&] { return world.engine.steered[kId].below == 3; });
  world.daemon->end(SIGKILL);
  world.daemon->start();
  world.engine.wait([&] { return world.engine.hellos == 2; });
  world.engine.steer("0123456789ABC", 1, {{2, "second"}, {5, "third"}});
  world.engine.wait([&] { return world.engine.steered[kId].below == 6; });
  world.engine.steer("0123456789ABC", 1, {{5, "third"}, {6, "fourth"}});
  CHECK(brief(world.engine.wait_report(kId)) == "unchanged agent=0");
  world.engine.wait([&] { return world.engine.complete_logs.contains(kId); });
  const auto line = [](int number, const std::string& text) {
    return "{\"number\":" + std::to_string(number) + ",\"by\":\"\",\"text\":\"" + text + "\",\"at_unix_ms\":0}\n";
  };
  const std::string log = world.engine.log_text(kId);
  CHECK(log.starts_with(line(1, "before it began") + line(2, "second") + line(5, "third") + line(6, "fourth") + "4\n"));
  world.wait_forgotten(kId);
  world.engine.steer("0123456789ABC", 1, {{7, "too late"}});
  world.engine.wait([&] { return world.engine.steered[kId].gone; });
}

TEST_CASE("what the engine does not believe to be here is ended at the next session") {
  World world;
  world.engine.start(world.sandboxes.spec(kPause));
  world.wait_file(world.output(kId) / "here");
  world.engine.place({});
  world.daemon->kill_and_restart();
  CHECK(brief(world.engine.wait_report(kId)).starts_with("cancelled(superseded)"));
  world.wait_forgotten(kId);
}

TEST_CASE("no slot, a bad spec and a missing bundle are refused with a reason") {
  World world;
  auto spec = world.sandboxes.spec(kPause);
  for (std::uint32_t attempt = 1; attempt <= 2; ++attempt) {
    spec.attempt = attempt;
    world.engine.start(spec);
  }
  spec.attempt = 3;
  world.engine.start(spec);
  world.engine.wait([&] { return world.engine.events.size() >= 3; });
  CHECK(world.engine.story("0123456789ABC-3") == "refused:no_slot");
  spec.attempt = 4;
  spec.branch = "../evil";
  world.engine.start(spec);
  spec.attempt = 5;
  spec.branch = "fine";
  spec.network = wire::Network::host;
  world.engine.start(spec);
  spec.attempt = 6;
  spec.network = wire::Network::none;
  spec.agent_bundle = std::string(64, 'a');
  world.engine.start(spec);
  const auto has = [&](const char* id) {
    for (const auto& [number, event] : world.engine.events)
      if (event.first == id) return true;
    return false;
  };
  world.engine.wait([&] { return has("0123456789ABC-6"); });
  CHECK(world.engine.story("0123456789ABC-4") == "refused:bad_spec");
  CHECK(world.engine.story("0123456789ABC-5") == "refused:not_allowed");
  CHECK(world.engine.story("0123456789ABC-6") == "refused:no_bundle");
}

}  // namespace muster::sandbox::test
