// The link over real sockets: who gets in, what is carried, and what happens to those who
// misbehave.
#include "storage/link/link.hpp"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <openssl/crypto.h>

#include <cstdlib>
#include <numeric>
#include <thread>

#include "storage/base/files.hpp"
#include "tests/unit/storage/link_fixture.hpp"

using namespace muster;
using namespace muster::storage;
using muster::testing::numbered_frame;
using muster::testing::Recorder;
using muster::testing::TempDirectory;

namespace {

constexpr auto kControl = static_cast<std::size_t>(Stream::control);
constexpr auto kLogs = static_cast<std::size_t>(Stream::logs);

std::string local(int port) {
  return "127.0.0.1:" + std::to_string(port);
}

std::vector<std::uint64_t> one_to(std::uint64_t n) {
  std::vector<std::uint64_t> numbers(n);
  std::iota(numbers.begin(), numbers.end(), 1);
  return numbers;
}

struct Engine {
  explicit Engine(const TlsFiles& tls, const std::string& address = "127.0.0.1:0") {
    auto started = LinkServer::start(address, tls, seen.events());
    INFO((started ? "" : started.error().message));
    REQUIRE(started);
    server = std::move(*started);
  }
  [[nodiscard]] std::string address() const { return local(server->port()); }

  Recorder seen;
  std::unique_ptr<LinkServer> server;
};

struct Host {
  Host(const std::string& address, const TlsFiles& tls)
      : client(LinkClient::start(address, tls, seen.events())) {}

  Recorder seen;
  std::unique_ptr<LinkClient> client;
};

/// A peer that does what our client never would.
class RawCall : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  RawCall(grpc::GenericStub& stub, const std::string& method, const std::string& pair,
          std::function<void()> on_done = {})
      : on_done_(std::move(on_done)) {
    if (!pair.empty()) context_.AddMetadata("muster-pair", pair);
    stub.PrepareBidiStreamingCall(&context_, method, {}, this);
    if (!on_done_) AddHold();  // else nothing is started from outside, and the end comes by itself
    released_ = static_cast<bool>(on_done_);
    StartCall();
  }
  void write(const std::string& bytes) {
    const grpc::Slice slice(bytes);
    buffer_ = grpc::ByteBuffer(&slice, 1);
    StartWrite(&buffer_);
  }
  grpc::Status finish() {
    if (!released_) RemoveHold();
    released_ = true;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
    return status_;
  }
  grpc::Status cancel() {
    context_.TryCancel();
    return finish();
  }
  void OnDone(const grpc::Status& status) override {
    const std::lock_guard lock(mutex_);
    status_ = status;
    done_ = true;
    if (on_done_) on_done_();
    changed_.notify_all();
  }

 private:
  const std::function<void()> on_done_;
  grpc::ClientContext context_;
  grpc::ByteBuffer buffer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  grpc::Status status_;
  bool done_ = false;
  bool released_ = false;
};

std::shared_ptr<grpc::Channel> raw_channel(const std::string& address, const TlsFiles& tls) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = read_file(tls.ca).value();
  if (!tls.key.empty()) {
    options.pem_private_key = read_file(tls.key).value();
    options.pem_cert_chain = read_file(tls.certificate).value();
  }
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride("musterd");
  arguments.SetInt("grpc.enable_http_proxy", 0);
  arguments.SetInt("grpc.use_local_subchannel_pool", 1);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(options), arguments);
}

}  // namespace

