#include "sandboxd/uplink.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "sandboxd/caches.hpp"
#include "sandboxd/version.hpp"
#include "storage/base/packing.hpp"
#include "storage/link/protocol.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;
using storage::Stream;

namespace {

constexpr Duration kUplinkTick{50};
constexpr std::size_t kParcelPart = 512u << 10;
constexpr std::size_t kMaxQueuedParcels = 3u << 20;   // of the link's 8 MiB: events and heartbeats get through
constexpr std::size_t kMaxQueuedLogs = 2u << 20;   // of the link's 8 MiB: what is read is soon sent
constexpr int kPlainParts = 32;   // of a log that packing made no smaller, until it is tried again
constexpr std::uint64_t kMaxLogsAhead = 64u << 20;   // of all logs together, not yet durable with the engine …
constexpr std::uint64_t kMinLogAhead = 1u << 20;   // … and what each may have of it at least: with many, none runs away from the others
constexpr int kMaxLogChunks = 8;   // of all logs, read and packed before the loop does something else
constexpr std::size_t kMaxWarm = 1000;
constexpr std::size_t kMaxPlaced = 100'000;
constexpr std::int64_t kRefusedMs = 10'000;   // between two tries, while the two are too far apart

std::string text(const flatbuffers::String* string) { return string ? string->str() : std::string(); }

std::string_view view(const flatbuffers::Vector<std::uint8_t>* bytes) {
  if (bytes == nullptr) return {};
  return {reinterpret_cast<const char*>(bytes->data()), bytes->size()};
}

wire::FrameT frame_of(const std::string& id) {
  wire::FrameT frame;
  const std::size_t dash = id.find('-');
  frame.run = id.substr(0, dash);
  frame.attempt = static_cast<std::uint32_t>(std::strtoul(id.c_str() + dash + 1, nullptr, 10));
  return frame;
}

std::string id_of(const wire::Frame& frame) { return sandbox_id(text(frame.run()), frame.attempt()); }

}  // namespace

Uplink::Uplink(const DaemonConfig& config, Loop& loop, EventSpool spool)
    : config_(config), loop_(loop), spool_(std::move(spool)), next_event_(spool_.mark() + 1) {
  // A restarted sandboxd has no longer a lease than it had.
  if (const auto kept = read_file(config_.host.paths.runtime() / "lease", 64))
    lease_.restore(std::strtoll(kept->c_str(), nullptr, 10));
}

Outlet Uplink::outlet() {
  Outlet outlet;
  outlet.event = [this](const Origin& origin, wire::RunEventT event) {
    return keep(origin, std::move(event));
  };
  outlet.log_grew = [this](const std::string& id) { pump_log(id); };
  outlet.log_ended = [this](const std::string& id, std::uint64_t end) {
    logs_.try_emplace(id, Places(config_.host.paths, id).log()).first->second.end = end;
    pump_log(id);
  };
  outlet.full = [this] { return spool_.full(); };
  outlet.forgotten = [this](const std::string& id) { logs_.erase(id); };
  return outlet;
}

void Uplink::attach(Supervisor& supervisor) {
  supervisor_ = &supervisor;
  execs_ = std::make_unique<Execs>(
      ExecTools{config_.host.paths, supervisor.host().config.runtime, supervisor.host().config.muster_init}, loop_,
      [this](const std::string& id) { return supervisor_->running_step(id); },
      [this](const std::string& id, wire::FrameT frame) {
        wire::FrameT named = frame_of(id);
        named.body = std::move(frame.body);
        return send(Stream::logs, std::move(named)).has_value();
      });
  check_lease();  // before anything that was adopted goes on
  loop_.every(kUplinkTick, [this] { tick(); });
}

Spooled Uplink::spooled(const std::string& id) const {
  Spooled found;
  for (const auto& event : spool_.waiting()) {
    const auto* frame = wire::GetFrame(event.frame.data());
    const auto* run_event = frame->body_as_RunEvent();
    if (run_event == nullptr || id_of(*frame) != id) continue;
    if (run_event->phase() == wire::Phase::finished) found.finished = event.number;
    if (run_event->phase() == wire::Phase::checkpointed) found.checkpointed = event.number;
    if (run_event->phase() < wire::Phase::finished) found.said = run_event->phase();
  }
  return found;
}

