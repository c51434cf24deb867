// A simulated host: speaks the wire to musterd as sandboxd does, and runs nothing. For tests and
// load tests.
//
//   SimHost host(address, tls, {.name = "host-a"});
//   host.wait([&] { return host.welcomes.size() == 1; });
//   const wire::StartT start = host.start_of("7K2M…-1");
//   host.event(start, wire::Phase::accepted);
//
// With `on_start` it acts by itself. It numbers its events and keeps them until the engine
// acknowledged them, so that a reconnection repeats what may be lost. The fields are read under
// wait() or lock().
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "actors/ports/strand.hpp"
#include "storage/link/link.hpp"
#include "storage/link/protocol.hpp"
#include "storage/schema/wire_generated.h"

namespace muster::actors::testing {

struct SimHostOptions {
  std::string name = "host-a";
  std::string hello_name{};  ///< What it calls itself; empty: its name.
  std::uint32_t slots = 4;
  std::vector<std::string> warm{};
  bool heartbeats = true;
  std::uint16_t protocol = storage::kLinkProtocol;
  std::shared_ptr<const wire::WarmPoolStateT> warm_pool{};  ///< Said with every heartbeat.
  bool steers = true;
};

class SimHost {
 public:
  using OnStart = std::function<void(SimHost&, const wire::StartT&)>;

  SimHost(const std::string& address, const storage::TlsFiles& tls, SimHostOptions options,
          OnStart on_start = {});
  ~SimHost();

  /// Ends the connection; it comes back by itself.
  void disconnect();
  /// Ends for good, as kill -9 would.
  void stop();

  /// Numbers the event and sends it, now or after the next Welcome. Returns its number.
  std::uint64_t event(const wire::StartT& start, wire::Phase phase,
                      std::unique_ptr<wire::AttemptReportT> report = nullptr);
  /// Work in progress, after its pack.
  std::uint64_t checkpoint(const wire::StartT& start, const wire::CheckpointT& checkpoint);
  /// A whole attempt: accepted, running, the log, finished.
  void run_through(const wire::StartT& start, wire::AttemptReportT report, const std::string& log);
  void pack(const wire::StartT& start, const std::string& bytes, std::size_t part = 256u << 10);
  /// Sends what credit allows, large parts packed, the rest as credit comes; `last` with the last byte.
  void log(const wire::StartT& start, const std::string& bytes);
  /// Anything at all, once, if connected.
  Result<void> send(storage::Stream stream, const wire::FrameT& frame);

  wire::StartT start_of(const std::string& sandbox);

  template <class Predicate>
  bool wait(Predicate predicate) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), predicate);
  }
  [[nodiscard]] std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }

  // What it was told.
  std::vector<wire::WelcomeT> welcomes;
  std::vector<std::string> starts;  ///< Sandbox ids, each time they came.
  std::vector<std::pair<std::string, wire::StopReason>> stops;
  std::vector<std::string> steered;  ///< "SANDBOX NUMBER TEXT", each time it came.
  std::map<std::string, std::string> blobs;
  std::vector<std::string> blob_parts;  ///< Digest of each Blob frame.
  std::vector<std::string> packs_taken;
  std::map<std::string, wire::LogCreditT> credits;
  std::uint64_t acknowledged = 0;
  std::uint64_t renewed = 0;
  std::vector<std::string> ends;  ///< Why each connection ended.
  int connections = 0;

 private:
  struct Log {
    std::string bytes;
    std::uint64_t sent = 0;
    bool last_sent = false;
    wire::StartT start;
  };
  struct Event {
    std::uint64_t number;
    wire::FrameT frame;
  };

  void connected(std::shared_ptr<storage::Session> session);
  void received(std::string_view bytes);
  void take(const wire::Frame& frame);
  void take_welcome(const wire::Welcome& welcome);
  void take_start(const wire::Frame& frame);
  void take_blob(const wire::Blob& blob);
  std::uint64_t say(const wire::StartT& start, wire::RunEventT body);
  void send_events_from(std::uint64_t number);
  void pump_log(const std::string& sandbox);
  void beat();
  Result<void> send_locked(storage::Stream stream, const wire::FrameT& frame);

  const SimHostOptions options_;
  const OnStart on_start_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<storage::Session> session_;
  bool welcomed_ = false;
  std::deque<Event> spool_;
  std::uint64_t next_number_ = 0;  // of the last event
  std::map<std::string, wire::StartT> specs_;
  std::map<std::string, Log> logs_;
  std::uint64_t heartbeat_ = 0;
  Strand strand_{"sim-host"};
  std::unique_ptr<storage::LinkClient> client_;
};

/// RUNID-ATTEMPT.
std::string sandbox_of(const wire::StartT& start);

}  // namespace muster::actors::testing
