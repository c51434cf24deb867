#include "storage/link/session.hpp"

#include <openssl/crypto.h>

namespace muster::storage::link {

// gRPC's threads outlive main(). OpenSSL's own clean-up at exit would take from under them what each of them keeps
// there, and one that ends after it would leak that.
[[maybe_unused]] static const int kOpenSslStays = OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);

Result<void> PairedSession::send(Stream stream, std::string frame) {
  if (frame.size() > kMaxFrame) return fail(Errc::invalid, "the frame is larger than 1 MiB");
  std::shared_ptr<Pipe> pipe;
  {
    const std::lock_guard lock(mutex_);
    if (!closing_) pipe = pipes_[static_cast<std::size_t>(stream)];
  }
  if (!pipe) return fail(Errc::unreachable, "the session with " + peer_ + " is over");
  Result<void> sent = pipe->send(std::move(frame));
  if (sent || sent.error().code != Errc::overloaded) return sent;
  ++shared_->counters.overflowed;
  if (stream == Stream::control) close("its control queue is full");
  return sent;
}

void PairedSession::close(std::string_view why) {
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return;
    closing_ = true;
    if (why_.empty()) why_ = why;
  }
  for (const auto& pipe : pipes())
    if (pipe) pipe->cancel();
}

std::size_t PairedSession::queued_bytes(Stream stream) const {
  const auto p = pipe(stream);
  return p ? p->queued_bytes() : 0;
}

void PairedSession::hold(Stream stream) {
  if (const auto p = pipe(stream)) p->hold();
}

void PairedSession::release(Stream stream) {
  if (const auto p = pipe(stream)) p->release();
}

void PairedSession::drained(Stream stream) {
  if (shared_->events.drained) shared_->events.drained(*this, stream);
}

void PairedSession::attach(Stream stream, std::shared_ptr<Pipe> pipe) {
  const std::lock_guard lock(mutex_);
  pipes_[static_cast<std::size_t>(stream)] = std::move(pipe);
}

void PairedSession::ready(Stream) {
  {
    const std::lock_guard lock(mutex_);
    if (++ready_ < 2 || phase_ != Phase::pairing || closing_) return;
    phase_ = Phase::connecting;
  }
  connect();
}

void PairedSession::connect() {
  ++shared_->counters.sessions;
  shared_->events.connected(shared_from_this());
  for (const auto& pipe : pipes())
    if (pipe) pipe->start_reading();
  {
    const std::lock_guard lock(mutex_);
    phase_ = Phase::up;
  }
  finish_if_over();
}

void PairedSession::received(Stream stream, std::string_view frame) {
  if (const auto opened = open_frame(frame); !opened) {
    ++shared_->counters.malformed;
    close("it sent a malformed frame: " + opened.error().message);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return;
  }
  shared_->events.frame(*this, stream, frame);
}

void PairedSession::ended(Stream, std::string_view why) {
  {
    const std::lock_guard lock(mutex_);
    ++ended_;
    if (why_.empty()) why_ = why;
  }
  close(why);
  finish_if_over();
}

void PairedSession::finish_if_over() {
  std::array<std::shared_ptr<Pipe>, 2> released;
  std::string why;
  {
    const std::lock_guard lock(mutex_);
    if (ended_ < 2) return;
    released.swap(pipes_);
    if (phase_ != Phase::up) return;
    phase_ = Phase::closed;
    why = why_;
  }
  shared_->events.closed(*this, std::move(why));
}

std::shared_ptr<Pipe> PairedSession::pipe(Stream stream) const {
  const std::lock_guard lock(mutex_);
  return pipes_[static_cast<std::size_t>(stream)];
}

std::array<std::shared_ptr<Pipe>, 2> PairedSession::pipes() const {
  const std::lock_guard lock(mutex_);
  return pipes_;
}

}  // namespace muster::storage::link
