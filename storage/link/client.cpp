// sandboxd's end of the link: one thread that connects, waits for the session's end, and connects
// again. Every attempt has a channel of its own, so renewed certificates are read and no backoff
// hides inside gRPC.
#include <algorithm>
#include <condition_variable>
#include <random>
#include <thread>

#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "storage/link/grpc_pipe.hpp"

namespace muster::storage {
namespace link {
namespace {

using namespace std::chrono_literals;

constexpr auto kMinBackoff = 250ms;
constexpr auto kMaxBackoff = 10'000ms;
constexpr int kConnectTimeoutMs = 5'000;

/// One try to connect, and the session that may come of it: over when both pipes are destroyed.
struct Attempt {
  std::mutex mutex;
  std::condition_variable changed;
  int living = 2;
  std::string why;
};

using ClientReactor = grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

class ClientPipe final : public GrpcPipe<ClientReactor> {
 public:
  ClientPipe(Stream stream, std::shared_ptr<PairedSession> session,
             std::shared_ptr<Attempt> attempt)
      : GrpcPipe(stream, std::move(session)),
        context_(std::make_unique<grpc::ClientContext>()),
        attempt_(std::move(attempt)) {}

  ~ClientPipe() override {
    // gRPC 1.51 joins its callback threads where the last channel goes away, so that must not
    // happen on one of them: the context lets go of the channel first, the connecting thread lets
    // go of it last.
    context_.reset();
    const std::lock_guard lock(attempt_->mutex);
    --attempt_->living;
    attempt_->changed.notify_all();
  }

  void start(std::shared_ptr<ClientPipe> self, grpc::GenericStub& stub, const std::string& pair) {
    const std::lock_guard lock(mutex_);
    self_ = std::move(self);
    context_->AddMetadata(kPairKey, pair);
    stub.PrepareBidiStreamingCall(context_.get(), method_of(stream()), {}, this);
    AddHold();  // sends and reads start outside reactions; end_call() removes it
    StartCall();
    started_ = true;
    if (closed()) RemoveHold();  // its partner failed before this one began
  }

  void OnReadInitialMetadataDone(bool ok) override {
    std::shared_ptr<PairedSession> session;
    {
      const std::lock_guard lock(mutex_);
      if (!ok || !context_->GetServerInitialMetadata().count(kReadyKey)) {
        close();
        return;
      }
      session = session_;
    }
    if (session) session->ready(stream());
  }

  void OnDone(const grpc::Status& status) override {
    std::shared_ptr<PairedSession> session;
    {
      const std::lock_guard lock(mutex_);
      session.swap(session_);
    }
    const std::string why =
        status.error_message().empty() ? "the engine went away" : status.error_message();
    if (session) session->ended(stream(), why);
    {
      const std::lock_guard lock(attempt_->mutex);
      // The one that failed by itself says more than the one that was cancelled with it.
      if (attempt_->why.empty() || status.error_code() != grpc::StatusCode::CANCELLED)
        attempt_->why = why;
    }
    const std::shared_ptr<ClientPipe> last = std::move(self_);
  }

 protected:
  void abort_call() override { context_->TryCancel(); }
  void end_call() override {
    if (started_) RemoveHold();
  }

 private:
  std::unique_ptr<grpc::ClientContext> context_;
  bool started_ = false;
  const std::shared_ptr<Attempt> attempt_;
  std::shared_ptr<ClientPipe> self_;  // until OnDone
};

Result<std::shared_ptr<grpc::Channel>> open_channel(const std::string& address,
                                                    const TlsFiles& tls) {
  const auto ca = read_file(tls.ca);
  const auto certificate = read_file(tls.certificate);
  const auto key = read_file(tls.key);
  for (const auto* file : {&ca, &certificate, &key})
    if (!*file) return fail(file->error(), "the link's certificate");
  grpc::SslCredentialsOptions options{*ca, *key, *certificate};
  grpc::ChannelArguments arguments;
  // The engine's certificate bears its name, not the address by which this host reaches it.
  arguments.SetSslTargetNameOverride(std::string(kEngineName));
  arguments.SetMaxReceiveMessageSize(static_cast<int>(kMaxFrame));
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(options), arguments);
}

class Client final : public LinkClient {
 public:
  Client(std::string address, TlsFiles tls, SessionEvents events)
      : address_(std::move(address)), tls_(std::move(tls)), shared_(std::make_shared<Shared>()) {
    shared_->events = std::move(events);
    thread_ = std::thread([this] { run(); });
  }
  ~Client() override { stop_now(); }

