// The HTTP server over a real unix socket, with libcurl and with bare sockets as clients.
#include <catch2/catch.hpp>

#include <curl/curl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "storage/base/files.hpp"
#include "tools/musterd/http_server.hpp"
#include "tools/musterd/problem.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

struct Directory {
  Directory() {
    char name[] = "/tmp/muster-http-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Directory() { std::filesystem::remove_all(path); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] std::string socket() const { return path + "/s"; }
  std::string path;
};

/// Opened once, waited for by any number.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

/// A stream that a test feeds.
class FedStream final : public BodyStream {
 public:
  Piece next() override {
    const std::lock_guard lock(mutex_);
    return std::exchange(piece_, {});
  }
  void on_more(std::function<void()> wake) override {
    const std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
  }
  void feed(Piece piece) {
    const std::lock_guard lock(mutex_);
    piece_.bytes += piece.bytes;
    piece_.end = piece.end;
    if (wake_) wake_();
  }

 private:
  std::mutex mutex_;
  std::function<void()> wake_;
  Piece piece_;
};

struct Reply {
  long status = 0;
  std::string body;
  std::string headers;
};

std::size_t append(char* bytes, std::size_t size, std::size_t count, void* to) {
  static_cast<std::string*>(to)->append(bytes, size * count);
  return size * count;
}

class Client {
 public:
  explicit Client(const Directory& directory) : curl_(curl_easy_init()) {
    curl_easy_setopt(curl_, CURLOPT_UNIX_SOCKET_PATH, directory.socket().c_str());
    curl_easy_setopt(curl_, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl_, CURLOPT_HEADERFUNCTION, append);
  }
  ~Client() { curl_easy_cleanup(curl_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Reply get(const std::string& path) { return perform(path); }
  Reply head(const std::string& path) {
    curl_easy_setopt(curl_, CURLOPT_NOBODY, 1L);
    return perform(path);
  }
  Reply post(const std::string& path, const std::string& body) {
    curl_easy_setopt(curl_, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl_, CURLOPT_POSTFIELDS, body.c_str());
    return perform(path);
  }
  [[nodiscard]] long connections() const {
    long made = 0;
    curl_easy_getinfo(curl_, CURLINFO_NUM_CONNECTS, &made);
    return made;
  }

 private:
  Reply perform(const std::string& path) {
    Reply reply;
    curl_easy_setopt(curl_, CURLOPT_URL, ("http://localhost" + path).c_str());
    curl_easy_setopt(curl_, CURLOPT_WRITEDATA, &reply.body);
    curl_easy_setopt(curl_, CURLOPT_HEADERDATA, &reply.headers);
    const CURLcode code = curl_easy_perform(curl_);
    INFO(curl_easy_strerror(code));
    CHECK(code == CURLE_OK);
    curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &reply.status);
    return reply;
  }

  CURL* curl_;
};

/// A bare connection.
class Bare {
 public:
  explicit Bare(const Directory& directory)
      : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = directory.socket();
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    REQUIRE(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  /// Until the other side closes.
  std::string rest() {
    std::string all;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::recv(fd_.get(), buffer, sizeof buffer, 0)) > 0;)
      all.append(buffer, static_cast<std::size_t>(got));
    return all;
  }
  std::string until(std::string_view mark) {
    std::string all;
    char byte = 0;
    while (all.find(mark) == std::string::npos && ::recv(fd_.get(), &byte, 1, 0) == 1) all += byte;
    return all;
  }
  void close() { fd_.reset(); }

 private:
  Fd fd_;
};

Response echo(Request& request) {
  Response response;
  response.content_type = "text/plain";
  response.body = request.method + " " + request.path + " " + request.body;
  return response;
}

std::unique_ptr<HttpServer> serve(const Directory& directory,
                                  std::function<Response(Request&)> handle,
                                  HttpLimits limits = {}) {
  auto server = HttpServer::start(
      {directory.socket(), "", limits},
      {std::move(handle), [](Request& r) { return r.path == "/large" ? 4096u : 16u; }, refusal});
  REQUIRE(server);
  return std::move(*server);
}

}  // namespace

TEST_CASE("requests are answered, several on one connection") {
  const Directory directory;
  const auto server = serve(directory, echo);
  Client client(directory);
  CHECK(client.get("/a").body == "GET /a ");
  CHECK(client.connections() == 1);
  const Reply second = client.post("/b", "text");
  CHECK(second.body == "POST /b text");
  CHECK(second.status == 200);
  CHECK(client.connections() == 0);
  CHECK(server->connections() == 1);
}

