#include "bench/load/pressure.hpp"

#include <curl/curl.h>

#include <memory>
#include <nlohmann/json.hpp>

namespace muster::load {

namespace {

constexpr long kRequestLimitMs = 60'000;
constexpr std::chrono::milliseconds kRefusedPause{20}, kPressureLook{50};
/// An operator's client repeats what was refused as overloaded; so often at most.
constexpr int kOperatorTries = 10;

std::size_t drop(char*, std::size_t size, std::size_t count, void*) {
  return size * count;
}

struct CurlEnd {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};

struct Answered {
  CURLcode result = CURLE_OK;
  long status = 0;
  curl_off_t retry_after = 0;
};

Answered ask(CURL* curl, const cli::Endpoint& endpoint, const std::string& path) {
  curl_easy_reset(curl);
  const std::string url = (endpoint.socket.empty() ? endpoint.url : "http://localhost") + path;
  curl_slist* headers = nullptr;
  if (!endpoint.token.empty())
    headers = curl_slist_append(headers, ("Authorization: Bearer " + endpoint.token).c_str());
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  if (!endpoint.socket.empty())
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, endpoint.socket.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, kRequestLimitMs);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
  Answered answered;
  answered.result = curl_easy_perform(curl);
  curl_slist_free_all(headers);
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answered.status);
  curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &answered.retry_after);
  return answered;
}

}  // namespace

ApiPressure::ApiPressure(cli::Endpoint endpoint, const Options& options, Meters& meters)
    : endpoint_(std::move(endpoint)), options_(options), meters_(meters) {}

void ApiPressure::start() {
  for (std::uint32_t i = 0; i < options_.flood; ++i) threads_.emplace_back([this] { flood(); });
  if (options_.operate_every.count() > 0) threads_.emplace_back([this] { operate(); });
}

void ApiPressure::stop() {
  stopping_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void ApiPressure::running(std::vector<std::string> fleets) {
  const std::lock_guard lock(mutex_);
  fleets_ = std::move(fleets);
}

std::string ApiPressure::some_fleet(Random& random) {
  const std::lock_guard lock(mutex_);
  return fleets_.empty() ? "" : fleets_[random.below(fleets_.size())];
}

void ApiPressure::flood() {
  const std::unique_ptr<CURL, CurlEnd> curl(curl_easy_init());
  while (!stopping_) {
    const Answered answered = ask(curl.get(), endpoint_, "/v1/runs?limit=200");
    if (answered.status == 200) {
      ++meters_.flood_answered;
      continue;
    }
    if (answered.status == 429 && answered.retry_after > 0) {
      ++meters_.flood_refused;
    } else if (answered.status == 429) {
      meters_.error("an overload was answered without a Retry-After");
    } else if (answered.status == 0) {
      meters_.error(std::string("a client got no answer: ") + curl_easy_strerror(answered.result));
    } else {
      meters_.error("a client got status " + std::to_string(answered.status));
    }
    std::this_thread::sleep_for(kRefusedPause);  // ruder than Retry-After asks for
  }
}

/// Until it is done: an operator does not give up because musterd is busy.
void ApiPressure::order(cli::Client& client, const std::string& path) {
  const nlohmann::json body = {{"by", "muster-load"}, {"reason", "a load test"}};
  const auto begun = Clock::now();
  for (int i = 1;; ++i) {
    const auto done = client.post(path, body);
    if (done) break;
    if (done.error().code == Errc::refused) return;  // the fleet ended meanwhile
    if (done.error().code == Errc::overloaded && i < kOperatorTries) continue;
    meters_.error("an operator's " + path + ": " + done.error().message);
    return;
  }
  ++meters_.operations;
  meters_.took("operate", Clock::now() - begun);
}

void ApiPressure::operate() {
  cli::Client client(endpoint_);
  Random random(seed_of(options_.workload.seed, "operator"));
  auto next = Clock::now() + options_.operate_every;
  while (!stopping_) {
    std::this_thread::sleep_for(kPressureLook);
    if (Clock::now() < next) continue;
    next += options_.operate_every;
    if (const std::string fleet = some_fleet(random); !fleet.empty()) {
      order(client, "/v1/fleets/" + fleet + "/pause");
      order(client, "/v1/fleets/" + fleet + "/resume");
    }
    const std::string host = "/v1/hosts/load-" + std::to_string(1 + random.below(options_.hosts));
    order(client, host + "/drain");
    order(client, host + "/uncordon");
  }
}

}  // namespace muster::load
