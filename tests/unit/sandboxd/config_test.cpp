#include "sandboxd/config.hpp"

#include <catch2/catch.hpp>
#include <fstream>

#include "tests/unit/storage/temp_directory.hpp"

namespace muster::sandbox::test {

TEST_CASE("settings are read, wrong ones are named with their line, several at once") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "sandboxd.yaml";
  CHECK(read_config(path, {}).value().engine == "127.0.0.1:7411");
  std::ofstream(path) << "name: host-a\nslots: 8\nallow_host_network: true\nlabels: {zone: a}\ntls:\n  ca: /ca.pem\n";
  const auto config = read_config(path, {}).value();
  CHECK(config.name == "host-a");
  CHECK(config.slots == 8);
  CHECK(config.host.allow_host_network);
  CHECK(config.labels.at("zone") == "a");
  CHECK(config.tls.ca == "/ca.pem");
  std::ofstream(path) << "name: a\nslots: many\nspeed: 9\n";
  const auto wrong = read_config(path, {});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().message ==
        path.string() + ":2: slots has a value of the wrong kind\n" + path.string() +
            ":3: no key speed; there are allow_host_network, concurrent_fetches, conmon, disk_limit, disk_low_water_bytes, engine, "
            "image_directories, labels, log_spool_bytes, muster_init, name, runtime, slots, tls, uid_base");
}

}  // namespace muster::sandbox::test
