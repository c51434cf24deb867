#include <catch2/catch.hpp>

#include "tools/musterd/config.hpp"

using namespace muster;
using namespace muster::musterd;

TEST_CASE("settings are read") {
  Config config;
  REQUIRE(apply_yaml(
      config, "embedded_host: true\nslots: 8\nlink_address: 0.0.0.0:7411\nlog_format: json\n",
      "musterd.yaml"));
  CHECK(config.embedded_host);
  CHECK(config.slots == 8);
  CHECK(config.link_address == "0.0.0.0:7411");
  CHECK(config.log_format == "json");
  CHECK(config.host_name == "local");
  CHECK(apply_yaml(config, "", "empty.yaml"));
  CHECK(apply_yaml(config, "# nothing\n", "comment.yaml"));
}

TEST_CASE("everything that is wrong is told, with its line") {
  Config config;
  const auto wrong =
      apply_yaml(config, "slots: many\nembeded_host: true\nlog_level: debug\n", "m.yaml");
  REQUIRE(!wrong);
  CHECK(wrong.error().code == Errc::invalid);
  CHECK(wrong.error().message.find("m.yaml:1:8: slots can't take this value\n"
                                   "m.yaml:2:1: unknown key 'embeded_host'; known are ") == 0);
  CHECK(apply_yaml(config, "- a\n- b\n", "m.yaml").error().message ==
        "m.yaml:1:1: must be settings, one 'key: value' a line");
  CHECK(apply_yaml(config, "a: [", "m.yaml").error().message.find("m.yaml:1:") == 0);
}

TEST_CASE("a missing file is no settings, unless it was named") {
  Config config;
  CHECK(apply_file(config, "/nonexistent/musterd.yaml", false));
  CHECK(!apply_file(config, "/nonexistent/musterd.yaml", true));
}

TEST_CASE("settings that make no sense are refused") {
  const auto refused = [](auto change) {
    Config config;
    change(config);
    return !check(config);
  };
  CHECK(check(Config{}));
  CHECK(refused([](Config& c) { c.log_level = "loud"; }));
  CHECK(refused([](Config& c) { c.log_format = "xml"; }));
  CHECK(refused([](Config& c) { c.host_name = "../x"; }));
  CHECK(refused([](Config& c) { c.host_name = ""; }));
  CHECK(refused([](Config& c) { c.slots = 5000; }));
}
