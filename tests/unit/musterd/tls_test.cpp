// TLS in front of the server: curl and bare sockets as clients, certificates of an own CA.
#include <catch2/catch.hpp>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "storage/base/files.hpp"
#include "storage/link/link.hpp"
#include "tools/musterd/http_server.hpp"
#include "tools/musterd/problem.hpp"
#include "tools/musterd/tls_front.hpp"

using namespace muster;
using namespace muster::musterd;

namespace {

struct Secure {
  explicit Secure(TlsLimits limits = {}) {
    char name[] = "/tmp/muster-tls-XXXXXX";
    path = ::mkdtemp(name);
    files = *storage::ensure_api_certificate(path, {"localhost", "127.0.0.1"});
    http =
        std::move(*HttpServer::start({"", "", {}}, {[this](Request& request) {
                                                      peer = request.peer;
                                                      Response response;
                                                      response.body = request.method + request.body;
                                                      return response;
                                                    },
                                                    [](Request&) { return 4u << 20; }, refusal}));
    auto started = TlsFront::start(
        {"127.0.0.1:0", files.certificate, files.key, limits},
        [this](Fd plain, Peer who) { http->adopt(std::move(plain), std::move(who)); });
    if (!started) FAIL(started.error().message);
    front = std::move(*started);
  }
  ~Secure() {
    http->stop(Duration{1'000});
    front.reset();
    http.reset();
    std::filesystem::remove_all(path);
  }
  Secure(const Secure&) = delete;
  Secure& operator=(const Secure&) = delete;

  /// "" or what went wrong.
  std::string ask(std::string& answer, const std::string& host = "localhost",
                  const std::string& body = "",
                  long max_version = CURL_SSLVERSION_MAX_DEFAULT) const {
    CURL* curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL,
                     ("https://" + host + ":" + std::to_string(front->port())).c_str());
    curl_easy_setopt(curl, CURLOPT_RESOLVE, nullptr);
    curl_slist* there = curl_slist_append(
        nullptr, (host + ":" + std::to_string(front->port()) + ":127.0.0.1").c_str());
    curl_easy_setopt(curl, CURLOPT_RESOLVE, there);
    curl_easy_setopt(curl, CURLOPT_CAINFO, files.ca.c_str());
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, max_version);
    curl_easy_setopt(
        curl, CURLOPT_WRITEFUNCTION,
        +[](char* bytes, std::size_t size, std::size_t count, void* to) {
          static_cast<std::string*>(to)->append(bytes, size * count);
          return size * count;
        });
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    if (!body.empty()) {
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
    }
    const CURLcode code = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    curl_slist_free_all(there);
    return code == CURLE_OK ? "" : curl_easy_strerror(code);
  }

  [[nodiscard]] Fd dial() const {
    Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(front->port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    return socket;
  }

  std::filesystem::path path;
  storage::TlsFiles files;
  Peer peer;
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<TlsFront> front;
};

/// Until the other side closes or resets.
void read_to_end(const Fd& socket) {
  char buffer[1024];
  while (::recv(socket.get(), buffer, sizeof buffer, 0) > 0) {
  }
}

}  // namespace

TEST_CASE_METHOD(Secure, "what is said through TLS arrives, both ways, also when it is long") {
  std::string answer;
  CHECK(ask(answer) == "");
  CHECK(answer == "GET");
  CHECK(peer.via == Peer::Via::tls);
  CHECK(!peer.uid);
  CHECK(peer.address.starts_with("127.0.0.1:"));
  const std::string large(3u << 20, 'x');
  answer.clear();
  CHECK(ask(answer, "localhost", large) == "");
  CHECK(answer == "POST" + large);
}

TEST_CASE_METHOD(Secure, "a client that checks names and versions is right to trust it") {
  std::string answer;
  CHECK(ask(answer, "another.example") != "");
  CHECK(ask(answer, "localhost", "", CURL_SSLVERSION_MAX_TLSv1_1) != "");
  CHECK(answer.empty());
}

TEST_CASE("who speaks no TLS, or nothing, is cut off and harms nobody") {
  TlsLimits limits;
  limits.handshake = Duration{200};
  const Secure secure(limits);
  const Fd silent = secure.dial();
  const Fd plain = secure.dial();
  REQUIRE(::send(plain.get(), "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) == 18);
  std::string answer;
  CHECK(secure.ask(answer) == "");
  read_to_end(plain);
  read_to_end(silent);
}

TEST_CASE("beyond the limit of tunnels a caller is cut off") {
  TlsLimits limits;
  limits.tunnels = 1;
  const Secure secure(limits);
  const Fd first = secure.dial();  // Shakes no hands, but counts.
  const Fd second = secure.dial();
  read_to_end(second);
  std::string answer;
  CHECK(secure.ask(answer) != "");
}

TEST_CASE_METHOD(Secure,
                 "a new certificate counts for new connections, a bad one changes nothing") {
  CHECK(front->reload("/dev/null", files.key).error().code == Errc::invalid);
  std::string answer;
  CHECK(ask(answer) == "");
  const auto other = storage::ensure_api_certificate(path / "other", {"localhost"});
  REQUIRE(other);
  CHECK(front->reload(other->certificate, files.key).error().code == Errc::invalid);
  REQUIRE(front->reload(other->certificate, other->key));
  CHECK(ask(answer) != "");  // Signed by another CA than the client's.
  files.ca = other->ca;
  CHECK(ask(answer) == "");
}
