// An HTTP server of a few lines on a unix socket, for tests only: answers each request by a
// function, one connection at a time, and remembers what was asked.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace muster::cli {

struct Asked {
  std::string method, path, body;
  std::map<std::string, std::string> headers;  ///< Names in lower case.
};

struct Reply {
  int status = 200;
  std::string body;
  std::string type = "application/json";
  bool drop = false;  ///< Closes the connection instead of answering.
};

class FakeServer {
 public:
  using Handler = std::function<Reply(const Asked&)>;

  FakeServer(std::string socket, Handler handler);
  ~FakeServer();
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  [[nodiscard]] std::vector<Asked> asked() const;

 private:
  void serve();
  void answer(int connection);

  std::string socket_;
  Handler handler_;
  int listener_ = -1;
  int stop_[2] = {-1, -1};
  mutable std::mutex mutex_;
  std::vector<Asked> asked_;
  std::thread thread_;
};

}  // namespace muster::cli