TEST_CASE("HEAD has the length and no body") {
  const Directory directory;
  const auto server = serve(directory, echo);
  const Reply reply = Client(directory).head("/abc");
  CHECK(reply.body.empty());
  CHECK(reply.headers.find("Content-Length: 10\r\n") != std::string::npos);
}

TEST_CASE(
    "the socket is for owner and group, is taken over when stale, and refused while it lives") {
  const Directory directory;
  std::ofstream(directory.socket()) << "not a socket";
  auto server = serve(directory, echo);
  struct stat status {};
  REQUIRE(::stat(directory.socket().c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0660);
  const auto second = HttpServer::start({directory.socket(), "", {}}, {echo, nullptr, refusal});
  REQUIRE(!second);
  CHECK(second.error().code == Errc::conflict);
  CHECK(Client(directory).get("/still").status == 200);
  server.reset();
  CHECK(!std::filesystem::exists(directory.socket()));
}

TEST_CASE("only loopback addresses are listened on") {
  for (const char* address :
       {"0.0.0.0:0", "10.0.0.1:80", "127.0.0.1", "localhost:1", "127.0.0.1:x"}) {
    INFO(address);
    const auto server = HttpServer::start({"", address, {}}, {echo, nullptr, refusal});
    REQUIRE(!server);
    CHECK(server.error().code == Errc::invalid);
  }
  const auto server = HttpServer::start({"", "127.0.0.1:0", {}}, {echo, nullptr, refusal});
  REQUIRE(server);
  CHECK((*server)->tcp_port() > 0);
}

TEST_CASE("a body beyond its route's limit is refused by its length alone") {
  const Directory directory;
  const auto server = serve(directory, echo);
  CHECK(Client(directory).post("/small", std::string(16, 'x')).status == 200);
  CHECK(Client(directory).post("/large", std::string(4096, 'x')).status == 200);
  Bare bare(directory);
  bare.send("POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n");
  const std::string refused = bare.rest();
  CHECK(refused.find("HTTP/1.1 413 ") == 0);
  CHECK(refused.find("problems/too-large") != std::string::npos);
}

TEST_CASE("a chunked body is held to the limit as well") {
  const Directory directory;
  const auto server = serve(directory, echo);
  Bare bare(directory);
  bare.send("POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n" +
            std::string(32, 'x') + "\r\n0\r\n\r\n");
  CHECK(bare.rest().find("HTTP/1.1 413 ") == 0);
}

TEST_CASE("Expect: 100-continue is answered before the body") {
  const Directory directory;
  const auto server = serve(directory, echo);
  Bare bare(directory);
  bare.send(
      "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
      "Connection: close\r\n\r\n");
  CHECK(bare.until("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  bare.send("ok");
  CHECK(bare.rest().find("POST /a ok") != std::string::npos);
}

TEST_CASE("what is no HTTP, or too long a header, gets a problem") {
  const Directory directory;
  const auto server = serve(directory, echo);
  Bare nonsense(directory);
  nonsense.send("hello\r\n\r\n");
  CHECK(nonsense.rest().find("HTTP/1.1 400 ") == 0);
  Bare target(directory);
  target.send("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(target.rest().find("HTTP/1.1 400 ") == 0);
  Bare longest(directory);
  longest.send("GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n");
  CHECK(longest.rest().find("HTTP/1.1 431 ") == 0);
}

TEST_CASE("beyond the workers and their queue, requests get 429 with Retry-After") {
  const Directory directory;
  HttpLimits limits;
  limits.workers = 1;
  limits.waiting = 1;
  Gate entered;
  Gate leave;
  const auto server = serve(
      directory,
      [&](Request& request) {
        entered.open();
        leave.wait();
        return echo(request);
      },
      limits);
  Bare working(directory);
  working.send("GET /1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  entered.wait();
  // One of these two waits, the other finds no room.
  Bare second(directory);
  Bare third(directory);
  std::string answer_of_second;
  std::string answer_of_third;
  std::thread reads_second([&] {
    second.send("GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    answer_of_second = second.rest();
    leave.open();
  });
  std::thread reads_third([&] {
    third.send("GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    answer_of_third = third.rest();
    leave.open();
  });
  reads_second.join();
  reads_third.join();
  CHECK(working.rest().find("GET /1") != std::string::npos);
  const std::string& refused =
      answer_of_second.find("429") != std::string::npos ? answer_of_second : answer_of_third;
  const std::string& served = &refused == &answer_of_second ? answer_of_third : answer_of_second;
  CHECK(refused.find("HTTP/1.1 429 ") == 0);
  CHECK(refused.find("Retry-After: 1\r\n") != std::string::npos);
  CHECK(served.find("HTTP/1.1 200 ") == 0);
}

TEST_CASE("beyond the limit of connections, a new one gets 429") {
  const Directory directory;
  HttpLimits limits;
  limits.connections = 1;
  const auto server = serve(directory, echo, limits);
  Bare first(directory);
  first.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(first.until("GET /1 ").find("200 OK") != std::string::npos);
  CHECK(Bare(directory).rest().find("HTTP/1.1 429 ") == 0);
  first.send("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(first.until("GET /2 ").find("200 OK") != std::string::npos);
}

TEST_CASE("what is urgent gets through a full house, past workers that are all held") {
  const Directory directory;
  HttpLimits limits;
  limits.workers = 1;
  limits.waiting = 1;
  limits.connections = 1;
  limits.urgent_connections = 2;
  limits.knock = Duration{3'600'000};
  Gate entered;
  Gate leave;
  HttpApplication application;
  application.handle = [&](Request& request) {
    if (request.path == "/long") {
      entered.open();
      leave.wait();
    }
    return echo(request);
  };
  application.body_limit = [](Request&) { return 100'000u; };
  application.refuse = refusal;
  application.urgent = [](Request& request) { return request.path == "/order"; };
  const auto started = HttpServer::start({directory.socket(), "", limits}, std::move(application));
  REQUIRE(started);
  Bare working(directory);
  working.send("GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  entered.wait();

  // Who may stay for one request, and has not said yet what it is.
  Bare silent(directory);
  for (int n = 0; n < 3; ++n) {
    Bare order(directory);
    order.send("POST /order HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
    const std::string answer = order.rest();  // And closed: the next one may want the place.
    CHECK(answer.find("HTTP/1.1 200 ") == 0);
    CHECK(answer.find("POST /order {}") != std::string::npos);
    while ((*started)->connections() > 2) std::this_thread::yield();
  }
  Bare everyday(directory);
  everyday.send("POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
  const std::string refused = everyday.rest();
  CHECK(refused.find("HTTP/1.1 429 ") == 0);
  CHECK(refused.find("Retry-After: 1\r\n") != std::string::npos);
  while ((*started)->connections() > 2) std::this_thread::yield();
  Bare last(directory);
  CHECK(Bare(directory).rest().find("HTTP/1.1 429 ") == 0);  // Not even those are without end.
  leave.open();
  CHECK(working.rest().find("GET /long") != std::string::npos);
}

TEST_CASE("bodies in memory are bounded over all connections") {
  const Directory directory;
  HttpLimits limits;
  limits.bodies_in_memory = 4096;
  const auto server = serve(directory, echo, limits);
  Bare slow(directory);
  slow.send(
      "POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\nExpect: 100-continue\r\n\r\n");
  CHECK(slow.until("\r\n\r\n").find("100 Continue") != std::string::npos);
  Bare other(directory);
  other.send("POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
  CHECK(other.rest().find("HTTP/1.1 429 ") == 0);
  slow.send(std::string(4000, 'x'));
  CHECK(slow.until("\r\n\r\n").find("200 OK") != std::string::npos);
}

TEST_CASE("an idle connection is closed") {
  const Directory directory;
  HttpLimits limits;
  limits.idle = Duration{20};
  const auto server = serve(directory, echo, limits);
  Bare bare(directory);
  CHECK(bare.rest().empty());
}

TEST_CASE("a stream sends what comes, when it comes, and ends") {
  const Directory directory;
  const auto stream = std::make_shared<FedStream>();
  const auto server = serve(directory, [&](Request&) {
    Response response;
    response.content_type = "text/plain";
    response.stream = stream;
    return response;
  });
  Bare bare(directory);
  bare.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(bare.until("\r\n\r\n").find("Transfer-Encoding: chunked") != std::string::npos);
  stream->feed({"one", false});
  CHECK(bare.until("one\r\n") == "3\r\none\r\n");
  stream->feed({"two!", true});
  CHECK(bare.rest() == "4\r\ntwo!\r\n0\r\n\r\n");
}

TEST_CASE("a stream that put something off is asked again, though nothing wakes it") {
  class Resting final : public BodyStream {
   public:
    Piece next() override {
      Piece piece;
      if (++asked_ < 4)
        piece.again = Duration{1};
      else
        piece.bytes = "there";
      piece.end = asked_ == 4;
      return piece;
    }
    void on_more(std::function<void()>) override {}

   private:
    int asked_ = 0;
  };
  const Directory directory;
  const auto server = serve(directory, [&](Request&) {
    Response response;
    response.stream = std::make_shared<Resting>();
    return response;
  });
  Bare client(directory);
  client.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(client.rest().find("5\r\nthere\r\n0\r\n\r\n") != std::string::npos);
}

TEST_CASE("a stream whose client leaves is let go, though it has nothing to say") {
  const Directory directory;
  Gate begun;
  std::weak_ptr<FedStream> watched;
  const auto server = serve(directory, [&](Request&) {
    Response response;
    const auto stream = std::make_shared<FedStream>();
    watched = stream;
    response.stream = stream;
    begun.open();
    return response;
  });
  Bare bare(directory);
  bare.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  begun.wait();
  bare.until("\r\n\r\n");
  bare.close();
  while (server->connections() != 0) std::this_thread::yield();
  CHECK(watched.expired());
}

TEST_CASE("a client that reads nothing does not hold a stream for ever") {
  const Directory directory;
  HttpLimits limits;
  limits.write = Duration{50};
  class Endless final : public BodyStream {
    Piece next() override { return {std::string(1u << 20, 'x'), false}; }
    void on_more(std::function<void()>) override {}
  };
  const auto server = serve(
      directory,
      [](Request&) {
        Response response;
        response.stream = std::make_shared<Endless>();
        return response;
      },
      limits);
  Bare bare(directory);
  bare.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  bare.until("\r\n\r\n");
  while (server->connections() != 0) std::this_thread::yield();
  CHECK(Client(directory).head("/").status == 200);
}

TEST_CASE("stopping answers what is in progress and ends streams") {
  const Directory directory;
  Gate entered;
  Gate leave;
  const auto stream = std::make_shared<FedStream>();
  const auto server = serve(directory, [&](Request& request) {
    if (request.path == "/stream") {
      Response response;
      response.stream = stream;
      return response;
    }
    entered.open();
    leave.wait();
    return echo(request);
  });
  Bare streaming(directory);
  streaming.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  streaming.until("\r\n\r\n");
  Bare busy(directory);
  busy.send("GET /busy HTTP/1.1\r\nHost: x\r\n\r\n");
  entered.wait();
  std::thread stopping([&] { server->stop(Duration{60'000}); });
  CHECK(streaming.rest() == "0\r\n\r\n");  // So the stop is under way.
  leave.open();
  CHECK(busy.rest().find("GET /busy") != std::string::npos);
  stopping.join();
  CHECK(server->connections() == 0);
}

TEST_CASE(
    "who is not let in is told so by its head, a small body is passed over, a large one not read") {
  const Directory directory;
  auto server = HttpServer::start({directory.socket(), "", {}},
                                  {echo, [](Request&) { return 1u << 20; }, refusal,
                                   [](Request& r) -> std::optional<Response> {
                                     if (r.path != "/closed") return std::nullopt;
                                     Response refused;
                                     refused.status = 401;
                                     return refused;
                                   }});
  REQUIRE(server);
  Client client(directory);
  CHECK(client.post("/closed", "some text").status == 401);
  CHECK(client.post("/open", "some text").body == "POST /open some text");
  CHECK(client.connections() == 0);  // The same one.
  Bare large(directory);
  large.send("POST /closed HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
  CHECK(large.rest().find("HTTP/1.1 401 ") == 0);
}

TEST_CASE("the server knows who is at the other end of its unix socket") {
  const Directory directory;
  Peer seen;
  const auto server = serve(directory, [&](Request& request) {
    seen = request.peer;
    return echo(request);
  });
  CHECK(Client(directory).get("/").status == 200);
  CHECK(seen.via == Peer::Via::unix_socket);
  CHECK(seen.uid == ::geteuid());
}
