// Commands in running sandboxes, as the engine calls them (storage/schema/wire.fbs, ExecOpen):
// numbers them, finds the host's session, and brings what the host says of a command to whoever
// began it. Nothing is durable here: a command ends with its host's session.
//
// Any thread may call. What a sink is told comes on the link's threads and must not block; its last
// word is ended(), which comes once, unless abandon() came before.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "storage/link/link.hpp"
#include "storage/schema/wire_generated.h"

namespace muster::actors {

/// Bytes under way in one direction of one command.
constexpr std::uint64_t kExecWindow = 64u << 10;
/// Of all hosts.
constexpr std::size_t kMaxExecCalls = 256;

struct ExecSink {
  std::function<void(std::uint64_t more)>
      credit;  ///< So much more input may be sent; the first: it runs.
  std::function<void(std::uint8_t stream, std::string bytes)> output;  ///< Give credit back for it.
  std::function<void(wire::ExecEndT end)> ended;
};

/// Where a command is to run.
struct ExecPlace {
  std::string host, run;
  std::uint32_t attempt = 0;
};

/// What the API needs of it.
class ExecPort {
 public:
  virtual ~ExecPort() = default;
  /// Grants the host kExecWindow of output. Errc::unreachable when the host has no session, refused
  /// when it knows no commands, overloaded when too many run.
  virtual Result<std::uint64_t> open(const ExecPlace& place, wire::ExecOpenT open,
                                     std::shared_ptr<ExecSink> sink) = 0;
  virtual Result<void> input(std::uint64_t exec, wire::ExecInputT input) = 0;
  virtual void credit(std::uint64_t exec, std::uint64_t more) = 0;
  /// Kills it; nothing more is heard of it.
  virtual void abandon(std::uint64_t exec) = 0;
};

class ExecCalls final : public ExecPort {
 public:
  Result<std::uint64_t> open(const ExecPlace& place, wire::ExecOpenT open,
                             std::shared_ptr<ExecSink> sink) override;
  Result<void> input(std::uint64_t exec, wire::ExecInputT input) override;
  void credit(std::uint64_t exec, std::uint64_t more) override;
  void abandon(std::uint64_t exec) override;

  // From Hosts.
  /// That session's host said Hello, and can run so many in one sandbox.
  void said_hello(const std::shared_ptr<storage::Session>& session, std::uint32_t max_execs);
  void welcomed(const std::shared_ptr<storage::Session>& session);
  /// Ends what ran there.
  void closed(const storage::Session& session);
  /// True for the frames that this takes.
  static bool takes(wire::Body body);
  void frame(const storage::Session& session, const wire::Frame& frame);

 private:
  struct Line {
    std::shared_ptr<storage::Session> session;
    std::uint32_t max_execs = 0;
    bool welcomed = false;
  };
  struct Call {
    std::shared_ptr<storage::Session> session;
    ExecPlace place;
    std::shared_ptr<ExecSink> sink;
    std::uint64_t granted = 0;  ///< Output that it may send yet.
  };

  template <class Body>
  Result<void> send(std::uint64_t exec, Body body);

  std::mutex mutex_;
  std::map<std::string, Line> lines_;  ///< By host.
  std::map<std::uint64_t, Call> calls_;
  std::uint64_t last_ = 0;
};

}  // namespace muster::actors