  [[nodiscard]] LinkStats stats() const override { return shared_->counters.read(); }
  void stop() override { stop_now(); }

 private:
  void stop_now() {
    std::shared_ptr<PairedSession> session;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      session = session_;
    }
    stopped_.notify_all();
    if (session) session->close("this end stops");
    if (thread_.joinable()) thread_.join();
  }

  void run() {
    auto backoff = kMinBackoff;
    while (!stopping()) {
      const bool connected = connect_once();
      if (connected) backoff = kMinBackoff;
      wait(backoff);
      backoff = std::min(backoff * 2, kMaxBackoff);
    }
  }

  /// Returns when the attempt is over; true when a session came of it.
  bool connect_once() {
    auto channel = open_channel(address_, tls_);
    if (!channel) {
      shared_->failed(channel.error().message);
      return false;
    }
    grpc::GenericStub stub(*channel);
    auto attempt = std::make_shared<Attempt>();
    const std::uint64_t sessions_before = shared_->counters.sessions;
    const auto session = std::make_shared<PairedSession>(std::string(kEngineName), shared_);
    start(stub, session, attempt);
    {
      std::unique_lock lock(attempt->mutex);
      attempt->changed.wait(lock, [&] { return attempt->living == 0; });
    }
    set_session(nullptr);
    const bool connected = shared_->counters.sessions != sessions_before;
    if (!connected && !stopping())
      shared_->failed("no connection to " + address_ + ": " + attempt->why);
    return connected;
  }

  void start(grpc::GenericStub& stub, const std::shared_ptr<PairedSession>& session,
             const std::shared_ptr<Attempt>& attempt) {
    const std::string pair = to_hex(random_bytes(16));
    std::vector<std::shared_ptr<ClientPipe>> pipes;
    for (const Stream stream : {Stream::control, Stream::logs}) {
      pipes.push_back(std::make_shared<ClientPipe>(stream, session, attempt));
      session->attach(stream, pipes.back());
    }
    for (const auto& pipe : pipes) pipe->start(pipe, stub, pair);
    set_session(session);
    if (stopping()) session->close("this end stops");
  }

  /// Full jitter above half: hosts that lost one engine don't come back in step.
  void wait(std::chrono::milliseconds backoff) {
    std::uniform_int_distribution<std::int64_t> jitter(backoff.count() / 2, backoff.count());
    std::unique_lock lock(mutex_);
    stopped_.wait_for(lock, std::chrono::milliseconds(jitter(random_)),
                      [this] { return stopping_; });
  }

  bool stopping() {
    const std::lock_guard lock(mutex_);
    return stopping_;
  }

  void set_session(std::shared_ptr<PairedSession> session) {
    const std::lock_guard lock(mutex_);
    session_ = std::move(session);
  }

  const std::string address_;
  const TlsFiles tls_;
  const std::shared_ptr<Shared> shared_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::shared_ptr<PairedSession> session_;
  std::mt19937_64 random_{std::random_device{}()};
  std::thread thread_;
};

}  // namespace
}  // namespace link

std::unique_ptr<LinkClient> LinkClient::start(const std::string& address, const TlsFiles& tls,
                                              SessionEvents events) {
  return std::make_unique<link::Client>(address, tls, std::move(events));
}

}  // namespace muster::storage
