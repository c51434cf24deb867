#include "actors/ports/log_sink.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "storage/base/packing.hpp"
#include "storage/schema/wire_generated.h"

namespace muster::actors {

using storage::RunLogKey;
using storage::Session;

void LogSink::open(std::shared_ptr<Session> session, RunLogKey key) {
  strand_.post([this, session = std::move(session), key = std::move(key)] {
    Open& open = open_[session.get()];
    open.session = session;
    if (const Log* log = find_or_open(open, key)) grant(open, key, *log);
  });
}

void LogSink::chunk(std::shared_ptr<Session> session, FramePtr frame) {
  strand_.post(
      [this, session = std::move(session), frame = std::move(frame)] { take(session, *frame); });
}

void LogSink::closed(const std::shared_ptr<Session>& session) {
  strand_.post([this, session] { open_.erase(session.get()); });
}

LogSink::Log* LogSink::find_or_open(Open& open, const RunLogKey& key) {
  if (const auto found = open.logs.find(key); found != open.logs.end()) return &found->second;
  if (open.logs.size() >= kMaxLogs || !storage::is_log_key(key)) return nullptr;
  if (!may_write_(open.session->peer(), key)) return nullptr;
  Log log;
  log.acknowledged = logs_.sync(key).value_or(0);
  log.end = log.acknowledged;
  log.up_to = log.end + kWindow;
  return &open.logs.emplace(key, log).first->second;
}

void LogSink::take(const std::shared_ptr<Session>& session, std::string_view frame) {
  const auto* opened = wire::GetFrame(frame.data());
  const auto* chunk = opened->body_as_LogChunk();
  Open& open = open_[session.get()];
  open.session = session;
  const RunLogKey key{opened->run() ? opened->run()->str() : "", opened->attempt()};
  const bool asks = !open.logs.contains(key);
  Log* log = find_or_open(open, key);
  if (!log) {
    spdlog::warn("host {}: a log that is not its own is refused", session->peer());
    return;
  }
  std::string_view bytes;
  if (chunk->bytes())
    bytes = {reinterpret_cast<const char*>(chunk->bytes()->data()), chunk->bytes()->size()};
  const bool packed = opened->sequence() > 0;
  const Piece piece{chunk->offset(), packed ? opened->sequence() : bytes.size(), bytes, packed};
  if (packed && packed_length(bytes) != piece.length) {
    session->close("a packed part of its log is not as long as it says");
    return;
  }
  if (asks || (bytes.empty() && !chunk->last())) grant(open, key, *log);
  if (piece.offset > log->up_to || piece.length > log->up_to - piece.offset) {
    session->close("it sent more of a log than it has credit for");
    return;
  }
  if (auto done = append(key, *log, piece); !done) {
    session->close("its log can't be stored: " + done.error().message);
    return;
  }
  log->last = log->last || (chunk->last() && piece.offset + piece.length == log->end);
  open.dirty.insert(key);
  if (log->last || log->end - log->acknowledged >= step(open)) {
    sync(open, key);
  } else {
    schedule();
  }
}

std::uint64_t LogSink::step(const Open& open) {
  return std::clamp<std::uint64_t>(kSteps / open.logs.size(), kMinStep, kWindow / 4);
}

Result<void> LogSink::append(const RunLogKey& key, Log& log, const Piece& piece) {
  if (piece.length == 0) return {};
  const std::uint64_t end = std::max(log.end, piece.offset + piece.length);
  if (!log.over_limit) {
    const auto done = piece.packed ? logs_.append_packed(key, piece.offset, piece.bytes)
                                   : logs_.append(key, piece.offset, piece.bytes);
    if (done) {
      log.end = end;
      return {};
    }
    // Above the end: the next grant says from where to repeat.
    if (done.error().code == Errc::conflict) return {};
    if (done.error().code != Errc::overloaded) return done;
    spdlog::warn("the log of {}-{} is full: the rest is dropped", key.run, key.attempt);
    log.over_limit = true;
  }
  log.end = end;
  return {};
}

void LogSink::schedule() {
  if (scheduled_) return;
  scheduled_ = true;
  strand_.after(kSyncPause, [this] {
    scheduled_ = false;
    sync_all();
  });
}

void LogSink::sync_all() {
  for (auto& [session, open] : open_) {
    const std::set<RunLogKey> dirty = std::exchange(open.dirty, {});
    for (const RunLogKey& key : dirty) sync(open, key);
  }
}

void LogSink::sync(Open& open, const RunLogKey& key) {
  open.dirty.erase(key);
  const auto found = open.logs.find(key);
  if (found == open.logs.end()) return;
  Log& log = found->second;
  // Closing a segment makes it durable by itself: a small log is synced once.
  if (log.last)
    if (const auto done = logs_.finish(key); !done && done.error().code != Errc::not_found)
      spdlog::warn("the log of {}-{}: {}", key.run, key.attempt, done.error().message);
  const auto durable = logs_.sync(key);
  if (!durable) {
    open.session->close("its log can't be stored: " + durable.error().message);
    return;
  }
  log.acknowledged = log.over_limit ? log.end : *durable;
  log.up_to = log.last ? log.acknowledged : log.acknowledged + kWindow;
  grant(open, key, log);
  if (log.last) open.logs.erase(found);
}

void LogSink::grant(Open& open, const RunLogKey& key, const Log& log) {
  wire::FrameT frame;
  frame.run = key.run;
  frame.attempt = key.attempt;
  wire::LogCreditT credit;
  credit.acknowledged = log.acknowledged;
  credit.up_to = log.up_to;
  frame.body.Set(std::move(credit));
  const auto sent = open.session->send(storage::Stream::logs, storage::encode_frame(frame));
  // A lost credit would silence that log for the rest of the session.
  if (!sent && sent.error().code == Errc::overloaded)
    open.session->close("it takes its log credit too slowly");
}

LogSinks::LogSinks(storage::RunLog& logs, const LogSink::MayWrite& may_write) {
  for (auto& sink : sinks_) sink = std::make_unique<LogSink>(logs, may_write);
}

LogSink& LogSinks::sink_of(std::string_view run) {
  return *sinks_[std::hash<std::string_view>()(run) % sinks_.size()];
}

void LogSinks::open(std::shared_ptr<Session> session, RunLogKey key) {
  LogSink& sink = sink_of(key.run);
  sink.open(std::move(session), std::move(key));
}

void LogSinks::chunk(std::shared_ptr<Session> session, FramePtr frame) {
  const auto* run = wire::GetFrame(frame->data())->run();
  LogSink& sink = sink_of(run ? run->string_view() : std::string_view());
  sink.chunk(std::move(session), std::move(frame));
}

void LogSinks::closed(const std::shared_ptr<Session>& session) {
  for (auto& sink : sinks_) sink->closed(session);
}

void LogSinks::stop() {
  for (auto& sink : sinks_) sink->stop();
}

}  // namespace muster::actors
