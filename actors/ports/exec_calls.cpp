#include "actors/ports/exec_calls.hpp"

#include <signal.h>

namespace muster::actors {

using storage::Session;
using storage::Stream;

namespace {

/// A host reads a piece as long as it has any credit, and may hold back what could begin a secret.
constexpr std::uint64_t kSlack = 64u << 10;

}  // namespace

bool ExecCalls::takes(wire::Body body) {
  return body == wire::Body::ExecCredit || body == wire::Body::ExecOutput ||
         body == wire::Body::ExecEnd;
}

/// The link's own queue refuses when it is full: a command whose bytes were not taken is over.
template <class Body>
Result<void> ExecCalls::send(std::uint64_t exec, Body body) {
  Call call;
  {
    const std::lock_guard lock(mutex_);
    const auto found = calls_.find(exec);
    if (found == calls_.end()) return fail(Errc::not_found, "the command has ended");
    call = found->second;
  }
  body.exec = exec;
  wire::FrameT frame;
  frame.run = call.place.run;
  frame.attempt = call.place.attempt;
  frame.body.Set(std::move(body));
  return call.session->send(Stream::logs, storage::encode_frame(frame));
}

Result<std::uint64_t> ExecCalls::open(const ExecPlace& place, wire::ExecOpenT open,
                                      std::shared_ptr<ExecSink> sink) {
  std::uint64_t exec = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto line = lines_.find(place.host);
    if (line == lines_.end() || !line->second.welcomed)
      return fail(Errc::unreachable, "host " + place.host + " is not connected");
    if (line->second.max_execs == 0)
      return fail(Errc::refused, "the sandboxd of host " + place.host +
                                     " is older than this, and runs no commands");
    if (calls_.size() >= kMaxExecCalls) return fail(Errc::overloaded, "too many commands run");
    exec = ++last_;
    calls_[exec] = {line->second.session, place, std::move(sink), kExecWindow + kSlack};
  }
  auto sent = send(exec, std::move(open));
  if (sent) {
    wire::ExecCreditT credit;
    credit.bytes = kExecWindow;
    sent = send(exec, credit);
    if (!sent && sent.error().code == Errc::not_found) return exec;  // the host has answered already
  }
  if (sent) return exec;
  abandon(exec);
  return tl::unexpected<Error>(sent.error());
}

Result<void> ExecCalls::input(std::uint64_t exec, wire::ExecInputT input) {
  return send(exec, std::move(input));
}

void ExecCalls::credit(std::uint64_t exec, std::uint64_t more) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = calls_.find(exec); found != calls_.end()) found->second.granted += more;
  }
  wire::ExecCreditT credit;
  credit.bytes = more;
  (void)send(exec, credit);  // of one that has ended, or of a session that has
}

void ExecCalls::abandon(std::uint64_t exec) {
  wire::ExecInputT input;
  input.signal = SIGKILL;
  (void)send(exec, std::move(input));
  const std::lock_guard lock(mutex_);
  calls_.erase(exec);
}

void ExecCalls::said_hello(const std::shared_ptr<Session>& session, std::uint32_t max_execs) {
  const std::lock_guard lock(mutex_);
  lines_[session->peer()] = {session, max_execs, false};
}

void ExecCalls::welcomed(const std::shared_ptr<Session>& session) {
  const std::lock_guard lock(mutex_);
  const auto line = lines_.find(session->peer());
  if (line != lines_.end() && line->second.session == session) line->second.welcomed = true;
}

void ExecCalls::closed(const Session& session) {
  std::vector<std::shared_ptr<ExecSink>> lost;
  {
    const std::lock_guard lock(mutex_);
    const auto line = lines_.find(session.peer());
    if (line != lines_.end() && line->second.session.get() == &session) lines_.erase(line);
    for (auto call = calls_.begin(); call != calls_.end();) {
      if (call->second.session.get() != &session) {
        ++call;
        continue;
      }
      lost.push_back(std::move(call->second.sink));
      call = calls_.erase(call);
    }
  }
  for (const auto& sink : lost) {
    wire::ExecEndT end;
    end.reason = "host_lost";
    end.message = "the connection to the host ended, and the command with it";
    sink->ended(std::move(end));
  }
}

void ExecCalls::frame(const Session& session, const wire::Frame& frame) {
  const auto* output = frame.body_as_ExecOutput();
  const auto* credit = frame.body_as_ExecCredit();
  const auto* end = frame.body_as_ExecEnd();
  const std::uint64_t exec = output != nullptr   ? output->exec()
                             : credit != nullptr ? credit->exec()
                                                 : end->exec();
  std::shared_ptr<ExecSink> sink;
  bool overflows = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = calls_.find(exec);
    // Another host's command is none of this one's business.
    if (found == calls_.end() || found->second.session.get() != &session) return;
    sink = found->second.sink;
    std::uint64_t& granted = found->second.granted;
    const std::uint64_t size =
        output != nullptr && output->bytes() != nullptr ? output->bytes()->size() : 0;
    overflows = size > granted;
    granted -= overflows ? 0 : size;
    if (end != nullptr || overflows) calls_.erase(found);
  }
  if (overflows) {
    wire::ExecEndT said;
    said.reason = "host_overflow";
    said.message = "the host sent more than it was granted";
    return sink->ended(std::move(said));
  }
  if (credit != nullptr) return sink->credit(credit->bytes());
  if (end != nullptr) {
    wire::ExecEndT said;
    end->UnPackTo(&said);
    return sink->ended(std::move(said));
  }
  std::string bytes;
  if (output->bytes() != nullptr)
    bytes.assign(reinterpret_cast<const char*>(output->bytes()->data()), output->bytes()->size());
  sink->output(output->stream(), std::move(bytes));
}

}  // namespace muster::actors