storage::SessionEvents Uplink::receive() {
  storage::SessionEvents events;
  events.connected = [this](std::shared_ptr<storage::Session> session) {
    loop_.post([this, session = std::move(session)] { connected(session); });
  };
  events.frame = [this](storage::Session& session, Stream, std::string_view frame) {
    loop_.post([this, from = &session, bytes = std::string(frame)] { received(from, bytes); });
  };
  events.closed = [this](storage::Session& session, std::string why) {
    loop_.post([this, from = &session, why = std::move(why)] { closed(from, why); });
  };
  events.drained = [this](storage::Session&, Stream stream) {
    if (stream == Stream::logs) return loop_.post([this] { pump_logs(); });
    loop_.post([this] {
      unsent_parcel_bytes_ = 0;
      pump_events();
    });
  };
  events.failed = [](const std::string& why) { spdlog::debug("link: {}", why); };
  return events;
}

// ---- the session ----

Result<void> Uplink::send(Stream stream, wire::FrameT frame) {
  if (!session_) return fail(Errc::unreachable, "no session");
  frame.host = config_.name;
  return session_->send(stream, storage::encode_frame(frame));
}

void Uplink::connected(std::shared_ptr<storage::Session> session) {
  spdlog::info("connected with {}", session->peer());
  session_ = std::move(session);
  welcomed_ = false;
  refused_until_ = 0;
  execs_->end_session();  // of one whose end was not told before
  unsent_parcel_bytes_ = 0;
  for (auto& [id, log] : logs_) log.credited = log.asked = log.last_said = false;
  wire::HelloT hello;
  hello.host = config_.name;
  hello.version = kVersion;
  hello.slots = config_.slots;
  // Agents mostly wait for their models: who gives a host more slots than cores shares the cores among them.
  hello.cpus_milli = std::max(std::thread::hardware_concurrency(), config_.slots) * 1000;
  hello.memory_bytes = supervisor_->host().memory_bytes;
  for (const auto& [key, value] : config_.labels) {
    hello.labels.push_back(std::make_unique<wire::KeyValueT>());
    hello.labels.back()->key = key;
    hello.labels.back()->value = value;
  }
  hello.running = supervisor_->unfinished();
  hello.max_execs = kMaxExecsOfSandbox;
  hello.steers = hello.snapshots = true;
  hello.warm = supervisor_->host().mirrors.warm(kMaxWarm);
  wire::FrameT frame;
  frame.version = storage::kLinkProtocol;
  frame.body.Set(std::move(hello));
  hello_sent_ = boot_ms();
  (void)send(Stream::control, std::move(frame));
}

void Uplink::closed(const storage::Session* session, const std::string& why) {
  if (session != session_.get()) return;
  spdlog::info("disconnected: {}", why);
  session_.reset();
  welcomed_ = false;
  execs_->end_session();
}

void Uplink::received(const storage::Session* session, const std::string& bytes) {
  if (session != session_.get()) return;
  const auto* frame = wire::GetFrame(bytes.data());
  if (refused_until_ > 0) return;
  switch (frame->body_type()) {
    case wire::Body::Welcome: return welcome(*frame, *frame->body_as_Welcome());
    case wire::Body::Renew:
      lease_.renewed(frame->body_as_Renew()->heartbeat());
      return remember_lease();
    case wire::Body::Blob: return blob(*frame->body_as_Blob());
    case wire::Body::Start: return supervisor_->start(bytes);
    case wire::Body::Stop:
      return supervisor_->stop(id_of(*frame), frame->body_as_Stop()->reason(),
                               frame->body_as_Stop()->grace_ms());
    case wire::Body::Ack: return acknowledge(*frame->body_as_Ack());
    case wire::Body::LogCredit: return credit(*frame, *frame->body_as_LogCredit());
    case wire::Body::Steer: return steer(*frame);
    case wire::Body::ExecOpen:
    case wire::Body::ExecInput:
    case wire::Body::ExecCredit: return exec(*frame);
    default:
      spdlog::warn("the engine sent a {} that this host does not know; it is ignored",
                   wire::EnumNameBody(frame->body_type()));
  }
}

void Uplink::refused(const std::string& engine, const std::string& why) {
  if (refused_ != why) spdlog::error("musterd {} and this sandboxd don't work together: {}", engine, why);
  refused_ = why;
  refused_until_ = boot_ms() + kRefusedMs;
}

