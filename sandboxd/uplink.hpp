// sandboxd's side of the conversation with musterd (storage/schema/wire.fbs): one session at a time, begun with Hello,
// kept by heartbeats; events from the spool in order, each finished one after its pack and its artefacts; logs by credit. Loop thread only;
// the link's threads enter through receive().
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sandboxd/config.hpp"
#include "sandboxd/execs.hpp"
#include "sandboxd/lease.hpp"
#include "sandboxd/log_reader.hpp"
#include "sandboxd/loop.hpp"
#include "sandboxd/spool.hpp"
#include "sandboxd/supervisor.hpp"
#include "storage/link/host_order.hpp"

namespace muster::sandbox {

class Uplink {
 public:
  Uplink(const DaemonConfig& config, Loop& loop, EventSpool spool);

  /// What the supervisor says; give it to the Supervisor's constructor.
  Outlet outlet();
  [[nodiscard]] Spooled spooled(const std::string& id) const;
  /// After recover(): from now on it speaks and listens.
  void attach(Supervisor& supervisor);

  /// For LinkClient::start. Callable from any thread.
  storage::SessionEvents receive();

 private:
  struct Log {
    explicit Log(std::filesystem::path path) : reader(std::move(path)) {}
    LogReader reader;
    std::uint64_t acknowledged = 0, up_to = 0;
    std::optional<std::uint64_t> end;
    bool credited = false;   // in this session
    bool asked = false;
    bool last_said = false;
    bool waiting = false;    // in ready_
    int plain_parts = 0;     // go plain, because one before them became no smaller
  };
  enum class Sent { some, nothing, later, failed };

  void connected(std::shared_ptr<storage::Session> session);
  void closed(const storage::Session* session, const std::string& why);
  void received(const storage::Session* session, const std::string& bytes);
  void welcome(const wire::Frame& frame, const wire::Welcome& welcome);
  /// One of the two is too old for the other: no session comes of it.
  void refused(const std::string& engine, const std::string& why);
  void blob(const wire::Blob& blob);
  void acknowledge(const wire::Ack& ack);
  void credit(const wire::Frame& frame, const wire::LogCredit& credit);
  void exec(const wire::Frame& frame);
  void steer(const wire::Frame& frame);
  void order(const wire::Frame& frame, const storage::HostOrder& order);

  Result<std::uint64_t> keep(const Origin& origin, wire::RunEventT event);
  void pump_events();
  /// A file that the engine must have before the event that names it.
  struct Parcel {
    std::string digest;  // empty: there is none
    std::uint64_t bytes = 0;
    std::filesystem::path file;
  };
  [[nodiscard]] std::vector<Parcel> parcels_of(const wire::Frame& event) const;
  bool pump_parcels(const wire::Frame& event);
  bool pump_parcel(const wire::Frame& event, const Parcel& parcel);
  void pump_log(const std::string& id);
  void pump_logs();
  Sent send_next(const std::string& id, Log& log);
  Result<std::size_t> send_chunk(const std::string& id, Log* from, std::uint64_t offset, std::size_t limit);
  [[nodiscard]] std::string_view packed(Log& log, std::string_view piece) const;
  void tick();
  void check_lease();
  void beat();
  Result<void> send(storage::Stream stream, wire::FrameT frame);
  void remember_lease();

  const DaemonConfig& config_;
  Loop& loop_;
  EventSpool spool_;
  Supervisor* supervisor_ = nullptr;
  std::shared_ptr<storage::Session> session_;
  bool welcomed_ = false;
  bool packs_logs_ = false;           // this session's engine takes packed parts
  std::string refused_;               // why there is no session; said once
  std::int64_t refused_until_ = 0;    // boot_ms; 0: it is not
  Lease lease_;
  Lease::Standing standing_ = Lease::Standing::held;  ///< As the supervisor was last told.
  std::uint64_t heartbeat_ = 0;
  std::int64_t hello_sent_ = 0, heartbeat_ms_ = 1000, next_beat_ = 0;
  std::uint64_t next_event_ = 1;      // of the spool, not yet sent in this session
  std::size_t parcel_ = 0;            // of next_event_'s, the one that is being sent
  std::uint64_t parcel_offset_ = 0;
  std::size_t unsent_parcel_bytes_ = 0; // given to the link since it was last empty
  std::map<std::string, Log> logs_;
  std::deque<std::string> ready_;     // logs that may have something to send, in turn
  std::unique_ptr<Execs> execs_;      // after attach(); last: its threads speak to the loop until they are joined
};

}  // namespace muster::sandbox
