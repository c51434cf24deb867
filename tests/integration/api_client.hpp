// A small client of musterd's API over its unix socket, for tests.
#pragma once

#include <curl/curl.h>

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "storage/base/ids.hpp"
#include "storage/base/time.hpp"

namespace muster::tests {

struct ApiReply {
  long status = 0;
  std::string body;
  [[nodiscard]] nlohmann::json json() const { return nlohmann::json::parse(body); }
};

class ApiClient {
 public:
  explicit ApiClient(std::string socket) : socket_(std::move(socket)) {}

  [[nodiscard]] ApiReply get(const std::string& path) const { return send("GET", path, "", ""); }
  [[nodiscard]] ApiReply put(const std::string& path, const std::string& body) const {
    return send("PUT", path, body, "");
  }
  /// Under `key`, or a new one.
  [[nodiscard]] ApiReply post(const std::string& path, const nlohmann::json& body,
                              const std::string& key = new_key()) const {
    return send("POST", path, body.dump(), key);
  }
  static std::string new_key() { return new_uuid_v7(wall_clock_now()); }

 private:
  static std::size_t append(char* bytes, std::size_t size, std::size_t count, void* to) {
    static_cast<std::string*>(to)->append(bytes, size * count);
    return size * count;
  }
  [[nodiscard]] ApiReply send(const char* method, const std::string& path, const std::string& body,
                              const std::string& key) const {
    ApiReply reply;
    CURL* curl = curl_easy_init();
    curl_slist* headers = curl_slist_append(nullptr, ("Idempotency-Key: " + key).c_str());
    headers = curl_slist_append(headers, "Expect:");
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_.c_str());
    curl_easy_setopt(curl, CURLOPT_URL, ("http://localhost" + path).c_str());
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply.body);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 120L);
    if (std::string(method) != "GET") {
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
    }
    const CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK) throw std::runtime_error(curl_easy_strerror(code));
    return reply;
  }

  std::string socket_;
};

}  // namespace muster::tests
