#include "actors/ports/testing/sim_host.hpp"

#include <algorithm>

#include "storage/base/ids.hpp"
#include "storage/base/packing.hpp"

namespace muster::actors::testing {

using storage::Stream;

namespace {

wire::FrameT frame_of(const wire::StartT& start) {
  wire::FrameT frame;
  frame.run = start.spec->run;
  frame.attempt = start.spec->attempt;
  if (start.epoch) frame.epoch = std::make_unique<wire::Epoch>(*start.epoch);
  return frame;
}

}  // namespace

std::string sandbox_of(const wire::StartT& start) {
  return start.spec->run + "-" + std::to_string(start.spec->attempt);
}

SimHost::SimHost(const std::string& address, const storage::TlsFiles& tls, SimHostOptions options,
                 OnStart on_start)
    : options_(std::move(options)), on_start_(std::move(on_start)) {
  storage::SessionEvents events;
  events.connected = [this](std::shared_ptr<storage::Session> session) {
    connected(std::move(session));
  };
  events.frame = [this](storage::Session&, Stream, std::string_view bytes) { received(bytes); };
  events.closed = [this](storage::Session&, std::string why) {
    const std::lock_guard lock(mutex_);
    session_.reset();
    welcomed_ = false;
    ends.push_back(std::move(why));
    changed_.notify_all();
  };
  client_ = storage::LinkClient::start(address, tls, std::move(events));
}

SimHost::~SimHost() {
  stop();
}

void SimHost::disconnect() {
  std::shared_ptr<storage::Session> session;
  {
    const std::lock_guard lock(mutex_);
    session = session_;
  }
  if (session) session->close("the test asked for it");
}

void SimHost::stop() {
  client_->stop();
  strand_.stop();
}

// ---- what it says ----

void SimHost::connected(std::shared_ptr<storage::Session> session) {
  const std::lock_guard lock(mutex_);
  session_ = std::move(session);
  ++connections;
  wire::HelloT hello;
  hello.host = options_.hello_name.empty() ? options_.name : options_.hello_name;
  hello.version = "simulated";
  hello.slots = options_.slots;
  hello.warm = options_.warm;
  hello.steers = options_.steers;
  wire::FrameT frame;
  frame.version = options_.protocol;
  frame.body.Set(std::move(hello));
  (void)send_locked(Stream::control, frame);
  changed_.notify_all();
}

Result<void> SimHost::send(Stream stream, const wire::FrameT& frame) {
  const std::lock_guard lock(mutex_);
  return send_locked(stream, frame);
}

Result<void> SimHost::send_locked(Stream stream, const wire::FrameT& frame) {
  if (!session_) return fail(Errc::unreachable, "not connected");
  return session_->send(stream, storage::encode_frame(frame));
}

std::uint64_t SimHost::event(const wire::StartT& start, wire::Phase phase,
                             std::unique_ptr<wire::AttemptReportT> report) {
  wire::RunEventT body;
  body.phase = phase;
  body.report = std::move(report);
  return say(start, std::move(body));
}

std::uint64_t SimHost::checkpoint(const wire::StartT& start, const wire::CheckpointT& checkpoint) {
  wire::RunEventT body;
  body.phase = wire::Phase::checkpointed;
  body.checkpoint = std::make_unique<wire::CheckpointT>(checkpoint);
  return say(start, std::move(body));
}

std::uint64_t SimHost::say(const wire::StartT& start, wire::RunEventT body) {
  wire::FrameT frame = frame_of(start);
  frame.body.Set(std::move(body));
  const std::lock_guard lock(mutex_);
  frame.sequence = ++next_number_;
  const std::uint64_t number = frame.sequence;
  spool_.push_back({number, std::move(frame)});
  if (welcomed_) send_events_from(number);
  return number;
}

void SimHost::send_events_from(std::uint64_t number) {
  for (const Event& event : spool_)
    if (event.number >= number) (void)send_locked(Stream::control, event.frame);
}

void SimHost::run_through(const wire::StartT& start, wire::AttemptReportT report,
                          const std::string& bytes) {
  event(start, wire::Phase::accepted);
  event(start, wire::Phase::running);
  if (!bytes.empty()) log(start, bytes);
  report.log_bytes = bytes.size();
  event(start, wire::Phase::finished, std::make_unique<wire::AttemptReportT>(std::move(report)));
}

void SimHost::pack(const wire::StartT& start, const std::string& bytes, std::size_t part) {
  for (std::size_t offset = 0; offset == 0 || offset < bytes.size(); offset += part) {
    wire::CommitPackT body;
    body.digest = sha256_hex(bytes);
    body.offset = offset;
    body.total = bytes.size();
    const std::string_view piece = std::string_view(bytes).substr(offset, part);
    body.bytes.assign(piece.begin(), piece.end());
    wire::FrameT frame = frame_of(start);
    frame.body.Set(std::move(body));
    (void)send(Stream::control, frame);
  }
}

void SimHost::log(const wire::StartT& start, const std::string& bytes) {
  const std::lock_guard lock(mutex_);
  Log& log = logs_[sandbox_of(start)];
  log.bytes = bytes;
  log.start.spec = std::make_unique<wire::SandboxSpecT>(*start.spec);
  pump_log(sandbox_of(start));
}

void SimHost::pump_log(const std::string& sandbox) {
  const auto found = logs_.find(sandbox);
  const auto credit = credits.find(sandbox);
  if (found == logs_.end() || credit == credits.end()) return;
  constexpr std::uint64_t kChunk = 64u << 10;
  Log& log = found->second;
  while (!log.last_sent && log.sent < std::min(credit->second.up_to, log.bytes.size())) {
    wire::LogChunkT chunk;
    const auto size = std::min<std::uint64_t>(
        {kChunk, credit->second.up_to - log.sent, log.bytes.size() - log.sent});
    chunk.offset = log.sent;
    std::string_view piece = std::string_view(log.bytes).substr(log.sent, size);
    chunk.last = log.sent + size == log.bytes.size();
    wire::FrameT frame = frame_of(log.start);
    if (size >= kMinPacked && options_.protocol >= storage::kPackedLogsProtocol) {
      frame.sequence = size;
      piece = muster::pack(piece).value();
    }
    chunk.bytes.assign(piece.begin(), piece.end());
    frame.body.Set(chunk);
    if (!send_locked(Stream::logs, frame)) return;
    log.sent += size;
    log.last_sent = chunk.last;
  }
}

void SimHost::beat() {
  Duration pause{1'000};
  {
    const std::lock_guard lock(mutex_);
    if (!welcomes.empty()) pause = Duration{welcomes.back().heartbeat_ms};
    wire::HeartbeatT heartbeat;
    heartbeat.number = ++heartbeat_;
    if (options_.warm_pool) heartbeat.warm_pool = std::make_unique<wire::WarmPoolStateT>(*options_.warm_pool);
    wire::FrameT frame;
    frame.body.Set(heartbeat);
    if (welcomed_) (void)send_locked(Stream::control, frame);
  }
  strand_.after(pause, [this] { beat(); });
}

// ---- what it is told ----

void SimHost::received(std::string_view bytes) {
  wire::StartT start;
  bool started = false;
  {
    const std::lock_guard lock(mutex_);
    const wire::Frame& frame = *wire::GetFrame(bytes.data());
    take(frame);
    if (const auto* body = frame.body_as_Start()) {
      body->UnPackTo(&start);
      started = true;
    }
    changed_.notify_all();
  }
  if (started && on_start_) on_start_(*this, start);
}

void SimHost::take(const wire::Frame& frame) {
  const std::string sandbox =
      (frame.run() ? frame.run()->str() : "") + "-" + std::to_string(frame.attempt());
  if (const auto* welcome = frame.body_as_Welcome()) {
    take_welcome(*welcome);
  } else if (frame.body_type() == wire::Body::Start) {
    take_start(frame);
  } else if (const auto* stop_body = frame.body_as_Stop()) {
    stops.emplace_back(sandbox, stop_body->reason());
  } else if (const auto* steer = frame.body_as_Steer()) {
    for (const auto* message : *steer->messages())
      steered.push_back(sandbox + " " + std::to_string(message->number()) + " " +
                        message->text()->str());
  } else if (const auto* blob = frame.body_as_Blob()) {
    take_blob(*blob);
  } else if (const auto* ack = frame.body_as_Ack()) {
    if (ack->digest() && ack->digest()->size() > 0) packs_taken.push_back(ack->digest()->str());
    acknowledged = std::max(acknowledged, ack->sequence());
    while (!spool_.empty() && spool_.front().number <= acknowledged) spool_.pop_front();
  } else if (const auto* renew = frame.body_as_Renew()) {
    renewed = renew->heartbeat();
  } else if (const auto* credit = frame.body_as_LogCredit()) {
    credit->UnPackTo(&credits[sandbox]);
    pump_log(sandbox);
  }
}

void SimHost::take_welcome(const wire::Welcome& welcome) {
  const bool first = welcomes.empty();
  welcome.UnPackTo(&welcomes.emplace_back());
  if (!welcomes.back().refused.empty()) return;
  welcomed_ = true;
  const std::uint64_t mark = welcome.event_mark();
  while (!spool_.empty() && spool_.front().number <= mark) spool_.pop_front();
  next_number_ = std::max(next_number_, mark);
  send_events_from(mark + 1);
  if (first && options_.heartbeats) strand_.post([this] { beat(); });
}

void SimHost::take_start(const wire::Frame& frame) {
  wire::StartT start;
  frame.body_as_Start()->UnPackTo(&start);
  const std::string sandbox = sandbox_of(start);
  starts.push_back(sandbox);
  specs_.insert_or_assign(sandbox, std::move(start));
}

void SimHost::take_blob(const wire::Blob& blob) {
  const std::string digest = blob.digest()->str();
  blob_parts.push_back(digest);
  std::string& bytes = blobs[digest];
  if (blob.offset() == 0) bytes.clear();
  if (blob.bytes() && blob.offset() == bytes.size())
    bytes.append(reinterpret_cast<const char*>(blob.bytes()->data()), blob.bytes()->size());
}

wire::StartT SimHost::start_of(const std::string& sandbox) {
  if (!wait([&] { return specs_.contains(sandbox); }))
    throw std::runtime_error("no Start of " + sandbox);
  const std::lock_guard lock(mutex_);
  const wire::StartT& kept = specs_.at(sandbox);
  wire::StartT start;
  start.spec = std::make_unique<wire::SandboxSpecT>(*kept.spec);
  if (kept.epoch) start.epoch = std::make_unique<wire::Epoch>(*kept.epoch);
  return start;
}

}  // namespace muster::actors::testing
