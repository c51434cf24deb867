// One host that speaks the link's real protocol (storage/schema/wire.fbs, gRPC with mutual TLS) as
// sandboxd does and runs nothing: what its attempts do is decided by plan.hpp. Everything but
// start(), lose() and the likes happens on a strand that it shares with other hosts.
//
//   SimulatedHost host(setup, strand, shared);
//   host.start();                    // connects, and connects again by itself
//   host.cut();                      // the connection breaks; it comes back
//   host.lose(); host.come_back();   // the machine dies; it boots again, with its disk
//   host.stop();                     // before the strand stops
//
// It keeps what a real host keeps: events until they are acknowledged, logs until they are durable,
// a lease counted from when a heartbeat was sent. It notices what an engine must never do.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "actors/ports/strand.hpp"
#include "bench/load/git_objects.hpp"
#include "bench/load/meters.hpp"
#include "bench/load/plan.hpp"
#include "storage/link/link.hpp"
#include "storage/schema/wire_generated.h"

namespace muster::load {

struct HostSetup {
  std::string name;
  std::string address;  ///< HOST:PORT of musterd's link.
  storage::TlsFiles tls;
  std::uint32_t slots = 25;
};

/// What the commit of a changed run is made of. Real: a commit of its own, as a pack that fits
/// every simulated repository. Else ids that look like ids and a pack of random bytes, for fleets
/// that deliver nothing.
struct CommitFacts {
  bool real = false;
  std::string base_sha;  ///< main of every repository.
  GitObject blob{ObjectType::blob, ""}, tree{ObjectType::tree, ""};
};

/// What all hosts of a load share; outlives them.
struct HostsShared {
  Workload workload;
  CommitFacts commit;
  Meters meters;
  Whereabouts whereabouts;
};

class SimulatedHost {
 public:
  SimulatedHost(HostSetup setup, actors::Strand& strand, HostsShared& shared);
  ~SimulatedHost() { stop(); }

  // From one thread, which may block.
  void start();
  void cut();
  void lose();
  void come_back();
  void stop();

  /// Reads nothing that the engine says for so long.
  void read_nothing_for(Duration pause);
  [[nodiscard]] const std::string& name() const { return setup_.name; }

 private:
  using Time = Clock::time_point;
  struct Attempt {
    std::string run;
    std::uint32_t number = 0;
    std::unique_ptr<wire::Epoch> epoch;
    Plan plan;
    std::uint64_t token = 0;  ///< Tells timers of this attempt from those of an earlier one.
    std::uint64_t log_written = 0;
    std::int64_t began_unix_ms = 0, agent_began_unix_ms = 0;
  };
  struct Event {
    std::uint64_t number = 0;
    wire::FrameT frame;
    std::string pack;  ///< Sent before it.
    Time sent{};
  };
  struct Log {
    std::string run;
    std::uint32_t attempt = 0;
    std::uint64_t written = 0, sent = 0, acknowledged = 0, up_to = 0;
    bool ended = false, credited = false, asked = false, last_said = false;
    Time ended_at{};
  };

  storage::SessionEvents link_events();

  // The strand.
  void connected(std::shared_ptr<storage::Session> session);
  void closed(const storage::Session* session);
  void received(const storage::Session* session, const std::string& bytes);
  void welcome(const wire::Welcome& welcome);
  void begin(const wire::StartT& start);
  void stop_attempt(const std::string& id, wire::StopReason reason);
  void acknowledged(std::uint64_t mark);
  void renewed(std::uint64_t heartbeat);
  void credit(const wire::Frame& frame);
  void beat();
  void check_lease();
  void died();

  void step(const std::string& id, std::uint64_t token, Duration pause,
            void (SimulatedHost::*next)(Attempt&));
  void agent_begins(Attempt& attempt);
  void agent_ends(Attempt& attempt);
  void finish(Attempt& attempt);
  void end_attempt(Attempt& attempt, wire::AttemptReportT report, std::string pack = {});
  void write_log(Attempt& attempt, std::uint64_t up_to);
  void end_log(const std::string& id);
  void pump_log(Log& log);

  void say(const Attempt& attempt, wire::Phase phase,
           std::unique_ptr<wire::AttemptReportT> report = nullptr, std::string pack = {});
  void send_event(Event& event);
  bool send(storage::Stream stream, wire::FrameT frame);
  void add_commit(wire::AttemptReportT& report, const Attempt& attempt, std::string& pack) const;
  [[nodiscard]] wire::AttemptReportT report_of(const Attempt& attempt, std::string& pack) const;

  const HostSetup setup_;
  actors::Strand& strand_;
  HostsShared& shared_;
  std::unique_ptr<storage::LinkClient> client_;  // the caller's thread

  std::mutex session_mutex_;
  std::shared_ptr<storage::Session> session_;  // set on the strand
  std::uint64_t epoch_ = 0;  ///< Of the strand's tasks: those from before a loss mean nothing.
  bool welcomed_ = false, up_ = false, ever_connected_ = false;
  Duration lease_{30'000}, heartbeat_{5'000};
  std::uint64_t beats_ = 0;
  std::uint64_t beat_turn_ = 0;
  std::map<std::uint64_t, Time> beats_sent_;
  Time hello_sent_{}, leased_until_{};
  bool leased_ = false;
  std::uint64_t tokens_ = 0;
  std::map<std::string, Attempt> attempts_;  // by RUNID-ATTEMPT
  std::deque<Event> spool_;
  std::uint64_t last_number_ = 0;
  std::map<std::string, Log> logs_;
  std::deque<Time> freed_;  ///< Slots that are empty, since when.
};

}  // namespace muster::load
