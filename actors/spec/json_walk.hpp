// Reads one JSON object key by key and collects what is wrong with it; private to actors/spec and
// actors/swarm.
//
// Every key asked for is a known key; finish() reports the others, with the nearest known one. A
// wrong value is reported once and the default stands in for it, so that one pass finds all
// problems.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "actors/spec/fleet_spec.hpp"

namespace muster::actors::detail {

class Walk {
 public:
  /// `value` may be null: then every key is absent.
  Walk(const nlohmann::json* value, std::string pointer, std::vector<Problem>& problems);

  /// The value under `key`, nullptr when absent; one written as null is a problem.
  const nlohmann::json* find(const std::string& key);
  [[nodiscard]] std::string pointer(const std::string& key) const { return pointer_ + "/" + key; }
  void problem(const std::string& key, std::string message);
  void required(const std::string& key);
  Walk child(const std::string& key) { return {find(key), pointer(key), problems_}; }
  [[nodiscard]] bool present() const { return value_ != nullptr; }
  [[nodiscard]] std::vector<Problem>& problems() { return problems_; }

  void text(const std::string& key, std::string& to, std::size_t limit = 4096);
  void flag(const std::string& key, bool& to);
  template <class Int>
  void number(const std::string& key, Int& to, std::int64_t low, std::int64_t high);
  void duration(const std::string& key, Duration& to, Duration low = Duration{1});
  void size(const std::string& key, std::uint64_t& to, std::uint64_t low);
  void texts(const std::string& key, std::vector<std::string>& to);
  void text_map(const std::string& key, std::map<std::string, std::string>& to);
  void choice(const std::string& key, const std::vector<std::string>& names,
              const std::function<void(std::size_t)>& set);
  void command(const std::string& key, Command& to);
  /// Calls `item(value, pointer)` for each element of the list under `key`.
  void each(const std::string& key, std::size_t limit,
            const std::function<void(const nlohmann::json&, const std::string&)>& item);
  /// Reports the keys that nobody asked for.
  void finish();

 private:
  const nlohmann::json* value_;
  std::string pointer_;
  std::vector<Problem>& problems_;
  std::vector<std::string> known_;
};

/// "a list", "text", …: what a person calls this value.
std::string described(const nlohmann::json& value);
/// False (with a problem) unless it is a string, has no NUL and is at most `limit` bytes.
bool read_text(const nlohmann::json& value, const std::string& pointer,
               std::vector<Problem>& problems, std::string& to, std::size_t limit);
void read_command(const nlohmann::json& value, const std::string& pointer,
                  std::vector<Problem>& problems, Command& to);
/// Where agents work, of a fleet file and of a swarm file.
void read_environment(Walk walk, Environment& to);
/// RFC 6901: a key inside a pointer.
std::string escape_key(const std::string& key);

}  // namespace muster::actors::detail
