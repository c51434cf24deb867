// Bounds what one host has sent and the engine has not taken yet: every frame is charged to its
// session until the last part of the engine is done with it; above the limit the stream is held,
// below half it goes on.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "storage/link/link.hpp"

namespace muster::actors {

constexpr std::size_t kMaxInflowBytes = 4u << 20;  ///< Per session and stream.
/// What a frame costs beside its bytes, so that many tiny ones are bounded too.
constexpr std::size_t kFrameCost = 256;

/// A verified frame that outlives its callback.
using FramePtr = std::shared_ptr<const std::string>;

class Inflow : public std::enable_shared_from_this<Inflow> {
 public:
  explicit Inflow(std::shared_ptr<storage::Session> session) : session_(std::move(session)) {}

  [[nodiscard]] const std::shared_ptr<storage::Session>& session() const { return session_; }

  /// Copies the frame; its destruction gives the bytes back.
  FramePtr take(storage::Stream stream, std::string_view frame) {
    const std::size_t size = frame.size() + kFrameCost;
    charge(stream, size);
    const auto give_back = [self = shared_from_this(), stream, size](const std::string* text) {
      std::default_delete<const std::string>()(text);
      self->release(stream, size);
    };
    return FramePtr(std::make_unique<std::string>(frame).release(), give_back);
  }

  /// Held: what the host says now, for example that it lives, waits on our side.
  [[nodiscard]] bool held(storage::Stream stream) const {
    const std::lock_guard lock(mutex_);
    return of(stream).held;
  }

 private:
  struct Count {
    std::size_t bytes = 0;
    bool held = false;
  };

  void charge(storage::Stream stream, std::size_t size) {
    const std::lock_guard lock(mutex_);
    Count& count = of(stream);
    count.bytes += size;
    if (count.held || count.bytes <= kMaxInflowBytes) return;
    count.held = true;
    session_->hold(stream);
  }

  void release(storage::Stream stream, std::size_t size) {
    const std::lock_guard lock(mutex_);
    Count& count = of(stream);
    count.bytes -= size;
    if (!count.held || count.bytes > kMaxInflowBytes / 2) return;
    count.held = false;
    session_->release(stream);
  }

  Count& of(storage::Stream stream) { return counts_[static_cast<std::size_t>(stream)]; }
  const Count& of(storage::Stream stream) const {
    return counts_[static_cast<std::size_t>(stream)];
  }

  const std::shared_ptr<storage::Session> session_;
  mutable std::mutex mutex_;
  std::array<Count, 2> counts_;
};

}  // namespace muster::actors