void Uplink::welcome(const wire::Frame& frame, const wire::Welcome& welcome) {
  std::string why = text(welcome.refused());
  if (why.empty()) why = storage::protocol_trouble("sandboxd", "musterd", frame.version());
  if (!why.empty()) return refused(text(welcome.version()), why);
  refused_.clear();
  lease_.begin(hello_sent_, welcome.lease_ms());
  remember_lease();
  heartbeat_ms_ = std::max<std::int64_t>(welcome.heartbeat_ms(), 10);
  welcomed_ = true;
  packs_logs_ = frame.version() >= storage::kPackedLogsProtocol;
  std::set<std::string> placed;
  if (welcome.placed() != nullptr)
    for (const auto* id : *welcome.placed())
      if (placed.size() < kMaxPlaced) placed.insert(id->str());
  const std::uint64_t mark = welcome.event_mark();
  const std::uint64_t last = spool_.mark() + spool_.waiting().size();
  const auto moved = mark < spool_.mark() || mark > last ? spool_.renumber(mark) : spool_.acknowledge(mark);
  if (!moved) spdlog::error("the event spool: {}", moved.error().message);
  next_event_ = spool_.mark() + 1;
  parcel_ = 0;
  parcel_offset_ = 0;
  supervisor_->events_taken(spool_.mark());
  supervisor_->keep_only(placed);
  check_lease();
  pump_events();
  for (const auto& [id, end] : supervisor_->logs()) {
    auto& log = logs_.try_emplace(id, Places(config_.host.paths, id).log()).first->second;
    log.end = end;
    pump_log(id);
  }
  beat();
}

void Uplink::blob(const wire::Blob& blob) {
  const std::string digest = text(blob.digest());
  if (supervisor_->host().blobs.has(digest)) return;
  auto done = supervisor_->host().blobs.append(digest, blob.offset(), blob.total(), view(blob.bytes()));
  // A Start that names it is refused then, and the engine sends both again.
  if (!done) spdlog::warn("blob {}: {}", digest, done.error().message);
}

void Uplink::tick() {
  const std::int64_t now = boot_ms();
  if (session_ && welcomed_ && now >= next_beat_) beat();
  if (session_ && refused_until_ > 0 && now >= refused_until_) session_->close("the two are too far apart");
  check_lease();
  execs_->tick();
  pump_events();
  for (auto& [id, log] : logs_)  // what no file event told
    if (log.credited && !log.last_said && log.reader.offset() < log.up_to) pump_log(id);
}

void Uplink::check_lease() {
  const Lease::Standing now = lease_.standing(boot_ms());
  if (now == standing_) return;
  standing_ = now;
  if (now == Lease::Standing::suspended)
    spdlog::warn("the lease has ended: every sandbox is frozen until the engine says which go on");
  supervisor_->suspend(now != Lease::Standing::held);
  if (now != Lease::Standing::over) return;
  spdlog::warn("the engine has not been heard of since the lease ended: every sandbox is ended");
  supervisor_->stop_all(wire::StopReason::lease_lost);
}

void Uplink::beat() {
  wire::HeartbeatT heartbeat;
  heartbeat.number = ++heartbeat_;
  heartbeat.free_slots = supervisor_->free_slots();
  heartbeat.free_disk_bytes = free_bytes(config_.host.paths.host());
  if (config_.host.warm_pool.max > 0)
    heartbeat.warm_pool = std::make_unique<wire::WarmPoolStateT>(supervisor_->warm_pool());
  wire::FrameT frame;
  frame.body.Set(std::move(heartbeat));
  const std::int64_t now = boot_ms();
  next_beat_ = now + heartbeat_ms_;
  if (send(Stream::control, std::move(frame))) lease_.sent(heartbeat_, now);
}

void Uplink::remember_lease() {
  const fs::path path = config_.host.paths.runtime() / "lease";
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  std::string number = std::to_string(lease_.until());
  number.resize(20, '\n');
  if (::pwrite(fd.get(), number.data(), number.size(), 0) < 0) spdlog::warn("can't write {}", path.string());
}

// ---- events and packs ----