TEST_CASE(
    "each end knows the other by its certificate, and both streams carry both ways in order") {
  const TempDirectory ca;
  Engine engine(ensure_server_certificate((ca.path() / "ca").string()).value());
  Host host(engine.address(),
            ensure_host_certificate((ca.path() / "ca").string(), "host-a").value());
  const auto at_engine = engine.seen.session();
  const auto at_host = host.seen.session();
  REQUIRE(at_engine->peer() == "host-a");
  REQUIRE(at_host->peer() == "musterd");

  constexpr std::uint64_t kFrames = 500;
  for (std::uint64_t n = 1; n <= kFrames; ++n) {
    for (const Stream stream : {Stream::control, Stream::logs}) {
      REQUIRE(at_engine->send(stream, numbered_frame(n, n)));
      REQUIRE(at_host->send(stream, numbered_frame(n, n)));
    }
  }
  for (Recorder* seen : {&engine.seen, &host.seen}) {
    REQUIRE(seen->wait([&] {
      return seen->numbers[kControl].size() == kFrames && seen->numbers[kLogs].size() == kFrames;
    }));
    REQUIRE(seen->numbers[kControl] == one_to(kFrames));
    REQUIRE(seen->numbers[kLogs] == one_to(kFrames));
  }
  REQUIRE(engine.server->stats().sessions == 1);
}

TEST_CASE("several hosts are told apart") {
  const TempDirectory ca;
  Engine engine(ensure_server_certificate((ca.path() / "ca").string()).value());
  Host a(engine.address(), ensure_host_certificate((ca.path() / "ca").string(), "host-a").value());
  Host b(engine.address(), ensure_host_certificate((ca.path() / "ca").string(), "host-b").value());
  REQUIRE(engine.seen.wait([&] { return engine.seen.peers.size() == 2; }));
  std::sort(engine.seen.peers.begin(), engine.seen.peers.end());
  REQUIRE(engine.seen.peers == std::vector<std::string>{"host-a", "host-b"});
}

TEST_CASE("a frame of the largest size passes; a larger one is refused before it is sent") {
  const TempDirectory ca;
  Engine engine(ensure_server_certificate((ca.path() / "ca").string()).value());
  Host host(engine.address(),
            ensure_host_certificate((ca.path() / "ca").string(), "host-a").value());
  const auto session = host.seen.session();
  const std::size_t overhead = numbered_frame(1, 1024).size() - 1024;
  REQUIRE(session->send(Stream::logs, numbered_frame(1, kMaxFrame - overhead)));
  REQUIRE(engine.seen.wait([&] { return engine.seen.numbers[kLogs].size() == 1; }));
  REQUIRE(session->send(Stream::logs, std::string(kMaxFrame + 1, 'x')).error().code ==
          Errc::invalid);
}

TEST_CASE("strangers are refused") {
  const TempDirectory ca;
  const TlsFiles server = ensure_server_certificate((ca.path() / "ca").string()).value();
  const TlsFiles good = ensure_host_certificate((ca.path() / "ca").string(), "host-a").value();
  Engine engine(server);
  const auto status_of = [&](const TlsFiles& tls, const std::string& method,
                             const std::string& pair) {
    grpc::GenericStub stub(raw_channel(engine.address(), tls));
    RawCall call(stub, method, pair);
    return call.finish().error_code();
  };
  SECTION("without a certificate") {
    REQUIRE(status_of({server.ca, "", ""}, "/muster.Link/Control", "p") ==
            grpc::StatusCode::UNAVAILABLE);
  }
  SECTION("with a certificate of another CA") {
    TlsFiles foreign = ensure_host_certificate((ca.path() / "other").string(), "host-a").value();
    foreign.ca = server.ca;
    REQUIRE(status_of(foreign, "/muster.Link/Control", "p") == grpc::StatusCode::UNAVAILABLE);
  }
  SECTION("with the engine's own certificate") {
    REQUIRE(status_of(server, "/muster.Link/Control", "p") == grpc::StatusCode::UNAVAILABLE);
  }
  SECTION("with an unknown method") {
    REQUIRE(status_of(good, "/muster.Link/Other", "p") == grpc::StatusCode::UNIMPLEMENTED);
    REQUIRE(engine.server->stats().refused == 1);
  }
  SECTION("without a pair text, or with a long one") {
    REQUIRE(status_of(good, "/muster.Link/Control", "") == grpc::StatusCode::INVALID_ARGUMENT);
    REQUIRE(status_of(good, "/muster.Link/Control", std::string(65, 'p')) ==
            grpc::StatusCode::INVALID_ARGUMENT);
  }
  REQUIRE(engine.server->stats().sessions == 0);
  REQUIRE(engine.seen.peers.empty());
}

