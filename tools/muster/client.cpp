#include "tools/muster/client.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "storage/base/ids.hpp"
#include "tools/musterd/trace.hpp"

namespace muster::cli {
namespace {

using nlohmann::json;

constexpr int kMaxTries = 6;
constexpr Duration kFirstPause{200};
constexpr Duration kLongestPause{10'000};
constexpr std::size_t kMaxBody = 256u << 20;
constexpr std::size_t kMaxStreamLine = 1u << 20;
constexpr Duration kConnectTimeout{10'000};
constexpr std::size_t kPage = 500;

struct Receiver {
  std::string body;
  std::function<bool(std::string_view)> sink;  ///< For a stream that was accepted.
  CURL* curl = nullptr;
  bool stopped = false;
};

std::size_t receive(char* data, std::size_t size, std::size_t count, void* user) {
  auto& to = *static_cast<Receiver*>(user);
  const std::string_view bytes(data, size * count);
  long status = 0;
  curl_easy_getinfo(to.curl, CURLINFO_RESPONSE_CODE, &status);
  if (to.sink && status / 100 == 2) {
    to.stopped = !to.sink(bytes);
    return to.stopped ? 0 : bytes.size();
  }
  if (to.body.size() + bytes.size() > kMaxBody) return 0;
  to.body += bytes;
  return bytes.size();
}

int progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& interrupt = *static_cast<const std::function<bool()>*>(user);
  return interrupt && interrupt() ? 1 : 0;
}

Errc code_of_status(long status) {
  switch (status) {
    case 400:
    case 413:
    case 415:
      return Errc::invalid;
    case 401:
    case 403:
      return Errc::refused;
    case 404:
      return Errc::not_found;
    case 409:
    case 422:
      return Errc::conflict;
    case 429:
      return Errc::overloaded;
    case 503:
      return Errc::unknown;
    case 504:
      return Errc::timed_out;
    default:
      return Errc::internal;
  }
}

Errc code_of_name(const std::string& name, Errc otherwise) {
  for (int i = 0; i <= static_cast<int>(Errc::key_reused); ++i)
    if (to_string(static_cast<Errc>(i)) == name) return static_cast<Errc>(i);
  return otherwise;
}

/// What a tracing caller leaves in the environment of its children, as W3C has it; "" for what is no
/// trace context.
std::string callers_trace() {
  constexpr std::size_t kLength = 55;  // Of version 00; nothing after it gets into a header.
  const char* value = std::getenv("TRACEPARENT");
  if (value == nullptr || std::strlen(value) != kLength) return "";
  return musterd::trace_of(value, "").parent.empty() ? "" : value;
}

std::string text_at(const json& from, const char* key) {
  const auto found = from.find(key);
  return found != from.end() && found->is_string() ? found->get<std::string>() : "";
}

/// The list that holds what a message misses; of a part of something that is there, none does.
std::string list_for(const std::string& message) {
  for (const auto& [missing, command] :
       {std::pair{"no fleet ", "muster fleet list"}, std::pair{"no run ", "muster run list"},
        std::pair{"no pull ", "muster pr list"}, std::pair{"no host ", "muster host list"}})
    if (message.find(missing) != std::string::npos)
      return std::string(command) + " says what there is";
  return "";
}

/// musterd's hints speak to whoever writes HTTP. Where one names its addresses or headers, a person
/// is told the command instead.
std::string hint_for_people(const std::string& hint, Errc code, const std::string& message) {
  bool names_http = false;
  for (const char* word : {"/v1/", "GET /", "Idempotency-Key", "the same key", "Retry-After"})
    names_http = names_http || hint.find(word) != std::string::npos;
  if (!names_http) return hint;
  switch (code) {
    case Errc::not_found:
      return list_for(message);
    case Errc::overloaded:
      return "repeat the command later";
    case Errc::timed_out:
    case Errc::unknown:
      return "it may have happened: look before you repeat it";
    case Errc::io:
      return "see musterd's log";
    default:
      return "";
  }
}

Answer<json> parsed(const std::string& body, const Endpoint& endpoint) {
  json document = json::parse(body, nullptr, false);
  if (document.is_discarded())
    return tl::unexpected(
        Failure{Errc::corrupt,
                "what answers at " + endpoint.described + " is not musterd: no JSON came back",
                "check --root, MUSTER_URL and ~/.config/muster/config.yaml"});
  return document;
}

}  // namespace

struct Client::Handle {
  CURL* curl = curl_easy_init();
  ~Handle() { curl_easy_cleanup(curl); }
};

Client::Client(Endpoint endpoint)
    : endpoint_(std::move(endpoint)), handle_(std::make_unique<Handle>()) {}
Client::~Client() = default;

Failure failure_of(const Response& response, const Endpoint& endpoint) {
  if (response.status == 0) return response.problem;
  Failure failure{code_of_status(response.status), "", ""};
  const json document = json::parse(response.body, nullptr, false);
  if (document.is_object()) {
    failure.code = code_of_name(text_at(document, "code"), failure.code);
    failure.message = text_at(document, "detail");
    if (failure.message.empty()) failure.message = text_at(document, "title");
    failure.hint = hint_for_people(text_at(document, "hint"), failure.code, failure.message);
  }
  if (failure.message.empty())
    failure.message =
        endpoint.described + " answered with status " + std::to_string(response.status);
  return failure;
}

Response Client::exchange(const Request& request,
                          const std::function<bool(std::string_view)>& sink) {
  CURL* curl = handle_->curl;
  curl_easy_reset(curl);  // keeps the connection
  Receiver receiver{"", sink, curl, false};
  const std::string url =
      (endpoint_.socket.empty() ? endpoint_.url : "http://localhost") + request.path;
  curl_slist* headers = nullptr;
  const auto header = [&](const std::string& line) {
    headers = curl_slist_append(headers, line.c_str());
  };
  header("Expect:");
  if (request.headers.empty()) header("Accept: application/json, application/problem+json, */*");
  if (!request.key.empty()) header("Idempotency-Key: " + request.key);
  if (const std::string trace = callers_trace(); !trace.empty()) header("traceparent: " + trace);
  if (!endpoint_.token.empty()) header("Authorization: Bearer " + endpoint_.token);
  for (const std::string& line : request.headers) header(line);
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
    header("Content-Type: " + request.content_type);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
  }
  if (!endpoint_.socket.empty())
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, endpoint_.socket.c_str());
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  if (request.method == "HEAD")
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  else
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  if (!endpoint_.ca.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, endpoint_.ca.c_str());
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(kConnectTimeout.count()));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &receiver);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &interrupt_);
  const CURLcode result = curl_easy_perform(curl);
  curl_slist_free_all(headers);

  Response response;
  response.body = std::move(receiver.body);
  if (result == CURLE_OK || (result == CURLE_WRITE_ERROR && receiver.stopped)) {
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &response.status);
    const char* type = nullptr;
    if (curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type != nullptr)
      response.content_type = type;
    curl_off_t after = 0;
    if (curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &after) == CURLE_OK)
      response.retry_after = Duration{after * 1000};
    return response;
  }
  const bool never_sent =
      result == CURLE_COULDNT_CONNECT || result == CURLE_COULDNT_RESOLVE_HOST ||
      result == CURLE_COULDNT_RESOLVE_PROXY || result == CURLE_SSL_CONNECT_ERROR ||
      result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_SSL_CACERT_BADFILE;
  response.problem.code = never_sent ? Errc::unreachable : Errc::unknown;
  if (result == CURLE_ABORTED_BY_CALLBACK) {
    response.problem = {Errc::timed_out, "interrupted", ""};
  } else if (never_sent) {
    response.problem.message =
        "musterd can't be reached at " + endpoint_.described + ": " + curl_easy_strerror(result);
    const bool untrusted =
        result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_SSL_CACERT_BADFILE;
    response.problem.hint =
        untrusted ? "say who signed its certificate: --ca FILE or MUSTER_CA (musterd's own CA is "
                    "var/lib/muster/ca/ca.pem there)"
        : endpoint_.socket.empty()
            ? "check MUSTER_URL and that musterd listens there"
            : "start it with \"musterd --embedded-host\", or say where it is "
              "with --root DIR or MUSTER_URL";
  } else {
    response.problem.message = "the connection to musterd at " + endpoint_.described +
                               " broke: " + curl_easy_strerror(result);
    response.problem.hint = "repeat the command: the same work is never done twice";
  }
  return response;
}

