// What storage_writer writes and storage_crash_test expects: a function of the number or the offset alone.
#pragma once

#include <cstdint>
#include <string>

#include "storage/journal/journal.hpp"
#include "storage/runlog/runlog.hpp"

namespace muster::testing {

/// After each so many batches the inbox is trimmed below trimmed_below(number).
constexpr std::uint64_t kTrimEvery = 64;
constexpr std::uint64_t kKeptInbox = 100;

inline std::uint64_t trimmed_below(std::uint64_t number) {
  return number > kKeptInbox ? number - kKeptInbox : 0;
}

inline std::string number_key(std::uint64_t number) {
  std::string key;
  storage::put_be64(key, number);
  return key;
}

inline std::string number_value(std::uint64_t number) {
  return std::string(200 + number % 3000, static_cast<char>('a' + number % 26));
}

/// Batch `number`: one row that stays, one that the next batch overwrites, one that moves on.
inline storage::Batch crash_batch(std::uint64_t number) {
  using storage::Family;
  storage::Batch batch;
  batch.put(Family::inbox, number_key(number), number_value(number));
  batch.put(Family::meta, "last", number_key(number));
  if (number > 1) batch.erase(Family::timers, number_key(number - 1));
  batch.put(Family::timers, number_key(number), "due");
  batch.put(Family::state, number_key(number), number_value(number));
  return batch;
}

inline const storage::RunLogKey kCrashKey{"7K2MCRASH", 1};

inline storage::RunLogLimits crash_limits() {
  storage::RunLogLimits limits;
  limits.segment_bytes = 100'000;
  limits.max_bytes_per_attempt = 1u << 30;
  return limits;
}

inline std::string crash_bytes(std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint64_t at = offset + i;
    bytes[i] = static_cast<char>('a' + (at ^ (at >> 7) ^ (at >> 15)) % 26);
  }
  return bytes;
}

}  // namespace muster::testing
