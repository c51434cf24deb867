// sandboxd against an engine of another release, over the real link.
#include "tests/integration/sandbox_daemon.hpp"

namespace muster::sandbox::test {

using storage::kLinkProtocol;

TEST_CASE("an engine one protocol apart works, whichever is the newer") {
  World world;
  for (const int apart : {-1, 1}) {
    world.engine.disconnect();
    world.engine.speak(static_cast<std::uint16_t>(kLinkProtocol + apart));
    world.engine.listen();
    world.engine.wait_connected();
    auto spec = world.sandboxes.spec("seq 100000; echo x > new.txt");
    spec.attempt = static_cast<std::uint32_t>(2 + apart);
    const std::string id = sandbox_id(spec.run, spec.attempt);
    world.engine.set_credit(0);  // until all of the log is there, and goes in large parts
    world.engine.start_or_repeat(spec);
    CHECK(brief(world.engine.wait_report(id)) == "changed agent=0");
    world.engine.set_credit(1u << 20);
    world.engine.wait([&] { return world.engine.complete_logs.contains(id); });
    CHECK((world.engine.log_text(id) == shell("seq 100000") + "\n"));
    world.engine.wait([&] { return (world.engine.packed_parts > 0) == (kLinkProtocol + apart >= storage::kPackedLogsProtocol); });
  }
}

TEST_CASE("two apart there is no session; the log says which to upgrade, and what ran is not touched until the lease ends") {
  World world;
  world.engine.start(world.sandboxes.spec(std::string(kPause) + "echo x > new.txt"));
  world.wait_file(world.output(kId) / "here");
  // The agent can be at work before the engine has heard so.
  world.engine.wait_story(kId, "accepted running");
  std::string expected;
  world.engine.disconnect();
  SECTION("an older engine, which does not look") {
    world.engine.speak(kLinkProtocol - 2);
    expected = "upgrade musterd";
  }
  SECTION("a newer engine") {
    world.engine.speak(kLinkProtocol + 2);
    expected = "upgrade sandboxd";
  }
  SECTION("an engine that refuses") {
    world.engine.speak(kLinkProtocol + 1, "sandboxd is too old, says the engine: upgrade sandboxd");
    expected = "says the engine: upgrade sandboxd";
  }
  const int heard = world.engine.heartbeats_heard();
  world.engine.listen();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (world.daemon->said().find(expected) == std::string::npos && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  INFO(world.daemon->said());
  REQUIRE(world.daemon->said().find("don't work together") != std::string::npos);
  REQUIRE(world.daemon->said().find(expected) != std::string::npos);
  CHECK(world.engine.heartbeats_heard() == heard);
  CHECK(world.engine.story(kId) == "accepted running");
  // The right one comes: everything goes on where it was.
  world.engine.disconnect();
  world.engine.speak(kLinkProtocol);
  world.engine.listen();
  world.engine.wait([&] { return world.engine.heartbeats > heard; });
  world.touch(world.output(kId) / "go");
  CHECK(brief(world.engine.wait_report(kId)) == "changed agent=0");
  CHECK(world.engine.story(kId) == "accepted running finished");
}

}  // namespace muster::sandbox::test
