// What the engine wants of its hosts: the pending effects StartSandbox, StopSandbox and SteerSandbox, and what is
// sent for them. On the hosts' strand.
//
// A Start is sent when asked for, again at every reconnection until the host has answered with an
// event, and so may come twice: the host starts a sandbox once per (run, attempt, epoch). Blobs go
// before the first Start of a session that names them. A Steer follows its Start, is sent again in the same way until the
// host says that it keeps those messages, and may come twice too: messages are numbered. What is sent waits here rather than in the
// link's queue, so that a renewed lease never stands behind an agent bundle.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>

#include "actors/ports/event_channel.hpp"
#include "actors/ports/hosts.hpp"
#include "actors/ports/inflow.hpp"

namespace muster::actors {

/// An attempt: RUNID and number.
using Sandbox = std::pair<std::string, std::uint32_t>;

/// One host as this process knows it. On the hosts' strand.
struct HostLine {
  std::string name;
  std::shared_ptr<Inflow> inflow;        ///< The connection; null without one.
  std::shared_ptr<EventChannel> events;  ///< From the Welcome on.
  bool welcomed = false;
  bool steers = false;  ///< This session's sandboxd takes messages for running sandboxes.
  bool snapshots = false;  ///< And begins forks with their snapshots.
  std::uint64_t session = 0;  ///< The present or last one.
  bool leased = false;
  std::uint16_t protocol = 1;     ///< That it speaks (storage/link/protocol.hpp).
  std::string refused;            ///< Why it is not worked with; said once.
  std::uint64_t lost_session = 0;  ///< The last one whose lease ended.
  Duration lease_until{};
  std::shared_ptr<const HostPool> pool;  ///< As its last heartbeat in this session said.
  std::deque<engine::Payload> tells;  ///< For the host actor, in order, until taken.

  struct Order {
    enum class What : std::uint8_t { start, stop, steer } what = What::start;
    Sandbox sandbox;
  };
  std::deque<Order> orders;          ///< To be sent in this session.
  std::set<std::string> blobs_sent;  ///< In this session.
  std::uint64_t blob_offset = 0;     ///< Of the bundle, or the checkpoint, that the first order needs.
  bool checkpoint_sent = false;      ///< Of the first order.
};

class HostWork {
 public:
  static constexpr std::size_t kSendAhead = 2u << 20;  ///< Bytes in the link's control queue.
  static constexpr std::size_t kBlobPart = 512u << 10;

  using IsPlaced = std::function<bool(const std::string& host, const Sandbox&)>;

  /// `is_placed`: whether that host still works for that attempt.
  HostWork(const HostsNeeds& needs, IsPlaced is_placed)
      : needs_(needs), is_placed_(std::move(is_placed)) {}

  /// `line` null: that host is not known, or its lease has ended.
  void perform(const engine::PendingEffect& effect, engine::EffectDone done,
               const std::function<HostLine*(const std::string& host)>& line_of);
  /// The host was welcomed: everything pending for it is sent (again).
  void welcomed(HostLine& line);
  /// Sends what fits.
  void pump(HostLine& line);
  /// An event of that attempt is durable.
  void heard(const Sandbox& sandbox, wire::Phase phase);
  /// The host answered a Steer.
  void steered(const std::string& host, const Sandbox& sandbox, std::uint32_t below, bool gone);
  /// The host's lease has ended.
  void gone(const std::string& host);
  /// Effects whose deadline has passed: the engine has answered for them.
  void expire(Instant now);

 private:
  struct Start {
    fbs::StartSandboxT request;
    engine::EffectDone done;
    Instant deadline;
  };
  struct Stop {
    fbs::StopSandboxT request;
    engine::EffectDone done;
    Instant deadline;
  };
  struct Steer {
    fbs::SteerSandboxT request;
    engine::EffectDone done;
    Instant deadline;
  };
  enum class Sent : std::uint8_t { done, part, failed };

  void start(fbs::StartSandboxT request, Instant deadline, engine::EffectDone done, HostLine* line);
  void stop(fbs::StopSandboxT request, Instant deadline, engine::EffectDone done, HostLine* line);
  void steer(fbs::SteerSandboxT request, Instant deadline, engine::EffectDone done, HostLine* line);
  Sent send(HostLine& line, const HostLine::Order& order);
  Sent send_stop(HostLine& line, const Sandbox& sandbox);
  Sent send_steer(HostLine& line, const Sandbox& sandbox);
  Sent send_start(HostLine& line, const Sandbox& sandbox);
  Result<bool> send_blob_part(HostLine& line, const Blobs& from, const std::string& digest);
  Result<wire::SandboxSpecT> make_spec(const fbs::StartSandboxT& request);
  void finish_start(const Sandbox& sandbox, const std::string& error);
  void finish_stop(const Sandbox& sandbox);
  void finish_steer(const Sandbox& sandbox, std::uint32_t below, const std::string& error);

  const HostsNeeds& needs_;
  const IsPlaced is_placed_;
  std::map<Sandbox, Start> starts_;
  std::map<Sandbox, Stop> stops_;
  std::map<Sandbox, Steer> steers_;  ///< A run asks for one at a time.
  std::string spec_digest_;  // of the last spec that was read: a fleet's runs share one
  std::string spec_json_;
};

}  // namespace muster::actors
