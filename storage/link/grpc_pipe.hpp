// A Pipe over a reactor of gRPC's generic callback API, the same for both ends. Private to
// storage/link: the only header that includes gRPC.
//
// One mutex orders everything that is started on the reactor. gRPC 1.51 runs no reaction inside a
// Start* call or TryCancel (they are queued on its own threads), so holding it there is safe.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "storage/link/session.hpp"

namespace muster::storage::link {

inline constexpr char kControlMethod[] = "/muster.Link/Control";
inline constexpr char kLogsMethod[] = "/muster.Link/Logs";
/// Request metadata: the same random text on both streams of one pair.
inline constexpr char kPairKey[] = "muster-pair";
/// Response metadata: the engine has paired the streams. (A refused call too brings initial
/// metadata.)
inline constexpr char kReadyKey[] = "muster-ready";

/// A peer that does not answer a ping within the time-out is dead.
inline constexpr int kKeepaliveTimeMs = 10'000;
inline constexpr int kKeepaliveTimeoutMs = 5'000;

inline const char* method_of(Stream stream) {
  return stream == Stream::control ? kControlMethod : kLogsMethod;
}

/// The common name of the authenticated peer; empty when there is none, or not exactly one.
inline std::string common_name(const std::shared_ptr<const grpc::AuthContext>& auth) {
  if (!auth || !auth->IsPeerAuthenticated()) return {};
  const auto names = auth->FindPropertyValues("x509_common_name");
  if (names.size() != 1) return {};
  return {names[0].data(), names[0].size()};
}

/// Moves the text into a buffer that frees it.
inline grpc::ByteBuffer to_buffer(std::string bytes) {
  auto* owned = std::make_unique<std::string>(std::move(bytes)).release();
  const grpc::Slice slice(
      owned->data(), owned->size(),
      [](void* text) { const std::unique_ptr<std::string> freed(static_cast<std::string*>(text)); },
      owned);
  return {&slice, 1};
}

/// `Reactor`: grpc::ServerGenericBidiReactor or grpc::ClientBidiReactor<ByteBuffer, ByteBuffer>.
template <class Reactor>
class GrpcPipe : public Reactor, public Pipe {
 public:
  GrpcPipe(Stream stream, std::shared_ptr<PairedSession> session)
      : session_(std::move(session)), stream_(stream) {}

  Result<void> send(std::string frame) override {
    const std::lock_guard lock(mutex_);
    if (closed_) return fail(Errc::unreachable, "the stream is over");
    if (queued_bytes_ + frame.size() > kMaxQueuedBytes)
      return fail(Errc::overloaded, "the peer takes its frames too slowly");
    queued_bytes_ += frame.size();
    queue_.push_back(std::move(frame));
    if (!writing_) write_next();
    return {};
  }

  void start_reading() override {
    const std::lock_guard lock(mutex_);
    if (!closed_) read_next();
  }

  [[nodiscard]] std::size_t queued_bytes() const override {
    const std::lock_guard lock(mutex_);
    return queued_bytes_;
  }

  void hold() override {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }

  void release() override {
    const std::lock_guard lock(mutex_);
    held_ = false;
    if (parked_ && !closed_) read_next();
  }

  void cancel() override {
    const std::lock_guard lock(mutex_);
    close();
  }

  void OnReadDone(bool ok) override {
    if (ok) deliver();
    const std::lock_guard lock(mutex_);
    reading_ = false;
    if (ok && !closed_) {
      read_next();
    } else {
      close();
    }
  }

  void OnWriteDone(bool ok) override {
    if (finish_write(ok)) session_->drained(stream_);
  }

 protected:
  /// Aborts the call: every operation under way completes as failed.
  virtual void abort_call() = 0;
  /// Nothing is under way and nothing will be: lets gRPC finish the call and say OnDone.
  virtual void end_call() = 0;

  /// Under the mutex. Idempotent.
  void close() {
    if (!closed_) {
      closed_ = true;
      queue_.clear();
      abort_call();
    }
    end_if_idle();
  }

  [[nodiscard]] Stream stream() const { return stream_; }
  [[nodiscard]] bool closed() const { return closed_; }

  mutable std::mutex mutex_;
  std::shared_ptr<PairedSession> session_;

 private:
  void read_next() {
    parked_ = held_;
    if (held_) return;
    reading_ = true;
    this->StartRead(&incoming_);
  }

  /// True when the queue ran empty.
  bool finish_write(bool ok) {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok || closed_) {
      close();
      return false;
    }
    queued_bytes_ -= writing_bytes_;
    if (!queue_.empty()) write_next();
    return !writing_;
  }

  void end_if_idle() {
    if (reading_ || writing_ || ended_) return;
    ended_ = true;
    end_call();
  }

  void write_next() {
    writing_ = true;
    writing_bytes_ = queue_.front().size();
    outgoing_ = to_buffer(std::move(queue_.front()));
    queue_.pop_front();
    this->StartWrite(&outgoing_);
  }

  void deliver() {
    grpc::Slice slice;
    if (!incoming_.TrySingleSlice(&slice).ok() && !incoming_.DumpToSingleSlice(&slice).ok()) {
      cancel();
      return;
    }
    const auto address = reinterpret_cast<std::uintptr_t>(slice.begin());
    std::string_view bytes(reinterpret_cast<const char*>(slice.begin()), slice.size());
    std::string aligned;
    if (address % 8 != 0) {  // FlatBuffers reads 8-byte fields in place
      aligned = bytes;
      bytes = aligned;
    }
    session_->received(stream_, bytes);
    incoming_.Clear();
  }

  const Stream stream_;
  std::deque<std::string> queue_;
  std::size_t queued_bytes_ = 0;  // with the one being written
  std::size_t writing_bytes_ = 0;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
  bool reading_ = false;
  bool held_ = false;
  bool parked_ = false;  // would read, but is held
  bool writing_ = false;
  bool closed_ = false;
  bool ended_ = false;
};

}  // namespace muster::storage::link