Result<std::uint64_t> Uplink::keep(const Origin& origin, wire::RunEventT event) {
  wire::FrameT frame;
  frame.host = config_.name;
  frame.run = origin.run;
  frame.attempt = origin.attempt;
  frame.epoch = std::make_unique<wire::Epoch>(origin.epoch);
  frame.body.Set(std::move(event));
  auto number = spool_.append(storage::encode_frame(frame));
  if (number) loop_.post([this] { pump_events(); });
  return number;
}

void Uplink::pump_events() {
  if (!session_ || !welcomed_) return;
  for (const auto& event : spool_.waiting()) {
    if (event.number < next_event_) continue;
    const auto* frame = wire::GetFrame(event.frame.data());
    if (!pump_parcels(*frame)) return;  // the link is full; it goes on when that has drained
    wire::FrameT numbered;
    frame->UnPackTo(&numbered);
    numbered.sequence = event.number;
    if (!send(Stream::control, std::move(numbered))) return;
    next_event_ = event.number + 1;
    parcel_ = 0;
    parcel_offset_ = 0;
  }
}

/// What an event speaks of, in the order in which it goes before it.
std::vector<Uplink::Parcel> Uplink::parcels_of(const wire::Frame& frame) const {
  const Places places(config_.host.paths, id_of(frame));
  std::vector<Parcel> parcels;
  const auto* event = frame.body_as_RunEvent();
  if (event == nullptr) return parcels;
  if (const auto* checkpoint = event->checkpoint())
    parcels.push_back({text(checkpoint->digest()), checkpoint->bytes(), checkpoint_pack(places, text(checkpoint->commit()))});
  const auto* report = event->report();
  if (report == nullptr) return parcels;
  parcels.push_back({text(report->pack_digest()), report->pack_bytes(), pack_path(places)});
  parcels.push_back({text(report->artifacts_digest()), report->artifacts_bytes(), artifacts_path(places)});
  if (const auto* checkpoint = report->checkpoint())
    parcels.push_back({text(checkpoint->digest()), checkpoint->bytes(), last_checkpoint_pack(places)});
  return parcels;
}

/// True when there is nothing more to send before the event.
bool Uplink::pump_parcels(const wire::Frame& frame) {
  const std::vector<Parcel> parcels = parcels_of(frame);
  for (; parcel_ < parcels.size(); ++parcel_, parcel_offset_ = 0)
    if (!pump_parcel(frame, parcels[parcel_])) return false;
  return true;
}