Answer<Response> Client::write(Request request) {
  request.key = new_uuid_v7(wall_clock_now());
  Duration pause = kFirstPause;
  for (int attempt = 1;; ++attempt) {
    Response response = exchange(request);
    if (response.status / 100 == 2) return response;
    Failure failure = failure_of(response, endpoint_);
    const bool repeat = failure.code == Errc::unknown || failure.code == Errc::overloaded;
    if (!repeat || attempt == kMaxTries) {
      if (failure.code == Errc::unknown) failure.code = Errc::unreachable;
      return tl::unexpected(std::move(failure));
    }
    std::this_thread::sleep_for(
        std::clamp(std::max(pause, response.retry_after), kFirstPause, kLongestPause));
    pause = std::min(pause * 2, kLongestPause);
  }
}

Answer<json> Client::get(const std::string& path) {
  const Response response = exchange({.path = path});
  if (response.status / 100 != 2) return tl::unexpected(failure_of(response, endpoint_));
  return parsed(response.body, endpoint_);
}

Answer<std::string> Client::get_text(const std::string& path) {
  Response response = exchange({.path = path});
  if (response.status / 100 != 2) return tl::unexpected(failure_of(response, endpoint_));
  return std::move(response.body);
}

Answer<json> Client::post(const std::string& path, const json& body, Duration timeout) {
  auto response = write({.method = "POST",
                         .path = path,
                         .body = body.dump(-1, ' ', false, json::error_handler_t::replace),
                         .timeout = timeout});
  if (!response) return tl::unexpected(response.error());
  if (response->body.empty()) return json::object();
  return parsed(response->body, endpoint_);
}

