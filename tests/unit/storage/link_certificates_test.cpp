// The installation's CA: made once, kept private, renewed in time.
#include <sys/stat.h>

#include "storage/base/files.hpp"
#include "storage/base/process.hpp"
#include "tests/unit/storage/link_fixture.hpp"

using namespace muster;
using namespace muster::storage;
using muster::testing::TempDirectory;

namespace {

constexpr Duration kDay = std::chrono::hours(24);

unsigned mode_of(const std::string& path) {
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  return info.st_mode & 07777u;
}

Result<std::string> openssl(std::vector<std::string> arguments) {
  ProcessSpec spec;
  spec.argv = {"openssl"};
  spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
  spec.env = {{"PATH", "/usr/bin:/bin"}};
  return run_checked(spec);
}

std::string shown(const std::string& certificate) {
  return openssl({"x509", "-in", certificate, "-noout", "-ext",
                  "basicConstraints,keyUsage,extendedKeyUsage,subjectAltName", "-subject"})
      .value();
}

}  // namespace

TEST_CASE("the CA and its certificates are made once, with private keys") {
  const TempDirectory ca;
  const TlsFiles server = ensure_server_certificate((ca.path() / "ca").string()).value();
  const TlsFiles host = ensure_host_certificate((ca.path() / "ca").string(), "host-a").value();
  for (const std::string& key : {server.key, host.key, (ca.path() / "ca/ca.key").string()})
    REQUIRE(mode_of(key) == 0600);
  REQUIRE(mode_of((ca.path() / "ca").string()) == 0700);

  std::vector<std::string> before;
  const std::vector<std::string> files{server.ca,  server.certificate,
                                       server.key, host.certificate,
                                       host.key,   (ca.path() / "ca/ca.key").string()};
  for (const auto& file : files) before.push_back(read_file(file).value());
  REQUIRE(ensure_server_certificate((ca.path() / "ca").string()));
  REQUIRE(ensure_host_certificate((ca.path() / "ca").string(), "host-a"));
  for (std::size_t i = 0; i < files.size(); ++i) REQUIRE(read_file(files[i]).value() == before[i]);
}

TEST_CASE("what a certificate may be used for") {
  const TempDirectory ca;
  const TlsFiles server = ensure_server_certificate((ca.path() / "ca").string()).value();
  const TlsFiles host = ensure_host_certificate((ca.path() / "ca").string(), "host-a").value();
  REQUIRE(shown(host.certificate) ==
          "X509v3 Basic Constraints: critical\n    CA:FALSE\n"
          "X509v3 Key Usage: critical\n    Digital Signature\n"
          "X509v3 Extended Key Usage: critical\n    TLS Web Client Authentication\n"
          "X509v3 Subject Alternative Name: \n    DNS:host-a\n"
          "subject=CN = host-a\n");
  REQUIRE(shown(server.certificate) ==
          "X509v3 Basic Constraints: critical\n    CA:FALSE\n"
          "X509v3 Key Usage: critical\n    Digital Signature\n"
          "X509v3 Extended Key Usage: critical\n    TLS Web Server Authentication\n"
          "X509v3 Subject Alternative Name: \n    DNS:musterd\n"
          "subject=CN = musterd\n");
}

TEST_CASE("certificates are renewed within 30 days of their end, keys are kept") {
  const TempDirectory ca;
  const Instant now = wall_clock_now();
  const TlsFiles host = ensure_host_certificate((ca.path() / "ca").string(), "host-a", now).value();
  const std::string certificate = read_file(host.certificate).value();
  const std::string root = read_file(host.ca).value();
  const std::string key = read_file(host.key).value();

  REQUIRE(ensure_host_certificate((ca.path() / "ca").string(), "host-a", now + 790 * kDay));
  REQUIRE(read_file(host.certificate).value() == certificate);
  REQUIRE(ensure_host_certificate((ca.path() / "ca").string(), "host-a", now + 800 * kDay));
  REQUIRE(read_file(host.certificate).value() != certificate);
  REQUIRE(read_file(host.key).value() == key);
  REQUIRE(read_file(host.ca).value() == root);

  // The root too, with its key: what it signed before stays good.
  REQUIRE(ensure_ca((ca.path() / "ca").string(), now + 3630 * kDay));
  REQUIRE(read_file(host.ca).value() != root);
  REQUIRE(openssl({"verify", "-CAfile", host.ca, "-no_check_time", host.certificate}));
}

TEST_CASE("a certificate that is damaged or of another CA is made again; a lost CA key is not") {
  const TempDirectory ca;
  const TlsFiles host = ensure_host_certificate((ca.path() / "ca").string(), "host-a").value();
  const std::string good = read_file(host.certificate).value();
  const TlsFiles foreign =
      ensure_host_certificate((ca.path() / "other").string(), "host-a").value();
  for (const std::string& bad : {std::string("noise"), read_file(foreign.certificate).value()}) {
    REQUIRE(write_file_durably(host.certificate, bad));
    REQUIRE(ensure_host_certificate((ca.path() / "ca").string(), "host-a"));
    REQUIRE(read_file(host.certificate).value() != bad);
    REQUIRE(read_file(host.certificate).value() != good);
  }
  std::filesystem::remove((ca.path() / "ca/ca.key").string());
  REQUIRE(ensure_ca((ca.path() / "ca").string()).error().code == Errc::corrupt);
  REQUIRE(!std::filesystem::exists((ca.path() / "ca/ca.key").string()));
}

TEST_CASE("names of hosts") {
  for (const char* name : {"a", "host-1", "10.0.0.1", "build.acme.dev"})
    REQUIRE(is_host_name(name));
  for (const char* name : {"", "musterd", "-a", ".a", "A", "a/b", "a b", "a\nb", "../x"})
    REQUIRE(!is_host_name(name));
  REQUIRE(is_host_name(std::string(63, 'a')));
  REQUIRE(!is_host_name(std::string(64, 'a')));
  const TempDirectory ca;
  REQUIRE(ensure_host_certificate((ca.path() / "ca").string(), "../evil").error().code ==
          Errc::invalid);
}

TEST_CASE("a small frame that would be huge once unpacked is refused") {
  flatbuffers::FlatBufferBuilder builder;
  const auto text = builder.CreateString(std::string(64u << 10, 'x'));
  const std::vector<flatbuffers::Offset<flatbuffers::String>> many(50'000, text);
  const auto running = builder.CreateVector(many);
  const auto host = builder.CreateString("host-a");
  wire::HelloBuilder hello(builder);
  hello.add_host(host);
  hello.add_running(running);
  const auto body = hello.Finish();
  wire::FrameBuilder frame(builder);
  frame.add_body_type(wire::Body::Hello);
  frame.add_body(body.Union());
  wire::FinishFrameBuffer(builder, frame.Finish());
  const std::string_view bytes(reinterpret_cast<const char*>(builder.GetBufferPointer()),
                               builder.GetSize());
  REQUIRE(bytes.size() < kMaxFrame);
  REQUIRE(open_frame(bytes).error().message == "the frame names more than it may hold");
}