/// The rest of one file, as far as the link takes it. A file that can't be read is left out: the engine says what follows from that.
bool Uplink::pump_parcel(const wire::Frame& frame, const Parcel& parcel) {
  if (parcel.digest.empty()) return true;
  const Fd file(::open(parcel.file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  while (parcel_offset_ < parcel.bytes) {
    if (unsent_parcel_bytes_ > kMaxQueuedParcels) return false;
    wire::CommitPackT part;
    part.digest = parcel.digest;
    part.offset = parcel_offset_;
    part.total = parcel.bytes;
    part.bytes.resize(std::min<std::uint64_t>(kParcelPart, parcel.bytes - parcel_offset_));
    const std::size_t size = part.bytes.size();
    if (::pread(file.get(), part.bytes.data(), size, static_cast<off_t>(parcel_offset_)) != static_cast<ssize_t>(size)) {
      spdlog::error("{}: {} can't be read", id_of(frame), parcel.file.string());
      return true;
    }
    wire::FrameT carrier = frame_of(id_of(frame));
    if (frame.epoch() != nullptr) carrier.epoch = std::make_unique<wire::Epoch>(*frame.epoch());
    carrier.body.Set(std::move(part));
    if (!send(Stream::control, std::move(carrier))) return false;
    parcel_offset_ += size;
    unsent_parcel_bytes_ += size;
  }
  return true;
}

void Uplink::acknowledge(const wire::Ack& ack) {
  if (ack.sequence() == 0) return;  // of a parcel: its event's acknowledgement follows
  if (auto done = spool_.acknowledge(ack.sequence()); !done)
    spdlog::error("the event spool: {}", done.error().message);
  supervisor_->events_taken(spool_.mark());
}

// ---- logs ----

void Uplink::credit(const wire::Frame& frame, const wire::LogCredit& credit) {
  const std::string id = id_of(frame);
  const auto found = logs_.find(id);
  if (found == logs_.end()) return;
  Log& log = found->second;
  log.acknowledged = std::max(log.acknowledged, credit.acknowledged());
  log.up_to = credit.up_to();
  supervisor_->log_acknowledged(id, log.acknowledged);
  if (log.end && credit.acknowledged() >= *log.end && (log.last_said || *log.end == 0))
    return supervisor_->log_taken(id);  // erases it
  // The first credit of a session says where the engine is.
  if (!log.credited && !log.reader.seek(credit.acknowledged())) {
    spdlog::warn("{}: the engine has more of its log than there is", id);
    return supervisor_->log_lost(id);
  }
  log.credited = true;
  pump_log(id);
}

void Uplink::exec(const wire::Frame& frame) {
  const std::string id = id_of(frame);
  const auto* open = frame.body_as_ExecOpen();
  if (const auto asked = open != nullptr ? storage::read_order(*open) : std::nullopt) return order(frame, *asked);
  if (open != nullptr) return execs_->open(id, *open);
  if (const auto* input = frame.body_as_ExecInput()) return execs_->input(id, *input);
  if (const auto* more = frame.body_as_ExecCredit()) return execs_->credit(id, *more);
}

namespace {

nlohmann::json all_to_json(const std::vector<Snapshot>& snapshots) {
  nlohmann::json all = nlohmann::json::array();
  for (const auto& snapshot : snapshots) all.push_back(to_json(snapshot));
  return all;
}

}  // namespace

/// Answered in the session that it came in: the numbers of another one are another engine's.
void Uplink::order(const wire::Frame& frame, const storage::HostOrder& order) {
  const std::string id = id_of(frame), run = text(frame.run());
  const auto answer = [this, id, number = frame.body_as_ExecOpen()->exec(),
                       session = std::weak_ptr<storage::Session>(session_)](const Result<nlohmann::json>& said) {
    if (session.lock() != session_ || !session_) return;
    wire::ExecEndT end;
    end.exec = number;
    end.exit_code = said ? 0 : -1;
    if (!said) end.reason = to_string(said.error().code);
    end.message = said ? said->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) : said.error().message;
    wire::FrameT carrier = frame_of(id);
    carrier.body.Set(std::move(end));
    (void)send(Stream::logs, std::move(carrier));
  };
  Snapshots& snapshots = supervisor_->host().snapshots;
  if (order.what == storage::kTakeSnapshot)
    return supervisor_->take_snapshot(id, order.id, order.name, [answer](const Result<Snapshot>& taken) {
      answer(taken ? Result<nlohmann::json>(to_json(*taken)) : tl::unexpected(taken.error()));
    });
  if (order.what == storage::kListSnapshots) return answer(all_to_json(snapshots.list(run)));
  if (order.what == storage::kListAllSnapshots) return answer(all_to_json(snapshots.list("")));
  if (order.what == storage::kRemoveSnapshot)
    return supervisor_->remove_snapshot(order.id, run, [answer](const Result<void>& removed) {
      answer(removed ? Result<nlohmann::json>(nlohmann::json::object()) : tl::unexpected(removed.error()));
    });
  answer(fail(Errc::invalid, "this host does not know the order " + order.what));
}

/// Answered when it is durable, again too: the engine asks until it hears that.
void Uplink::steer(const wire::Frame& frame) {
  wire::SteerT said;
  frame.body_as_Steer()->UnPackTo(&said);
  const std::string id = id_of(frame);
  const auto below = supervisor_->steer(id, said.messages);
  wire::FrameT answer = frame_of(id);
  wire::SteeredT steered;
  steered.below = below.value_or(0);
  steered.gone = !below;
  answer.body.Set(std::move(steered));
  (void)send(Stream::control, std::move(answer));
}

/// A large piece as the engine stores it; empty where that does not pay, or the engine does not know it.
std::string_view Uplink::packed(Log& log, std::string_view piece) const {
  if (!packs_logs_ || piece.size() < kMinPacked) return {};
  if (log.plain_parts > 0) {
    --log.plain_parts;
    return {};
  }
  const std::string_view frame = pack(piece).value_or("");
  if (frame.size() <= piece.size() / 8 * 7) return frame;
  log.plain_parts = kPlainParts;
  return {};
}

/// One chunk: what `from` has next, or nothing (to ask for credit, or to say the end). How much of the log that was.
Result<std::size_t> Uplink::send_chunk(const std::string& id, Log* from, std::uint64_t offset,
                                       std::size_t limit) {
  std::string piece;
  if (from != nullptr)
    if (auto read = from->reader.read(piece, limit); !read) return read;
  const bool last = from != nullptr && from->end && offset + piece.size() >= *from->end;
  if (from != nullptr && piece.empty() && !last) return std::size_t{0};
  const std::string_view frame_bytes = from != nullptr ? packed(*from, piece) : "";
  const std::string_view body = frame_bytes.empty() ? piece : frame_bytes;
  // Built by hand: the object API would copy the bytes three times.
  flatbuffers::FlatBufferBuilder builder(body.size() + 512);
  const wire::FrameT names = frame_of(id);
  const auto bytes = builder.CreateVector(reinterpret_cast<const std::uint8_t*>(body.data()), body.size());
  const auto host = builder.CreateString(config_.name);
  const auto run = builder.CreateString(names.run);
  const auto chunk = wire::CreateLogChunk(builder, offset, bytes, last);
  wire::FrameBuilder frame(builder);
  frame.add_host(host);
  frame.add_run(run);
  frame.add_attempt(names.attempt);
  frame.add_sequence(frame_bytes.empty() ? 0 : piece.size());
  frame.add_body_type(wire::Body::LogChunk);
  frame.add_body(chunk.Union());
  wire::FinishFrameBuffer(builder, frame.Finish());
  const auto sent = session_->send(
      Stream::logs, {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()});
  if (!sent) return tl::unexpected(sent.error());
  if (from != nullptr) from->last_said = last;
  return piece.size();
}

/// That log may have something to send.
void Uplink::pump_log(const std::string& id) {
  Log& log = logs_.try_emplace(id, Places(config_.host.paths, id).log()).first->second;
  if (!log.waiting) ready_.push_back(id);
  log.waiting = true;
  pump_logs();
}

/// A chunk of each in turn, as long as the link takes them: so none takes more than its part of it. After a turn the rest
/// waits until the link has sent what it was given.
void Uplink::pump_logs() {
  std::deque<std::string> later;
  int chunks = 0;
  while (session_ && welcomed_ && !ready_.empty() && chunks < kMaxLogChunks &&
         session_->queued_bytes(Stream::logs) < kMaxQueuedLogs) {
    const std::string id = std::move(ready_.front());
    ready_.pop_front();
    const auto found = logs_.find(id);
    if (found == logs_.end()) continue;
    found->second.waiting = false;
    const Sent sent = send_next(id, found->second);
    if (sent == Sent::failed) break;  // the session ends; its successor asks anew
    if (sent == Sent::nothing) continue;
    if (sent == Sent::some) ++chunks;
    found->second.waiting = true;
    (sent == Sent::later ? later : ready_).push_back(id);
  }
  ready_.insert(ready_.end(), later.begin(), later.end());
}

Uplink::Sent Uplink::send_next(const std::string& id, Log& log) {
  if (log.last_said) return Sent::nothing;
  if (!log.credited) {
    // An empty chunk asks for credit.
    if (!log.asked) log.asked = send_chunk(id, nullptr, log.acknowledged, 0).has_value();
    return Sent::nothing;
  }
  const std::uint64_t offset = log.reader.offset();
  const bool at_end = log.end && offset >= *log.end;
  if (offset >= log.up_to && !at_end) return Sent::nothing;
  const std::uint64_t share = std::max(kMinLogAhead, kMaxLogsAhead / logs_.size());
  if (!at_end && offset >= log.acknowledged + share) return Sent::nothing;  // its next credit brings it back
  const std::uint64_t room = log.up_to > offset ? log.up_to - offset : 0;
  // While the link is busy, what is little waits for what comes meanwhile; the drained link takes anything.
  if (!log.end && room >= kMaxPacked && log.reader.waiting().value_or(kMaxPacked) < kMaxPacked &&
      session_->queued_bytes(Stream::logs) >= kMinPacked)
    return Sent::later;
  const auto sent = send_chunk(id, &log, offset, std::min<std::uint64_t>(kMaxPacked, room));
  if (!sent) {
    (void)log.reader.seek(offset);
    return Sent::failed;
  }
  return *sent > 0 ? Sent::some : Sent::nothing;
}

}  // namespace muster::sandbox