TEST_CASE("a client does not take a host for the engine") {
  const TempDirectory ca;
  const TlsFiles host_tls = ensure_host_certificate((ca.path() / "ca").string(), "host-a").value();
  // A host's certificate on the listening side: no usage as a server, and another name.
  Engine impostor(ensure_host_certificate((ca.path() / "ca").string(), "host-b").value());
  Host host(impostor.address(), host_tls);
  REQUIRE(host.seen.wait([&] { return !host.seen.failed.empty(); }));
  REQUIRE(host.seen.sessions.empty());
  REQUIRE(impostor.seen.sessions.empty());
}

TEST_CASE("a call without its partner makes no session, and a newer one takes its place") {
  const TempDirectory ca;
  Engine engine(ensure_server_certificate((ca.path() / "ca").string()).value());
  const auto channel = raw_channel(
      engine.address(), ensure_host_certificate((ca.path() / "ca").string(), "host-a").value());
  REQUIRE(channel->WaitForConnected(gpr_inf_future(GPR_CLOCK_REALTIME)));
  grpc::GenericStub stub(channel);
  Recorder ended;
  const auto note = [events = ended.events()] { events.failed("ended"); };
  RawCall first(stub, "/muster.Link/Control", "one", note);
  RawCall second(stub, "/muster.Link/Control", "two", note);
  // One of the two was replaced by the other, whichever came first; then the other by the third.
  REQUIRE(ended.wait([&] { return ended.failed.size() == 1; }));
  RawCall control(stub, "/muster.Link/Control", "three");
  REQUIRE(ended.wait([&] { return ended.failed.size() == 2; }));
  REQUIRE(first.finish().error_code() == grpc::StatusCode::CANCELLED);
  REQUIRE(second.finish().error_code() == grpc::StatusCode::CANCELLED);
  REQUIRE(engine.seen.peers.empty());
  RawCall logs(stub, "/muster.Link/Logs", "three");
  REQUIRE(engine.seen.wait([&] { return engine.seen.peers.size() == 1; }));
  control.cancel();
  logs.cancel();
  REQUIRE(engine.seen.wait([&] { return engine.seen.closed.size() == 1; }));
}

TEST_CASE("a malformed frame ends its session, is counted, and the host comes back") {
  const TempDirectory ca;
  Engine engine(ensure_server_certificate((ca.path() / "ca").string()).value());
  Host host(engine.address(),
            ensure_host_certificate((ca.path() / "ca").string(), "host-a").value());
  const auto session = host.seen.session();
  std::string bytes;
  SECTION("empty") {}
  SECTION("noise") {
    bytes = std::string(4096, '\xff');
  }
  SECTION("cut short") {
    bytes = numbered_frame(1, 4096);
    bytes.resize(bytes.size() / 2);
  }
  SECTION("without a body") {
    bytes = encode_frame(wire::FrameT{});
  }
  REQUIRE(session->send(Stream::control, bytes));
  REQUIRE(engine.seen.wait([&] { return engine.seen.closed.size() == 1; }));
  REQUIRE(engine.seen.closed[0].find("malformed") != std::string::npos);
  REQUIRE(engine.server->stats().malformed == 1);
  REQUIRE(engine.seen.wait([&] { return engine.seen.peers.size() == 2; }));
  REQUIRE(engine.seen.numbers[kControl].empty());
}

