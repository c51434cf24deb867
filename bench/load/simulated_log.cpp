#include "bench/load/simulated_log.hpp"

#include <algorithm>

#include "bench/load/distribution.hpp"
#include "storage/base/log_frame.hpp"

namespace muster::load {

namespace {

constexpr std::uint64_t kFrames = 1'024;
constexpr std::string_view kLetters = "etaoinshrdlucmfw yp vbgk,.-/0123456789";

/// A quarter of a megabyte of lines that compress about as well as a build's output.
std::string make_pool() {
  Random random(42);
  std::string pool;
  for (std::uint64_t i = 0; i < kFrames; ++i) {
    std::string line;
    while (line.size() + 1 < kLogFrameBytes - kLogHeaderBytes)
      line += kLetters[random.below(kLetters.size())];
    line += '\n';
    append_log_frame(pool, {LogType::out, 0, Instant{1'700'000'000'000}, line});
  }
  return pool;
}

}  // namespace

std::string log_bytes(std::uint64_t offset, std::uint64_t size) {
  static const std::string pool = make_pool();
  std::string bytes;
  bytes.reserve(size);
  while (bytes.size() < size) {
    const std::uint64_t at = (offset + bytes.size()) % pool.size();
    bytes.append(pool, at, std::min<std::uint64_t>(size - bytes.size(), pool.size() - at));
  }
  return bytes;
}

}  // namespace muster::load
