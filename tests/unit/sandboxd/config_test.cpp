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
            ":3: no key speed; there are allow_host_network, concurrent_fetches, conmon, devcontainer, disk_limit, disk_low_water_bytes, "
            "engine, environments, image_directories, labels, log_spool_bytes, max_image_bytes, muster_init, name, "
            "prebuild_max_age_hours, registries, runtime, slots, snapshots, tls, uid_base, warm_pool");
}

TEST_CASE("a key without a value is not the text null") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "sandboxd.yaml";
  std::ofstream(path) << "name:\nenvironments:\n  a:\n    image:\n    env:\n      EMPTY: \"\"\n      NONE:\n";
  const auto wrong = read_config(path, {});
  REQUIRE_FALSE(wrong);
  const std::string file = path.string();
  CHECK(wrong.error().message == file + ":1: name has no value\n" + file + ":4: image has no value\n" + file +
                                     ":7: NONE has no value; \"\" is empty");
}

TEST_CASE("disks are limited in one of three ways, and project quotas go with a warm pool") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "sandboxd.yaml";
  CHECK(read_config(path, {}).value().host.disk_limit == DiskLimit::measure);
  std::ofstream(path) << "disk_limit: project\nwarm_pool: {max: 1}\n";
  CHECK(read_config(path, {}).value().host.disk_limit == DiskLimit::project);
  std::ofstream(path) << "disk_limit: quota\n";
  CHECK(read_config(path, {}).error().message == path.string() + ":1: disk_limit is measure, loop or project");
}

TEST_CASE("a warm pool is a setting, off by default, and not for disks that are made to an attempt's measure") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "sandboxd.yaml";
  CHECK(read_config(path, {}).value().host.warm_pool.max == 0);
  std::ofstream(path) << "warm_pool: {max: 8, per_environment: 3, idle_minutes: 5}\n";
  const auto pool = read_config(path, {}).value().host.warm_pool;
  CHECK(pool.max == 8);
  CHECK(pool.per_environment == 3);
  CHECK(pool.idle_minutes == 5);
  std::ofstream(path) << "disk_limit: loop\nwarm_pool: {max: 1, size: 3}\n";
  const auto wrong = read_config(path, {});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().message ==
        path.string() + ":2: no key size; there are idle_minutes, max, per_environment\n" + path.string() +
            ": warm_pool needs disk_limit: measure or project, because a disk has the size that its attempt wants");
}

TEST_CASE("how many snapshots a host keeps, and how large they are together") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "sandboxd.yaml";
  CHECK(read_config(path, {}).value().host.snapshots.max == 32);
  std::ofstream(path) << "snapshots: {max: 4, max_bytes: 1000}\n";
  const auto snapshots = read_config(path, {}).value().host.snapshots;
  CHECK(snapshots.max == 4);
  CHECK(snapshots.max_bytes == 1000);
  std::ofstream(path) << "name: a\nsnapshots: {max: 257}\n";
  const auto wrong = read_config(path, {});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().message == path.string() + ":2: max is at most 256");
}

TEST_CASE("environments, registries and what devcontainers may use are settings of the host") {
  const testing::TempDirectory directory;
  const auto path = directory.path() / "sandboxd.yaml";
  std::ofstream(path) << R"(registries: [ghcr.io/acme, "http://127.0.0.1:5000"]
devcontainer:
  image: oci:/srv/muster/images/base:1
  images: {"node:20": "docker://ghcr.io/acme/node:20"}
  mounts: [/srv/muster/mounts]
environments:
  node: {image: "docker://ghcr.io/acme/node:20", env: {CI: "1"}, setup: [npm ci, [make, deps]], prebuild: [package-lock.json]}
  bare: {}
)";
  const auto config = read_config(path, {});
  REQUIRE(config);
  REQUIRE(config->host.registries.size() == 2);
  CHECK(config->host.registries[0].prefix == "acme");
  CHECK_FALSE(config->host.registries[1].tls);
  const auto& environments = config->host.environments;
  CHECK(environments.devcontainer_image == "oci:/srv/muster/images/base:1");
  CHECK(environments.devcontainer_images.at("node:20") == "docker://ghcr.io/acme/node:20");
  CHECK(environments.devcontainer_mounts.size() == 1);
  CHECK(environments.named.at("node").env.at("CI") == "1");
  CHECK(environments.named.at("node").setup[0].back() == "npm ci");
  CHECK(environments.named.at("node").setup[1] == std::vector<std::string>{"make", "deps"});
  CHECK(environments.named.at("node").prebuild == std::vector<std::string>{"package-lock.json"});
  CHECK_FALSE(environments.named.at("bare").prebuild);
  CHECK(environments.named.at("bare").image == "host");
  std::ofstream(path) << "registries: [https://x]\nenvironments:\n  a b: {image: node}\n  c: {setup: x, env: {A-B: 1}}\n";
  const auto wrong = read_config(path, {});
  REQUIRE_FALSE(wrong);
  const std::string at = path.string() + ":";
  CHECK(wrong.error().message ==
        at + "1: \"https://x\" is not HOST[:PORT][/PREFIX], or http:// before it\n" + at +
            "3: \"a b\" is not a name of an environment\n" + at + "3: \"node\" is not an image of a host\n" + at +
            "4: setup is a list of commands\n" + at + "4: \"A-B\" is not a variable");
}

}  // namespace muster::sandbox::test
