// musterd's HTTP API over its unix socket, or over TLS. One thread; libcurl stays in the .cpp.
//
// Every write bears an Idempotency-Key (a UUIDv7) and is repeated under the same key when its
// outcome is unknown or the server is overloaded, so it happens once. Reads are not repeated here:
// who waits repeats.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "storage/base/error.hpp"
#include "storage/base/time.hpp"

namespace muster::cli {

/// What a person is told: `error: message` and, when there is one, `hint: hint`.
struct Failure {
  Errc code = Errc::internal;
  std::string message;
  std::string hint;
};
template <class T>
using Answer = tl::expected<T, Failure>;

/// Where musterd is.
struct Endpoint {
  std::string socket;  ///< Path of a unix socket; empty: `url`.
  std::string url;     ///< http://… or https://…, without a path.
  std::string token;
  std::string
      ca{};  ///< A PEM file: who may have signed musterd's certificate; empty: the system's.
  std::string described;  ///< For errors.
};

/// --root, else --url, else MUSTER_URL, else ~/.config/muster/config.yaml, else
/// /run/muster/musterd.sock.
/// The CA of an https address: --ca, else MUSTER_CA, else `ca:` of the configuration file.
Answer<Endpoint> find_endpoint(const std::string& root, const std::string& url,
                               const std::string& ca = "");

/// For what takes as long as it takes.
inline constexpr Duration kNoTimeout{0};

/// One exchange. `path` begins with /v1/.
struct Request {
  std::string method = "GET";
  std::string path;
  std::string body{};
  std::string content_type = "application/json";
  std::string key{};  ///< Idempotency-Key; empty for reads.
  std::vector<std::string> headers{};
  Duration timeout{30'000};  ///< 0: none, for streams.
};
struct Response {
  long status = 0;  ///< 0: no answer.
  std::string body{};
  std::string content_type;
  Duration retry_after{0};
  Failure problem;  ///< Why there is no answer.
};

/// What the status and the problem document say; for any status but 2xx.
Failure failure_of(const Response& response, const Endpoint& endpoint);

class Client {
 public:
  explicit Client(Endpoint endpoint);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Answer<nlohmann::json> get(const std::string& path);
  Answer<std::string> get_text(const std::string& path);
  Answer<nlohmann::json> post(const std::string& path, const nlohmann::json& body,
                              Duration timeout = Duration{30'000});
  /// Uploads unless it is there.
  Answer<void> put_blob(const std::string& sha256, const std::string& bytes);
  /// One call per line of an application/x-ndjson body; false ends the stream.
  Answer<void> stream(const std::string& path,
                      const std::function<bool(const nlohmann::json&)>& line);
  /// One call per server-sent event, until it returns false or musterd ends the stream. `id` of the
  /// last one resumes: it is kept up to date.
  Answer<void> events(
      const std::string& path, std::string& id,
      const std::function<bool(const std::string& name, const nlohmann::json& data)>& event);
  /// The bytes of a body as they come; false abandons it.
  Answer<void> download(const std::string& path,
                        const std::function<bool(std::string_view)>& bytes);
  /// Every page of a list: `path` with a query or none, `list` the key that holds the elements; at
  /// most `limit` of them (0: all). It keeps them all: a fleet's runs are at most 50,000 small
  /// documents.
  Answer<std::vector<nlohmann::json>> all(const std::string& path, const std::string& list,
                                          std::size_t limit);

  [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }
  /// Asked about once a second during an exchange; true abandons it.
  void set_interrupt(std::function<bool()> interrupt) { interrupt_ = std::move(interrupt); }

 private:
  Response exchange(const Request& request, const std::function<bool(std::string_view)>& sink = {});
  Answer<Response> write(Request request);

  Endpoint endpoint_;
  std::function<bool()> interrupt_;
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

/// Percent-encodes everything but unreserved characters.
std::string encoded(std::string_view text);
/// "/v1/runs" and {{"fleet","x"},{"state",""}} -> "/v1/runs?fleet=x": empty values are left out.
std::string with_query(const std::string& path,
                       const std::vector<std::pair<std::string, std::string>>& query);

}  // namespace muster::cli
