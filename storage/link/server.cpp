// musterd's end of the link. A host's two calls are paired by its certificate's name and a random
// text that both bear; at most one call per host waits for its partner, a newer one takes its
// place.
#include <condition_variable>
#include <map>
#include <set>

#include "storage/base/files.hpp"
#include "storage/link/grpc_pipe.hpp"

namespace muster::storage {
namespace link {
namespace {

constexpr std::size_t kMaxPairText = 64;
constexpr auto kShutdownGrace = std::chrono::seconds(5);

class ServerPipe;

/// Who waits for a partner, and how many calls live.
class Lobby {
 public:
  explicit Lobby(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

  void enter(const std::shared_ptr<ServerPipe>& pipe, const std::string& host,
             const std::string& pair);
  void left(ServerPipe* pipe);
  void close_all();
  void wait_until_empty();
  [[nodiscard]] const std::shared_ptr<Shared>& shared() const { return shared_; }

 private:
  struct Waiting {
    std::string pair;
    std::shared_ptr<ServerPipe> pipe;
  };

  const std::shared_ptr<Shared> shared_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Waiting> waiting_;  // by host
  std::set<ServerPipe*> living_;
  bool closing_ = false;
};

class ServerPipe final : public GrpcPipe<grpc::ServerGenericBidiReactor> {
 public:
  ServerPipe(Stream stream, grpc::CallbackServerContext* context, Lobby& lobby)
      : GrpcPipe(stream, nullptr), context_(context), lobby_(lobby) {}

  void keep(std::shared_ptr<ServerPipe> self) { self_ = std::move(self); }
  [[nodiscard]] Stream which() const { return stream(); }

  /// Its partner is there. False when this call is over already, so that its end must be told by
  /// the caller.
  bool join(std::shared_ptr<PairedSession> session) {
    const std::lock_guard lock(mutex_);
    if (done_) return false;
    session_ = std::move(session);
    if (closed()) return true;
    context_->AddInitialMetadata(kReadyKey, "1");
    StartSendInitialMetadata();
    return true;
  }

  void OnCancel() override { cancel(); }

  void OnDone() override {
    std::shared_ptr<PairedSession> session;
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
      session.swap(session_);
    }
    if (session) session->ended(stream(), "the host went away");
    session.reset();
    lobby_.left(this);  // the server may be gone after this
    const std::shared_ptr<ServerPipe> last = std::move(self_);
  }

 protected:
  void abort_call() override { context_->TryCancel(); }
  void end_call() override {
    Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the session is over"));
  }

 private:
  grpc::CallbackServerContext* const context_;
  Lobby& lobby_;
  bool done_ = false;
  std::shared_ptr<ServerPipe> self_;  // until OnDone
};

void Lobby::enter(const std::shared_ptr<ServerPipe>& pipe, const std::string& host,
                  const std::string& pair) {
  pipe->keep(pipe);
  std::shared_ptr<ServerPipe> partner;
  std::shared_ptr<ServerPipe> replaced;
  {
    const std::lock_guard lock(mutex_);
    living_.insert(pipe.get());
    Waiting& waiting = waiting_[host];
    if (closing_) {
      replaced = pipe;
    } else if (waiting.pipe && waiting.pair == pair && waiting.pipe->which() != pipe->which()) {
      partner = std::move(waiting.pipe);
      waiting_.erase(host);
    } else {
      replaced = std::exchange(waiting.pipe, pipe);
      waiting.pair = pair;
    }
  }
  if (replaced) replaced->cancel();
  if (!partner) return;
  auto session = std::make_shared<PairedSession>(host, shared_);
  for (const auto& half : {partner, pipe}) {
    session->attach(half->which(), half);
    if (!half->join(session)) session->ended(half->which(), "the host went away");
  }
  session->ready(Stream::control);
  session->ready(Stream::logs);
}

void Lobby::left(ServerPipe* pipe) {
  const std::lock_guard lock(mutex_);
  std::erase_if(waiting_, [&](const auto& entry) {
    return !entry.second.pipe || entry.second.pipe.get() == pipe;
  });
  living_.erase(pipe);
  changed_.notify_all();
}

void Lobby::close_all() {
  const std::lock_guard lock(mutex_);
  closing_ = true;
  for (ServerPipe* pipe : living_) pipe->cancel();
}

void Lobby::wait_until_empty() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return living_.empty(); });
}

