// Live progress on stderr: one line that is written over on a terminal, a line now and then in a
// pipe.
#pragma once

#include <chrono>
#include <string>

namespace muster::load {

class Progress {
 public:
  Progress();
  ~Progress() { close(); }
  /// Something that stays.
  void say(const std::string& line);
  /// How it stands; shown as often as it can be read.
  void show(const std::string& line);
  void close();

 private:
  const bool terminal_;
  bool open_ = false;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace muster::load
