#include "sandboxd/registry.hpp"

#include <catch2/catch.hpp>

#include "sandboxd/spec.hpp"

namespace muster::sandbox::test {

namespace {
const std::string kHex(64, 'a');
}

TEST_CASE("a reference names host, image, and tag or digest") {
  const auto read = [](const std::string& text) {
    const auto image = parse_reference(text);
    return image ? image->host + " " + image->name + " " + image->tag + " " + image->skopeo() : "refused";
  };
  CHECK(read("docker://ghcr.io/acme/x:1.0") == "ghcr.io acme/x 1.0 docker://ghcr.io/acme/x:1.0");
  CHECK(read("docker://127.0.0.1:5000/a_b/c-d.e") == "127.0.0.1:5000 a_b/c-d.e latest docker://127.0.0.1:5000/a_b/c-d.e:latest");
  CHECK(read("docker://h/x:1@sha256:" + kHex) == "h x 1 docker://h/x@sha256:" + kHex);
  CHECK(read("docker://h/x@sha256:" + kHex) == "h x  docker://h/x@sha256:" + kHex);
  for (const std::string bad :
       {"", "h/x", "docker://", "docker://h", "docker:///x", "docker://h/", "docker://h/x:", "docker://h/../x", "docker://h/a//b",
        "docker://-h/x", "docker://h/-x", "docker://h/x:-1", "docker://h/x@sha256:1", "docker://h/x@md5:1", "docker://h/X",
        "docker://u:p@h/x", "docker://h:port/x", "docker://h:/x", "docker://h/x y", "docker://h/x\n", "docker://h /x"}) {
    INFO(bad);
    CHECK(read(bad) == "refused");
  }
  CHECK(read("docker://h/" + std::string(256, 'a')) == "refused");
}

TEST_CASE("images come from registries that the host allows, and from no others") {
  const auto allowed = [](const std::string& registry, const std::string& image) {
    return allows({parse_registry(registry).value()}, parse_reference("docker://" + image).value()) != nullptr;
  };
  CHECK(allowed("ghcr.io", "ghcr.io/acme/x"));
  CHECK(allowed("ghcr.io/acme", "ghcr.io/acme/x"));
  CHECK(allowed("ghcr.io/acme/x", "ghcr.io/acme/x:1"));
  CHECK_FALSE(allowed("ghcr.io/acme", "ghcr.io/acme-evil/x"));
  CHECK_FALSE(allowed("ghcr.io/acme", "ghcr.io/x"));
  CHECK_FALSE(allowed("ghcr.io", "ghcr.io.evil.org/x"));
  CHECK_FALSE(allowed("ghcr.io", "ghcr.io:444/x"));
  CHECK_FALSE(parse_registry("http://127.0.0.1:5000")->tls);
  for (const char* bad : {"", "https://h", "ftp://h", "h/A", "/x"}) {
    INFO(bad);
    CHECK_FALSE(parse_registry(bad));
  }
  CHECK(allows({}, parse_reference("docker://h/x").value()) == nullptr);
}

TEST_CASE("images of fleet files") {
  for (const char* good : {"host", "dir:/x", "tar:/x", "oci:/x:1", "docker://h/x"}) CHECK(is_image(good));
  for (const char* bad : {"", "devcontainer", "env:x", "dir:x", "docker:h/x", "docker://h"}) {
    INFO(bad);
    CHECK_FALSE(is_image(bad));
  }
}

}  // namespace muster::sandbox::test
