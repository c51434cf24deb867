// Images from a real registry on loopback.
#include "tests/integration/sandbox_images.hpp"

namespace muster::sandbox::test {

namespace {

/// A host that may fetch from the registry, which has acme/dev:1.
struct House {
  House() : registry(sandboxes.root()) {
    registry.push(make_image(sandboxes.root()), "acme/dev:1");
    image = "docker://" + registry.address() + "/acme/dev:1";
    config = sandboxes.config();
    config.registries = {parse_registry("http://" + registry.address() + "/acme").value()};
    sandboxes.open(config);
  }

  /// "outcome: what it printed", or its message.
  std::string run(const std::string& name) {
    auto spec = sandboxes.spec("cat /etc/marker; echo $FROM_IMAGE; echo x > new");
    spec.image = name;
    spec.attempt = ++attempt;
    const auto report = sandboxes.run(spec);
    sandboxes.require_gone(sandbox_id(spec.run, spec.attempt));
    return brief(report) + ": " + (report.message.empty() ? sandboxes.log : report.message);
  }
  /// Names in the store of images that are not of every boot.
  std::string stored() {
    return shell("ls " + sandboxes.host().config.paths.images().string() + " | { grep -v -e ^host- -e ^points- || true; } | xargs");
  }
  [[nodiscard]] std::string layer() const {  // the largest blob
    return shell("ls -S registry/docker/registry/v2/blobs/sha256/*/*/data | head -1 | xargs dirname | xargs basename",
                 sandboxes.root());
  }

  Sandboxes sandboxes;
  Registry registry;
  HostConfig config;
  std::string image;
  std::uint32_t attempt = 0;
};

constexpr const char* kGood = "changed agent=0: 1\nyes\n";

#define SKIP_WITHOUT_REGISTRY                                                    \
  if (!Registry::installed()) {                                                  \
    WARN("skipped: docker-registry is not installed (tools/dev/packages test)"); \
    return;                                                                      \
  }

}  // namespace

TEST_CASE("an image of a registry is fetched once, kept by its digest, and shared by all sandboxes") {
  SKIP_WITHOUT_REGISTRY
  House house;
  std::vector<std::thread> many;
  std::vector<std::string> got(6);
  for (std::size_t i = 0; i < got.size(); ++i)
    many.emplace_back([&, i] {
      const auto image = house.sandboxes.host().images.get(house.image);
      got[i] = image ? image->rootfs.string() : image.error().message;
    });
  for (auto& thread : many) thread.join();
  const std::string digest = house.registry.digest("acme/dev:1");
  for (const auto& rootfs : got)
    CHECK(rootfs == (house.config.paths.images() / ("oci-" + digest) / "rootfs").string());
  CHECK(house.registry.requests("GET", "/v2/acme/dev/blobs/sha256:" + house.layer()) == 1);
  CHECK(house.run(house.image) == kGood);
  CHECK(house.run("docker://" + house.registry.address() + "/acme/dev@sha256:" + digest) == kGood);
  CHECK(house.stored() == "oci-" + digest);
  CHECK(house.registry.requests("GET", "/v2/acme/dev/blobs/sha256:" + house.layer()) == 1);
  SECTION("a digest that is here needs no registry, also after a restart; a tag does") {
    house.registry.stop();
    house.sandboxes.open(house.config);
    CHECK(house.run("docker://" + house.registry.address() + "/acme/dev:1@sha256:" + digest) == kGood);
    CHECK_THAT(house.run(house.image), Catch::StartsWith("failed(image_failed)"));
  }
  SECTION("a tag that moved is another image") {
    shell("cd images; echo 2 > m; umoci insert --rootless --image oci:one m /etc/marker 2>/dev/null", house.sandboxes.root());
    house.registry.push("oci:" + (house.sandboxes.root() / "images/oci").string() + ":one", "acme/dev:1");
    house.sandboxes.open(house.config);  // what the tag was is remembered for a minute
    CHECK(house.run(house.image) == "changed agent=0: 2\nyes\n");
    CHECK(house.run("docker://" + house.registry.address() + "/acme/dev@sha256:" + digest) == kGood);
  }
}

TEST_CASE("a host fetches from nowhere but the registries that it names") {
  SKIP_WITHOUT_REGISTRY
  House house;
  const std::string closed = ": this host may fetch nothing from there (registries in sandboxd.yaml)";
  const std::string other = "docker://" + house.registry.address() + "/acme-evil/dev:1";
  CHECK(house.run(other) == "failed(not_allowed): image " + other + closed);
  house.sandboxes.open(house.sandboxes.config());
  CHECK(house.run(house.image) == "failed(not_allowed): image " + house.image + closed);
  CHECK(house.registry.requests("GET", "acme-evil") == 0);
  CHECK(house.registry.requests("GET", "/v2/acme/dev/blobs") == 0);
}

TEST_CASE("what a registry gives is taken only when it is what its digest says") {
  SKIP_WITHOUT_REGISTRY
  House house;
  SECTION("a layer that was changed") {
    const std::string layer = house.layer();
    shell("f=$(ls registry/docker/registry/v2/blobs/sha256/*/" + layer + "/data); printf x | dd of=$f bs=1 seek=100 conv=notrunc status=none",
          house.sandboxes.root());
    CHECK_THAT(house.run(house.image), Catch::StartsWith("failed(image_failed)"));
  }
  SECTION("an image that is not there") {
    CHECK_THAT(house.run("docker://" + house.registry.address() + "/acme/none:1"), Catch::StartsWith("failed(image_failed)"));
  }
  SECTION("one that is larger than the host allows") {
    house.config.max_image_bytes = 1u << 20;
    house.sandboxes.open(house.config);
    CHECK_THAT(house.run(house.image), Catch::Contains("takes more than 1048576 bytes (max_image_bytes in sandboxd.yaml)"));
  }
  CHECK(house.stored().empty());
}

TEST_CASE("a devcontainer's image comes from a registry that the host allows") {
  SKIP_WITHOUT_REGISTRY
  House house;
  commit_file(house.sandboxes, ".devcontainer.json",
              R"({"image": ")" + house.registry.address() + R"(/acme/dev:1", "onCreateCommand": "cat /etc/marker"})");
  auto spec = house.sandboxes.spec("echo $FROM_IMAGE; echo x > new");
  spec.image = "devcontainer";
  const auto report = house.sandboxes.run(spec);
  INFO(report.message);
  CHECK(brief(report) == "changed setup:onCreateCommand=0 agent=0");
  CHECK(house.sandboxes.log == "1\nyes\n");
}

}  // namespace muster::sandbox::test
