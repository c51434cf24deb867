#include "actors/ports/host_work.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>

#include "actors/run/run.hpp"
#include "storage/base/files.hpp"
#include "storage/link/protocol.hpp"

namespace muster::actors {

namespace {

Sandbox sandbox_of(const std::string& run, const std::unique_ptr<wire::Epoch>& epoch) {
  return {run, epoch ? epoch->attempt() : 0};
}

wire::FrameT frame_of(const Sandbox& sandbox, const std::unique_ptr<wire::Epoch>& epoch) {
  wire::FrameT frame;
  frame.run = sandbox.first;
  frame.attempt = sandbox.second;
  if (epoch) frame.epoch = std::make_unique<wire::Epoch>(*epoch);
  return frame;
}

Result<void> send(HostLine& line, const wire::FrameT& frame) {
  return line.inflow->session()->send(storage::Stream::control, storage::encode_frame(frame));
}

/// Part of a file, and the file's size.
Result<std::pair<std::string, std::uint64_t>> read_part(const std::filesystem::path& path,
                                                        std::uint64_t offset, std::size_t limit) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno("open " + path.string(), errno);
  const off_t size = ::lseek(fd.get(), 0, SEEK_END);
  if (size < 0) return fail_errno("seek " + path.string(), errno);
  const auto total = static_cast<std::uint64_t>(size);
  std::string bytes(std::min<std::uint64_t>(limit, total - std::min(offset, total)), '\0');
  const ssize_t got = ::pread(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
  if (got < 0) return fail_errno("read " + path.string(), errno);
  bytes.resize(static_cast<std::size_t>(got));
  return std::pair{std::move(bytes), total};
}

}  // namespace

void HostWork::perform(const engine::PendingEffect& effect, engine::EffectDone done,
                       const std::function<HostLine*(const std::string&)>& line_of) {
  auto decoded = engine::decode_table<fbs::EffectT>(effect.bytes);
  if (!decoded) {
    spdlog::error("effect {}: {}", effect.key, decoded.error().message);
    return;  // its deadline answers
  }
  if (auto* start_request = decoded->body.AsStartSandbox()) {
    HostLine* line = line_of(start_request->host);
    start(std::move(*start_request), effect.deadline, std::move(done), line);
  } else if (auto* stop_request = decoded->body.AsStopSandbox()) {
    HostLine* line = line_of(stop_request->host);
    stop(std::move(*stop_request), effect.deadline, std::move(done), line);
  } else if (auto* steer_request = decoded->body.AsSteerSandbox()) {
    HostLine* line = line_of(steer_request->host);
    steer(std::move(*steer_request), effect.deadline, std::move(done), line);
  } else {
    spdlog::error("effect {} is none of port host", effect.key);
  }
}

void HostWork::start(fbs::StartSandboxT request, Instant deadline, engine::EffectDone done,
                     HostLine* line) {
  const Sandbox sandbox = sandbox_of(request.run, request.epoch);
  const std::string host = request.host;
  const bool lost = !line || (request.epoch && request.epoch->session() <= line->lost_session) ||
                    !is_placed_(host, sandbox);
  starts_[sandbox] = {std::move(request), std::move(done), deadline};
  if (lost) {
    finish_start(sandbox, "host " + host + " is gone");
  } else if (line->welcomed) {
    line->orders.push_back({HostLine::Order::What::start, sandbox});
    pump(*line);
  }
}

void HostWork::stop(fbs::StopSandboxT request, Instant deadline, engine::EffectDone done,
                    HostLine* line) {
  const Sandbox sandbox = sandbox_of(request.run, request.epoch);
  stops_[sandbox] = {std::move(request), std::move(done), deadline};
  if (!line) {
    finish_stop(sandbox);
  } else if (line->welcomed) {
    line->orders.push_back({HostLine::Order::What::stop, sandbox});
    pump(*line);
  }
}

void HostWork::steer(fbs::SteerSandboxT request, Instant deadline, engine::EffectDone done,
                     HostLine* line) {
  const Sandbox sandbox = sandbox_of(request.run, request.epoch);
  const bool lost = !line || !is_placed_(request.host, sandbox);
  steers_[sandbox] = {std::move(request), std::move(done), deadline};
  if (lost) {
    finish_steer(sandbox, 0, "the attempt is over");
  } else if (line->welcomed) {
    line->orders.push_back({HostLine::Order::What::steer, sandbox});
    pump(*line);
  }
}

void HostWork::welcomed(HostLine& line) {
  line.orders.clear();
  line.blobs_sent.clear();
  line.blob_offset = 0;
  line.checkpoint_sent = false;
  // An attempt that was given up meanwhile is not begun: its slot may be another's by now.
  std::vector<Sandbox> left;
  for (const auto& [sandbox, start] : starts_) {
    if (start.request.host != line.name) continue;
    if (is_placed_(line.name, sandbox)) {
      line.orders.push_back({HostLine::Order::What::start, sandbox});
    } else {
      left.push_back(sandbox);
    }
  }
  for (const Sandbox& sandbox : left) finish_start(sandbox, "the attempt was given up");
  for (const auto& [sandbox, stop] : stops_)
    if (stop.request.host == line.name)
      line.orders.push_back({HostLine::Order::What::stop, sandbox});
  left.clear();
  for (const auto& [sandbox, steer] : steers_) {
    if (steer.request.host != line.name) continue;
    if (is_placed_(line.name, sandbox)) {
      line.orders.push_back({HostLine::Order::What::steer, sandbox});
    } else {
      left.push_back(sandbox);
    }
  }
  for (const Sandbox& sandbox : left) finish_steer(sandbox, 0, "the attempt was given up");
  pump(line);
}

void HostWork::pump(HostLine& line) {
  while (line.welcomed && !line.orders.empty() &&
         line.inflow->session()->queued_bytes(storage::Stream::control) < kSendAhead) {
    const Sent sent = send(line, line.orders.front());
    if (sent == Sent::failed) return;  // the session is over; its successor begins anew
    if (sent == Sent::part) continue;
    line.orders.pop_front();
    line.blob_offset = 0;
    line.checkpoint_sent = false;
  }
}

HostWork::Sent HostWork::send(HostLine& line, const HostLine::Order& order) {
  switch (order.what) {
    case HostLine::Order::What::start:
      return send_start(line, order.sandbox);
    case HostLine::Order::What::stop:
      return send_stop(line, order.sandbox);
    case HostLine::Order::What::steer:
      return send_steer(line, order.sandbox);
  }
  return Sent::done;
}

HostWork::Sent HostWork::send_steer(HostLine& line, const Sandbox& sandbox) {
  const auto found = steers_.find(sandbox);
  if (found == steers_.end()) return Sent::done;
  if (!line.steers) {
    finish_steer(sandbox, 0, "the host's sandboxd is older than messages to running sandboxes");
    return Sent::done;
  }
  wire::FrameT frame = frame_of(sandbox, found->second.request.epoch);
  wire::SteerT steer;
  for (const auto& message : found->second.request.messages)
    if (message) steer.messages.push_back(std::make_unique<wire::SteerMessageT>(*message));
  frame.body.Set(std::move(steer));
  return actors::send(line, frame) ? Sent::done : Sent::failed;
}

HostWork::Sent HostWork::send_stop(HostLine& line, const Sandbox& sandbox) {
  const auto found = stops_.find(sandbox);
  if (found == stops_.end()) return Sent::done;
  wire::FrameT frame = frame_of(sandbox, found->second.request.epoch);
  wire::StopT stop;
  stop.reason = found->second.request.reason;
  frame.body.Set(std::move(stop));
  return actors::send(line, frame) ? Sent::done : Sent::failed;
}

HostWork::Sent HostWork::send_start(HostLine& line, const Sandbox& sandbox) {
  const auto found = starts_.find(sandbox);
  if (found == starts_.end()) return Sent::done;
  fbs::StartSandboxT& request = found->second.request;
  const std::string bundle = request.agent_bundle;
  if (!bundle.empty() && !line.blobs_sent.contains(bundle)) {
    const auto whole = send_blob_part(line, needs_.blobs, bundle);
    if (!whole && whole.error().code == Errc::unreachable) return Sent::failed;
    if (!whole) {
      finish_start(sandbox, "the agent's files can't be sent: " + whole.error().message);
      return Sent::done;
    }
    if (*whole) line.blobs_sent.insert(bundle);
    return Sent::part;
  }
  if (request.checkpoint && !line.checkpoint_sent) {
    // Always: the host keeps it only as long as an attempt begins with it.
    const auto whole = send_blob_part(line, needs_.packs, request.checkpoint->digest);
    if (!whole && whole.error().code == Errc::unreachable) return Sent::failed;
    if (!whole) {
      spdlog::warn("run {}: its checkpoint can't be sent, and it begins anew: {}", sandbox.first, whole.error().message);
      request.checkpoint.reset();
    }
    line.checkpoint_sent = whole && *whole;
    return Sent::part;
  }
  auto spec = make_spec(request);
  if (!spec) {
    finish_start(sandbox, spec.error().message);
    return Sent::done;
  }
  if (!spec->other_repositories.empty() && line.protocol < storage::kOtherRepositoriesProtocol) {
    finish_start(sandbox, "the sandboxd of host " + line.name +
                              " is older than musterd and knows only one repository in a workspace: upgrade it");
    return Sent::done;
  }
  if (!spec->snapshot.empty() && !line.snapshots) {
    finish_start(sandbox, "the sandboxd of host " + line.name + " is older than snapshots: upgrade it");
    return Sent::done;
  }
  wire::FrameT frame = frame_of(sandbox, request.epoch);
  wire::StartT start;
  start.spec = std::make_unique<wire::SandboxSpecT>(std::move(*spec));
  start.epoch = std::make_unique<wire::Epoch>(*request.epoch);
  frame.body.Set(std::move(start));
  const auto sent = actors::send(line, frame);
  if (sent) return Sent::done;
  if (sent.error().code != Errc::invalid) return Sent::failed;
  finish_start(sandbox, "the attempt's specification is larger than a frame");
  return Sent::done;
}

/// True when that was the last part. Errc::unreachable: the session ended.
Result<bool> HostWork::send_blob_part(HostLine& line, const Blobs& from, const std::string& digest) {
  if (!from.has(digest)) return fail(Errc::not_found, "there is no blob " + digest);
  auto part = read_part(from.path(digest), line.blob_offset, kBlobPart);
  if (!part) return tl::unexpected<Error>(part.error());
  auto& [bytes, total] = *part;
  if (bytes.empty() && line.blob_offset < total) return fail(Errc::io, "the blob is cut short");
  wire::BlobT blob;
  blob.digest = digest;
  blob.offset = line.blob_offset;
  blob.total = total;
  blob.bytes.assign(bytes.begin(), bytes.end());
  wire::FrameT frame;
  frame.body.Set(std::move(blob));
  if (!actors::send(line, frame)) return fail(Errc::unreachable, "the session is over");
  line.blob_offset += bytes.size();
  if (line.blob_offset < total) return false;
  line.blob_offset = 0;
  return true;
}

Result<wire::SandboxSpecT> HostWork::make_spec(const fbs::StartSandboxT& request) {
  if (!request.epoch) return fail(Errc::invalid, "the effect bears no epoch");
  if (spec_digest_ != request.spec_digest) {
    auto json = needs_.blobs.get(request.spec_digest);
    if (!json) return fail(json.error(), "the fleet's specification");
    spec_json_ = std::move(*json);
    spec_digest_ = request.spec_digest;
  }
  return needs_.make_spec(spec_json_, request);
}

void HostWork::heard(const Sandbox& sandbox, wire::Phase phase) {
  // The event itself told the run what happened; the effect's result only says that it was heard.
  finish_start(sandbox, "");
  if (phase != wire::Phase::finished && phase != wire::Phase::refused) return;
  finish_stop(sandbox);
  finish_steer(sandbox, 0, "the attempt is over");
}

/// An answer to an earlier Steer says less than is asked: the later one is answered too.
void HostWork::steered(const std::string& host, const Sandbox& sandbox, std::uint32_t below,
                       bool gone) {
  const auto found = steers_.find(sandbox);
  if (found == steers_.end() || found->second.request.host != host) return;
  const auto& asked = found->second.request.messages;
  if (gone) return finish_steer(sandbox, 0, "no such sandbox is at work there");
  if (asked.empty() || below > asked.back()->number) finish_steer(sandbox, below, "");
}

void HostWork::gone(const std::string& host) {
  std::vector<Sandbox> starts, stops, steers;
  for (const auto& [sandbox, start] : starts_)
    if (start.request.host == host) starts.push_back(sandbox);
  for (const auto& [sandbox, stop] : stops_)
    if (stop.request.host == host) stops.push_back(sandbox);
  for (const Sandbox& sandbox : starts) finish_start(sandbox, "host " + host + " was lost");
  for (const Sandbox& sandbox : stops) finish_stop(sandbox);
  for (const auto& [sandbox, steer] : steers_)
    if (steer.request.host == host) steers.push_back(sandbox);
  for (const Sandbox& sandbox : steers) finish_steer(sandbox, 0, "host " + host + " was lost");
}

void HostWork::expire(Instant now) {
  const auto over = [now](const auto& entry) {
    return entry.second.deadline.unix_ms > 0 && entry.second.deadline < now;
  };
  std::erase_if(starts_, over);
  std::erase_if(stops_, over);
  std::erase_if(steers_, over);
}

void HostWork::finish_start(const Sandbox& sandbox, const std::string& error) {
  auto node = starts_.extract(sandbox);
  if (!node) return;
  fbs::StartDoneT result;
  result.attempt = sandbox.second;
  result.error = error;
  node.mapped().done(Run::Messages::encode(result));
}

void HostWork::finish_stop(const Sandbox& sandbox) {
  auto node = stops_.extract(sandbox);
  if (!node) return;
  fbs::StopDoneT result;
  result.attempt = sandbox.second;
  node.mapped().done(Run::Messages::encode(result));
}

void HostWork::finish_steer(const Sandbox& sandbox, std::uint32_t below, const std::string& error) {
  auto node = steers_.extract(sandbox);
  if (!node) return;
  fbs::SteerDoneT result;
  result.attempt = sandbox.second;
  result.below = below;
  result.error = error;
  node.mapped().done(Run::Messages::encode(result));
}

}  // namespace muster::actors