TEST_CASE("a frame over the limit ends its session") {
  const TempDirectory ca;
  Engine engine(ensure_server_certificate((ca.path() / "ca").string()).value());
  const auto channel = raw_channel(
      engine.address(), ensure_host_certificate((ca.path() / "ca").string(), "host-a").value());
  grpc::GenericStub stub(channel);
  RawCall control(stub, "/muster.Link/Control", "p");
  RawCall logs(stub, "/muster.Link/Logs", "p");
  engine.seen.session();
  logs.write(numbered_frame(1, kMaxFrame));
  logs.finish();
  control.finish();
  REQUIRE(engine.seen.wait([&] { return engine.seen.closed.size() == 1; }));
  REQUIRE(engine.seen.numbers[kLogs].empty());
}

TEST_CASE("a host finds the engine again after its restart") {
  const TempDirectory ca;
  const TlsFiles tls = ensure_server_certificate((ca.path() / "ca").string()).value();
  auto engine = std::make_unique<Engine>(tls);
  const std::string address = engine->address();
  Host host(address, ensure_host_certificate((ca.path() / "ca").string(), "host-a").value());
  host.seen.session();
  engine->seen.session();
  engine->server->stop();
  REQUIRE(engine->seen.closed.size() == 1);
  REQUIRE(host.seen.wait([&] { return host.seen.closed.size() == 1; }));
  REQUIRE(host.seen.session()->send(Stream::control, numbered_frame(1)).error().code ==
          Errc::unreachable);
  engine.reset();

  Engine again(tls, address);
  const auto session = host.seen.session(1);
  again.seen.session();
  REQUIRE(session->send(Stream::control, numbered_frame(7)));
  REQUIRE(again.seen.wait([&] { return again.seen.numbers[kControl].size() == 1; }));
  host.client->stop();
  REQUIRE(host.seen.closed.size() == 2);
}

TEST_CASE("a slow reader bounds the sender, loses nothing it was promised, and delays no control") {
  const TempDirectory ca;
  Engine engine(ensure_server_certificate((ca.path() / "ca").string()).value());
  std::mutex mutex;
  std::condition_variable changed;
  bool reading = false;
  engine.seen.on_frame = [&](Session&, Stream stream) {
    if (stream != Stream::logs) return;
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return reading; });
  };
  Host host(engine.address(),
            ensure_host_certificate((ca.path() / "ca").string(), "host-a").value());
  const auto session = host.seen.session();

  constexpr std::size_t kFrame = 256u << 10;
  constexpr std::size_t kFarTooMany = 4'096;  // 1 GiB
  std::uint64_t taken = 0;
  Result<void> sent;
  while ((sent = session->send(Stream::logs, numbered_frame(taken + 1, kFrame))) &&
         taken < kFarTooMany)
    ++taken;
  REQUIRE(!sent);
  REQUIRE(sent.error().code == Errc::overloaded);
  REQUIRE(taken >= kMaxQueuedBytes / kFrame - 1);
  REQUIRE(host.client->stats().overflowed == 1);

  REQUIRE(session->send(Stream::control, numbered_frame(1)));
  REQUIRE(engine.seen.wait([&] { return engine.seen.numbers[kControl].size() == 1; }));
  REQUIRE(engine.seen.numbers[kLogs].empty());
  {
    const std::lock_guard lock(mutex);
    reading = true;
    changed.notify_all();
  }
  REQUIRE(engine.seen.wait([&] { return engine.seen.numbers[kLogs].size() == taken; }));
  REQUIRE(engine.seen.numbers[kLogs] == one_to(taken));
}