class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(grpc::Status status) { Finish(std::move(status)); }
  void OnDone() override { const std::unique_ptr<Refusal> self(this); }
};

class Service final : public grpc::CallbackGenericService {
 public:
  explicit Service(Lobby& lobby) : lobby_(lobby) {}

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    const std::string host = common_name(context->auth_context());
    if (!is_host_name(host))
      return refuse(grpc::StatusCode::UNAUTHENTICATED, "the certificate names no host");
    const bool control = context->method() == kControlMethod;
    if (!control && context->method() != kLogsMethod)
      return refuse(grpc::StatusCode::UNIMPLEMENTED, host + " asked for an unknown method");
    const auto pair = context->client_metadata().find(kPairKey);
    if (pair == context->client_metadata().end() || pair->second.size() > kMaxPairText)
      return refuse(grpc::StatusCode::INVALID_ARGUMENT, host + " sent no pair text");
    auto pipe =
        std::make_shared<ServerPipe>(control ? Stream::control : Stream::logs, context, lobby_);
    lobby_.enter(pipe, host, {pair->second.data(), pair->second.size()});
    return pipe.get();
  }

 private:
  grpc::ServerGenericBidiReactor* refuse(grpc::StatusCode code, const std::string& why) {
    ++lobby_.shared()->counters.refused;
    lobby_.shared()->failed("refused a stream: " + why);
    return std::make_unique<Refusal>(grpc::Status(code, why)).release();
  }

  Lobby& lobby_;
};

class Server final : public LinkServer {
 public:
  explicit Server(SessionEvents events)
      : shared_(std::make_shared<Shared>()), lobby_(shared_), service_(lobby_) {
    shared_->events = std::move(events);
  }
  ~Server() override { stop_now(); }

  Result<void> listen(const std::string& address, const TlsFiles& tls);

  [[nodiscard]] int port() const override { return port_; }
  [[nodiscard]] LinkStats stats() const override { return shared_->counters.read(); }
  void stop() override { stop_now(); }

 private:
  void stop_now() {
    if (!server_) return;
    lobby_.close_all();
    server_->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
    lobby_.wait_until_empty();
    server_.reset();
  }

  const std::shared_ptr<Shared> shared_;
  Lobby lobby_;
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

Result<std::shared_ptr<grpc::ServerCredentials>> server_credentials(const TlsFiles& tls) {
  const auto ca = read_file(tls.ca);
  const auto certificate = read_file(tls.certificate);
  const auto key = read_file(tls.key);
  for (const auto* file : {&ca, &certificate, &key})
    if (!*file) return fail(file->error(), "the link's certificate");
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = *ca;
  options.pem_key_cert_pairs.push_back({*key, *certificate});
  return grpc::SslServerCredentials(options);
}

Result<void> Server::listen(const std::string& address, const TlsFiles& tls) {
  auto credentials = server_credentials(tls);
  if (!credentials) return tl::unexpected<Error>(credentials.error());
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, *credentials, &port_);
  builder.RegisterCallbackGenericService(&service_);
  builder.SetMaxReceiveMessageSize(static_cast<int>(kMaxFrame));
  // By default two servers may share a port, and each would get some of the hosts.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kKeepaliveTimeMs / 2);
  server_ = builder.BuildAndStart();
  if (!server_ || port_ == 0) {
    server_.reset();
    return fail(Errc::io, "the link can't listen on " + address + ": is the port taken?");
  }
  return {};
}

}  // namespace
}  // namespace link

Result<std::unique_ptr<LinkServer>> LinkServer::start(const std::string& address,
                                                      const TlsFiles& tls, SessionEvents events) {
  auto server = std::make_unique<link::Server>(std::move(events));
  if (auto listening = server->listen(address, tls); !listening)
    return tl::unexpected<Error>(listening.error());
  return server;
}

}  // namespace muster::storage
