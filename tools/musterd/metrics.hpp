// What musterd counts about itself, as Prometheus text. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <string>

namespace muster::musterd {

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  /// `route` is the pattern, never the path: its values are few.
  void count_request(const std::string& method, const std::string& route, int status);

  struct Now {
    std::map<std::string, std::uint64_t> runs;  ///< By state, over all fleets.
    bool engine_in_trouble = false;
    std::size_t connections = 0;
    std::uint64_t messages = 0;  ///< That actors took, as the newest change's position says.
  };
  /// Text format 0.0.4.
  std::string scrape(const Now& now);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// This process's resident set in bytes; 0 when /proc does not say.
std::uint64_t resident_bytes();

}  // namespace muster::musterd
