// What the tests of the link share: an end that remembers what it saw.
#pragma once

#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "storage/link/link.hpp"
#include "storage/schema/wire_generated.h"
#include "tests/unit/storage/temp_directory.hpp"

namespace muster::testing {

/// A numbered frame with `padding` bytes of log.
inline std::string numbered_frame(std::uint64_t number, std::size_t padding = 0) {
  wire::FrameT frame;
  frame.sequence = number;
  wire::LogChunkT chunk;
  chunk.bytes.assign(padding, 'x');
  frame.body.Set(std::move(chunk));
  return storage::encode_frame(frame);
}

/// One end's view: who connected, what came on each stream, what closed.
class Recorder {
 public:
  storage::SessionEvents events() {
    storage::SessionEvents made;
    made.connected = [this](std::shared_ptr<storage::Session> session) {
      change([&] {
        peers.push_back(session->peer());
        sessions.push_back(std::move(session));
      });
    };
    made.frame = [this](storage::Session& session, storage::Stream stream, std::string_view frame) {
      if (on_frame) on_frame(session, stream);
      const auto* opened = wire::GetFrame(frame.data());
      change([&] { numbers[static_cast<std::size_t>(stream)].push_back(opened->sequence()); });
    };
    made.closed = [this](storage::Session&, std::string why) {
      change([&] { closed.push_back(std::move(why)); });
    };
    made.drained = [this](storage::Session&, storage::Stream) { change([&] { ++drained; }); };
    made.failed = [this](std::string why) { change([&] { failed.push_back(std::move(why)); }); };
    return made;
  }

  /// Waits for a condition; the limit only ends a test that would hang.
  template <class Predicate>
  bool wait(Predicate predicate) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), predicate);
  }

  std::shared_ptr<storage::Session> session(std::size_t n = 0) {
    REQUIRE(wait([&] { return sessions.size() > n; }));
    const std::lock_guard lock(mutex_);
    return sessions[n];
  }

  std::function<void(storage::Session&, storage::Stream)> on_frame;
  std::vector<std::shared_ptr<storage::Session>> sessions;
  std::vector<std::string> peers;
  std::vector<std::uint64_t> numbers[2];
  std::vector<std::string> closed;
  std::vector<std::string> failed;
  int drained = 0;

 private:
  template <class F>
  void change(F f) {
    const std::lock_guard lock(mutex_);
    f();
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace muster::testing