Answer<void> Client::put_blob(const std::string& sha256, const std::string& bytes) {
  const std::string path = "/v1/blobs/" + sha256;
  if (exchange({.method = "HEAD", .path = path}).status == 200) return {};
  auto response = write({.method = "PUT",
                         .path = path,
                         .body = bytes,
                         .content_type = "application/octet-stream",
                         .timeout = Duration{300'000}});
  if (!response) return tl::unexpected(response.error());
  return {};
}

Answer<void> Client::stream(const std::string& path, const std::function<bool(const json&)>& line) {
  std::string pending;
  bool bad = false;
  const auto take = [&](std::string_view text) {
    const json document = json::parse(text, nullptr, false);
    bad = document.is_discarded();
    return !bad && line(document);
  };
  const auto sink = [&](std::string_view bytes) {
    pending += bytes;
    std::size_t begin = 0;
    for (std::size_t end; (end = pending.find('\n', begin)) != std::string::npos; begin = end + 1)
      if (end > begin && !take(std::string_view(pending).substr(begin, end - begin))) return false;
    pending.erase(0, begin);
    bad = pending.size() > kMaxStreamLine;
    return !bad;
  };
  const Response response = exchange({.path = path, .timeout = Duration{0}}, sink);
  if (bad)
    return tl::unexpected(Failure{Errc::corrupt, "musterd sent a line that is not JSON", ""});
  if (response.status / 100 != 2) return tl::unexpected(failure_of(response, endpoint_));
  return {};
}

Answer<void> Client::events(const std::string& path, std::string& id,
                            const std::function<bool(const std::string&, const json&)>& event) {
  std::string pending;
  std::string name;
  std::string data;
  bool bad = false;
  // Fields and blank lines as in the WHATWG's text; musterd sends no carriage returns.
  const auto take = [&](std::string_view line) {
    if (line.starts_with("id: ")) id = line.substr(4);
    if (line.starts_with("event: ")) name = line.substr(7);
    if (line.starts_with("data: ")) data += line.substr(6);
    if (!line.empty() || data.empty()) return true;
    const json document = json::parse(std::exchange(data, ""), nullptr, false);
    bad = document.is_discarded();
    return !bad && event(std::exchange(name, ""), document);
  };
  const auto sink = [&](std::string_view bytes) {
    pending += bytes;
    std::size_t begin = 0;
    for (std::size_t end; (end = pending.find('\n', begin)) != std::string::npos; begin = end + 1)
      if (!take(std::string_view(pending).substr(begin, end - begin))) return false;
    pending.erase(0, begin);
    bad = bad || pending.size() + data.size() > kMaxStreamLine;
    return !bad;
  };
  Request request{.path = path, .headers = {"Accept: text/event-stream"}, .timeout = Duration{0}};
  if (!id.empty()) request.headers.push_back("Last-Event-ID: " + id);
  const Response response = exchange(request, sink);
  if (bad)
    return tl::unexpected(Failure{Errc::corrupt, "musterd sent an event that is not JSON", ""});
  if (response.status / 100 != 2) return tl::unexpected(failure_of(response, endpoint_));
  return {};
}

Answer<void> Client::download(const std::string& path,
                              const std::function<bool(std::string_view)>& bytes) {
  const Response response = exchange({.path = path, .timeout = Duration{0}}, bytes);
  if (response.status / 100 != 2) return tl::unexpected(failure_of(response, endpoint_));
  return {};
}

Answer<std::vector<json>> Client::all(const std::string& path, const std::string& list,
                                      std::size_t limit) {
  std::vector<json> out;
  std::string cursor;
  for (;;) {
    const std::size_t page = limit == 0 ? kPage : std::min(kPage, limit - out.size());
    std::string paged =
        path + (path.find('?') == std::string::npos ? "?" : "&") + "limit=" + std::to_string(page);
    if (!cursor.empty()) paged += "&cursor=" + encoded(cursor);
    auto document = get(paged);
    if (!document) return tl::unexpected(document.error());
    const auto elements = document->find(list);
    if (elements == document->end() || !elements->is_array())
      return tl::unexpected(Failure{Errc::corrupt, "musterd's answer holds no " + list, ""});
    for (json& element : *elements) {
      out.push_back(std::move(element));
      if (out.size() == limit) return out;
    }
    const std::string next = text_at(*document, "next");
    if (next.empty() || next == cursor) return out;
    cursor = next;
  }
}

std::string encoded(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

std::string with_query(const std::string& path,
                       const std::vector<std::pair<std::string, std::string>>& query) {
  std::string out = path;
  for (const auto& [key, value] : query)
    if (!value.empty())
      out += (out.find('?') == std::string::npos ? "?" : "&") + key + "=" + encoded(value);
  return out;
}

}  // namespace muster::cli
