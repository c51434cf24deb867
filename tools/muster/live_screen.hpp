// A frame of changing height that is redrawn in place, in one write, so that nothing flickers.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "tools/muster/context.hpp"

namespace muster::cli {

class LiveScreen {
 public:
  explicit LiveScreen(Stream& stream) : stream_(stream) {}
  /// Something else was printed below: the next frame begins there.
  void forget() {
    height_ = 0;
    shown_.clear();
  }

  void draw(const std::string& frame) {
    if (frame == shown_) return;
    std::string out = height_ == 0 ? "" : "\x1b[" + std::to_string(height_) + "A\r";
    height_ = 0;
    std::string_view rest = frame;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      out += std::string(rest.substr(0, end)) + "\x1b[K\n";
      rest.remove_prefix(std::min(end + 1, rest.size()));
      ++height_;
    }
    stream_.to << out << "\x1b[J" << std::flush;
    shown_ = frame;
  }

 private:
  Stream& stream_;
  std::string shown_;
  std::size_t height_ = 0;
};

}  // namespace muster::cli
