#include <catch2/catch.hpp>

#include "storage/base/files.hpp"
#include "tests/unit/musterd/api_fixture.hpp"
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
  CHECK(wrong.error().message.find("m.yaml:1:8: slots takes a whole number from 0\n"
                                   "m.yaml:2:1: unknown key 'embeded_host'; known are ") == 0);
  CHECK(apply_yaml(config, "slots: -1", "m.yaml").error().message ==
        "m.yaml:1:8: slots takes a whole number from 0");
  CHECK(apply_yaml(config, "keep_host: perhaps\nsocket: [a]", "m.yaml").error().message ==
        "m.yaml:1:12: keep_host takes true or false\nm.yaml:2:9: socket takes one text");
  for (const char* nothing : {"socket:\nslots: 3\n", "socket: ~\n", "socket: null\n"}) {
    const auto refused = apply_yaml(config, nothing, "m.yaml");
    REQUIRE(!refused);
    CHECK(refused.error().message.starts_with("m.yaml:"));
    CHECK(refused.error().message.ends_with("socket takes one text"));
  }
  CHECK(apply_yaml(config, "socket: \"\"\n", "m.yaml"));
  CHECK(config.socket.empty());
  CHECK(apply_yaml(config, "- a\n- b\n", "m.yaml").error().message ==
        "m.yaml:1:1: must be settings, one 'key: value' a line");
  CHECK(apply_yaml(config, "a: [", "m.yaml").error().message.find("m.yaml:1:") == 0);
}

TEST_CASE("what makes no sense is told with where it was said, all at once") {
  Config config;
  REQUIRE(apply_yaml(config,
                     "log_level: loud\nproxy_user_header: X-User\n"
                     "proxy_roles: {staff: boss}\n",
                     "m.yaml"));
  config.slots = 5000;
  config.sources["slots"] = "--slots";
  CHECK(check(config).error().message ==
        "m.yaml:1: log level 'loud' is none of debug, info, warn, error\n"
        "m.yaml:3: proxy_roles: 'boss' of group 'staff' is none of viewer, operator, admin\n"
        "--slots: a host has at most 1024 slots");
}

TEST_CASE("each setting is shown with its value and its source") {
  Config config;
  REQUIRE(apply_yaml(config, "slots: 3\ntls_names: [a, b]\n", "m.yaml"));
  std::string text;
  for (const ShownSetting& each : show(config))
    if (each.source != "default" || each.key == "log_level")
      text += each.key + "=" + each.value + " " + each.source + (each.reloadable ? " SIGHUP" : "") +
              "\n";
  CHECK(text == "log_level=info default SIGHUP\nslots=3 m.yaml:1\ntls_names=[a, b] m.yaml:2\n");
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
  CHECK(refused([](Config& c) { c.shards = 0; }));
  CHECK(refused([](Config& c) { c.shards = 3; }));
  CHECK(refused([](Config& c) { c.keep_contents_days = 401; }));
  CHECK(refused([](Config& c) { c.keep_fleets_days = 36'501; }));
  CHECK(refused([](Config& c) { c.keep_hosts_days = 36'501; }));
  CHECK(refused([](Config& c) { c.host_name = "../x"; }));
  CHECK(refused([](Config& c) { c.host_name = ""; }));
  CHECK(refused([](Config& c) { c.slots = 5000; }));
}

TEST_CASE("hosts connect at an address with a port") {
  const auto with = [](const char* address) {
    Config config;
    config.link_address = address;
    return check(config);
  };
  for (const char* fine : {"127.0.0.1:7411", "0.0.0.0:0", "[::]:65535", "*:7411", "box.lan:7411"})
    CHECK(with(fine));
  for (const char* bad : {"127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1", "::1", "",
                          "127.0.0.1:74x", "127.0.0.1:999999999999"})
    CHECK(with(bad).error().message ==
          "link address '" + std::string(bad) + "' must be HOST:PORT with a port from 0 to 65535");
}

TEST_CASE("the API listens at an IP address with a port, or says at once what is wrong") {
  const auto with = [](const char* address) {
    Config config;
    config.http = config.https = address;
    return check(config);
  };
  for (const char* fine : {"", "127.0.0.1:0", "0.0.0.0:7412", "[::]:65535", "[::1]:7412"})
    CHECK(with(fine));
  for (const char* bad : {"0.0.0.0", "0.0.0.0:", ":7412", "0.0.0.0:99999", "0.0.0.0:74x",
                          "::1:7412", "[::1:7412", "[]:7412", "localhost:7412", "*:7412",
                          "0.0.0.0:+1", "https://0.0.0.0:7412", "1.2.3:7412"}) {
    INFO(bad);
    const auto checked = with(bad);
    REQUIRE(!checked);
    CHECK(checked.error().message.find("https '" + std::string(bad) + "' must be an IP address") !=
          std::string::npos);
  }
}

TEST_CASE("the address that hosts connect to is the running musterd's own word") {
  const TemporaryDirectory root;
  Config config;
  config.paths = Paths{root.path};
  CHECK(link_address_now(config) == "127.0.0.1:7411");
  REQUIRE(make_directory(config.paths.runtime()));
  const auto file = config.paths.runtime() / "musterd.json";
  REQUIRE(write_file_durably(file, R"({"pid": 7, "link_address": "0.0.0.0:34463"})"));
  CHECK(link_address_now(config) == "0.0.0.0:34463");
  REQUIRE(write_file_durably(file, "torn"));
  CHECK(link_address_now(config) == "127.0.0.1:7411");
}
