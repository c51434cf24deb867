// The pair of streams that makes a Session, without gRPC: what a stream of either end tells it, and
// how it tells the owner of the link. Private to storage/link.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "storage/link/link.hpp"

namespace muster::storage::link {

struct Counters {
  std::atomic<std::uint64_t> sessions{0}, refused{0}, malformed{0}, overflowed{0};

  [[nodiscard]] LinkStats read() const { return {sessions, refused, malformed, overflowed}; }
};

/// What one end of a link shares with its sessions and streams; lives as long as the last of them.
struct Shared {
  SessionEvents events;
  Counters counters;

  void failed(std::string why) const {
    if (events.failed) events.failed(std::move(why));
  }
};

/// One bidirectional stream as its session uses it. Thread-safe.
class Pipe {
 public:
  virtual ~Pipe() = default;
  virtual Result<void> send(std::string frame) = 0;
  virtual void start_reading() = 0;
  [[nodiscard]] virtual std::size_t queued_bytes() const = 0;
  virtual void hold() = 0;
  virtual void release() = 0;
  /// Ends the stream; its session hears ended() later.
  virtual void cancel() = 0;
};

class PairedSession final : public Session, public std::enable_shared_from_this<PairedSession> {
 public:
  PairedSession(std::string peer, std::shared_ptr<Shared> shared)
      : peer_(std::move(peer)), shared_(std::move(shared)) {}

  [[nodiscard]] const std::string& peer() const override { return peer_; }
  Result<void> send(Stream stream, std::string frame) override;
  void close(std::string_view why) override;
  [[nodiscard]] std::size_t queued_bytes(Stream stream) const override;
  void hold(Stream stream) override;
  void release(Stream stream) override;

  // From the end that makes it.
  void attach(Stream stream, std::shared_ptr<Pipe> pipe);

  // From the streams.
  /// The peer took this stream. With both, the owner hears connected() and reading starts.
  void ready(Stream stream);
  void received(Stream stream, std::string_view frame);
  void drained(Stream stream);
  /// The last word of a stream, once.
  void ended(Stream stream, std::string_view why);

 private:
  enum class Phase : std::uint8_t { pairing, connecting, up, closed };

  void connect();
  void finish_if_over();
  std::array<std::shared_ptr<Pipe>, 2> pipes() const;
  std::shared_ptr<Pipe> pipe(Stream stream) const;

  std::string peer_;
  const std::shared_ptr<Shared> shared_;
  mutable std::mutex mutex_;
  std::array<std::shared_ptr<Pipe>, 2> pipes_;
  Phase phase_ = Phase::pairing;
  int ready_ = 0;
  int ended_ = 0;
  bool closing_ = false;
  std::string why_;
};

}  // namespace muster::storage::link
