// A small client of musterd's API over its unix socket, for tests.
#pragma once

#include <curl/curl.h>

#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "storage/base/ids.hpp"
#include "storage/base/time.hpp"

namespace muster::tests {

struct ApiReply {
  long status = 0;
  std::string body;
  std::string head;  ///< As it came.
  /// The header's value; "" without one.
  [[nodiscard]] std::string header(const std::string& name) const {
    const std::size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    const std::size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
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
                              const std::string& key = new_key(),
                              const std::vector<std::string>& headers = {}) const {
    return send("POST", path, body.dump(), key, headers);
  }
  [[nodiscard]] const std::string& socket() const { return socket_; }
  static std::string new_key() { return new_uuid_v7(wall_clock_now()); }

 private:
  static std::size_t append(char* bytes, std::size_t size, std::size_t count, void* to) {
    static_cast<std::string*>(to)->append(bytes, size * count);
    return size * count;
  }
  [[nodiscard]] ApiReply send(const char* method, const std::string& path, const std::string& body,
                              const std::string& key,
                              const std::vector<std::string>& more = {}) const {
    ApiReply reply;
    CURL* curl = curl_easy_init();
    curl_slist* headers = curl_slist_append(nullptr, ("Idempotency-Key: " + key).c_str());
    headers = curl_slist_append(headers, "Expect:");
    for (const std::string& each : more) headers = curl_slist_append(headers, each.c_str());
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_.c_str());
    curl_easy_setopt(curl, CURLOPT_URL, ("http://localhost" + path).c_str());
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply.body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, append);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &reply.head);
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

/// A list that is followed from now on, in a thread of its own, until this goes away.
class Followed {
 public:
  Followed(const ApiClient& api, std::string path, std::string last = "")
      : socket_(api.socket()),
        path_(std::move(path)),
        last_(std::move(last)),
        thread_([this] { read(); }) {
    until(": muster\n");
  }
  ~Followed() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    thread_.join();
  }
  Followed(const Followed&) = delete;
  Followed& operator=(const Followed&) = delete;

  /// Everything that came, once it holds that text. The limit only ends a test that would hang.
  std::string until(const std::string& text) const {
    std::unique_lock lock(mutex_);
    constexpr std::chrono::seconds kLimit{60};
    if (!came_.wait_for(lock, kLimit, [&] { return told_.find(text) != std::string::npos; }))
      throw std::runtime_error(path_ + " never told " + text + ", but " + told_);
    return told_;
  }

 private:
  static std::size_t take(char* bytes, std::size_t size, std::size_t count, void* to) {
    auto* self = static_cast<Followed*>(to);
    const std::lock_guard lock(self->mutex_);
    self->told_.append(bytes, size * count);
    self->came_.notify_all();
    return size * count;
  }
  static int leave(void* of, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    auto* self = static_cast<Followed*>(of);
    const std::lock_guard lock(self->mutex_);
    return self->over_ ? 1 : 0;
  }
  void read() {
    CURL* curl = curl_easy_init();
    curl_slist* headers = curl_slist_append(nullptr, "Accept: text/event-stream");
    if (!last_.empty()) headers = curl_slist_append(headers, ("Last-Event-ID: " + last_).c_str());
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_.c_str());
    curl_easy_setopt(curl, CURLOPT_URL, ("http://localhost" + path_).c_str());
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, leave);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, this);
    curl_easy_perform(curl);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
  }

  const std::string socket_;
  const std::string path_;
  const std::string last_;
  mutable std::mutex mutex_;
  mutable std::condition_variable came_;
  std::string told_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace muster::tests