TEST_CASE("a receiver holds a stream, and what it has not taken stays with the sender") {
  const TempDirectory ca;
  Engine engine(ensure_server_certificate((ca.path() / "ca").string()).value());
  engine.seen.on_frame = [](Session& session, Stream stream) {
    if (stream == Stream::logs) session.hold(stream);
  };
  Host host(engine.address(),
            ensure_host_certificate((ca.path() / "ca").string(), "host-a").value());
  const auto session = host.seen.session();
  for (std::uint64_t n = 1; n <= 3; ++n) {
    REQUIRE(session->send(Stream::logs, numbered_frame(n)));
    REQUIRE(session->send(Stream::control, numbered_frame(n)));
  }
  REQUIRE(host.seen.wait([&] { return host.seen.drained >= 2; }));
  REQUIRE(engine.seen.wait([&] { return engine.seen.numbers[kControl].size() == 3; }));
  for (std::uint64_t n = 1; n <= 3; ++n) {
    REQUIRE(engine.seen.wait([&] { return engine.seen.numbers[kLogs].size() == n; }));
    engine.seen.session()->release(Stream::logs);
  }
  REQUIRE(engine.seen.numbers[kLogs] == one_to(3));
  // A held stream does not hide the end of its session.
  session->close("enough");
  REQUIRE(engine.seen.wait([&] { return engine.seen.closed.size() == 1; }));
}

TEST_CASE("a full control queue ends the session") {
  const TempDirectory ca;
  Engine engine(ensure_server_certificate((ca.path() / "ca").string()).value());
  std::mutex mutex;
  std::condition_variable changed;
  bool reading = false;
  engine.seen.on_frame = [&](Session&, Stream) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return reading; });
  };
  Host host(engine.address(),
            ensure_host_certificate((ca.path() / "ca").string(), "host-a").value());
  const auto session = host.seen.session();
  Result<void> sent;
  for (std::uint64_t n = 1; n < 4'096 && sent; ++n)
    sent = session->send(Stream::control, numbered_frame(n, 256u << 10));
  REQUIRE(!sent);
  REQUIRE(sent.error().code == Errc::overloaded);
  {
    const std::lock_guard lock(mutex);
    reading = true;
    changed.notify_all();
  }
  REQUIRE(host.seen.wait([&] { return host.seen.closed.size() == 1; }));
  REQUIRE(host.seen.closed[0].find("queue is full") != std::string::npos);
  REQUIRE(engine.seen.wait([&] { return engine.seen.closed.size() == 1; }));
  host.client->stop();
  engine.server->stop();
}

TEST_CASE("either end may close, also from a callback") {
  const TempDirectory ca;
  Engine engine(ensure_server_certificate((ca.path() / "ca").string()).value());
  engine.seen.on_frame = [](Session& session, Stream) { session.close("enough"); };
  Host host(engine.address(),
            ensure_host_certificate((ca.path() / "ca").string(), "host-a").value());
  REQUIRE(host.seen.session()->send(Stream::control, numbered_frame(1)));
  REQUIRE(engine.seen.wait([&] { return engine.seen.closed.size() == 1; }));
  REQUIRE(engine.seen.closed[0] == "enough");
  host.seen.session(1)->close("mine too");
  REQUIRE(host.seen.wait([&] { return host.seen.closed.size() >= 2; }));
  REQUIRE(host.seen.closed[1] == "mine too");
}

TEST_CASE("a port that is taken is said, not shared") {
  const TempDirectory ca;
  const TlsFiles tls = ensure_server_certificate((ca.path() / "ca").string()).value();
  Engine engine(tls);
  Recorder other;
  const auto second = LinkServer::start(engine.address(), tls, other.events());
  REQUIRE(!second);
  REQUIRE(second.error().code == Errc::io);
}

TEST_CASE("a client stops while nobody answers") {
  const TempDirectory ca;
  const TlsFiles tls = ensure_host_certificate((ca.path() / "ca").string(), "host-a").value();
  Host host("127.0.0.1:1", tls);
  REQUIRE(host.seen.wait([&] { return !host.seen.failed.empty(); }));
  host.client->stop();
  REQUIRE(host.seen.sessions.empty());
}

TEST_CASE("at the end of the process OpenSSL stays, for gRPC's threads go on") {
  REQUIRE(OPENSSL_atexit([] { std::_Exit(1); }) == 1);  // all of this program fails if it is cleaned up
}
