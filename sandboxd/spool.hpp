// RunEvents that the engine has not acknowledged, on disk, numbered without gaps for ever. One file, appended and
// synced, rewritten when it is mostly acknowledged. Grammar (little-endian):
//
//   file   := record*
//   record := length:u32 number:u64 crc:u32 bytes[length]
//
// A record without bytes is a mark: everything up to `number` is acknowledged. crc is CRC-32 of number and bytes. A
// torn record at the end is cut off. Loop thread only.
#pragma once

#include <deque>
#include <filesystem>
#include <string>

#include "storage/base/files.hpp"

namespace muster::sandbox {

class EventSpool {
 public:
  struct Event {
    std::uint64_t number = 0;
    std::string frame;  ///< A wire Frame; its sequence is set when it is sent.
  };

  static Result<EventSpool> open(const std::filesystem::path& file);

  /// Durable when it returns; the number it got.
  Result<std::uint64_t> append(std::string frame);
  /// The engine has everything up to `mark`.
  Result<void> acknowledge(std::uint64_t mark);
  /// The engine's mark is elsewhere (its data was restored, or ours was lost): what waits is numbered from there.
  Result<void> renumber(std::uint64_t mark);

  /// So much waits that no new work should be taken. What lives may still say its few words: they are bounded by slots.
  [[nodiscard]] bool full() const { return waiting_bytes_ > kFullBytes; }

  [[nodiscard]] std::uint64_t mark() const { return mark_; }
  [[nodiscard]] const std::deque<Event>& waiting() const { return waiting_; }

 private:
  Result<void> write(std::uint64_t number, std::string_view bytes);
  Result<void> rewrite();
  void push(std::uint64_t number, std::string frame);
  void pop();

  std::filesystem::path path_;
  Fd fd_;
  std::uint64_t size_ = 0;
  std::uint64_t mark_ = 0;
  std::uint64_t next_ = 1;
  static constexpr std::uint64_t kFullBytes = 64ull << 20;

  std::deque<Event> waiting_;
  std::uint64_t waiting_bytes_ = 0;
};

}  // namespace muster::sandbox
