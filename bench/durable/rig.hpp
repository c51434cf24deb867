// An engine over RocksDB in a directory, with the kinds and ports that the shapes need.
//
//   Rig rig(scratch / "ring", limits);
//   rig.make(ids);                        // beads, durable on return
//   rig.tell(id, payload);                // any number; bounded under way
//   rig.wait_done(n);                     // until n parts have said report_done(), durably
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>

#include "bench/durable/recorder.hpp"
#include "engine/runtime/runtime.hpp"

namespace muster::bench {

engine::ActorId bead(const std::string& key);
engine::ActorId bead(std::uint64_t number);
engine::Payload init_payload();

/// A place for journals, gone with this object. On the disk of `parent`.
class Scratch {
 public:
  explicit Scratch(const std::filesystem::path& parent);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  /// A name that was not given before; nothing is there.
  std::filesystem::path fresh();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int given_ = 0;
};

class DonePort;
class HostPort;

class Rig {
 public:
  explicit Rig(const std::filesystem::path& directory, engine::EngineConfig config = {});
  ~Rig();

  engine::Engine& engine() { return *engine_; }
  Observed& observed() { return observed_; }

  /// Waits while too many are under way. What is refused as overloaded is told again.
  void tell(engine::ActorId to, engine::Payload payload);
  /// Until everything told is durable.
  void drain();
  /// Until it is stepped, too.
  void settle();
  /// The beads of these numbers.
  void make(std::uint64_t first, std::uint64_t end);
  void wait_done(std::uint64_t parts);

 private:
  using Message = std::pair<engine::ActorId, engine::Payload>;
  void post(Message message);
  bool asked_last();
  void repeat_refused(std::unique_lock<std::mutex>& lock);

  Observed observed_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t under_way_ = 0;
  std::vector<Message> refused_;
  std::shared_ptr<DonePort> done_;
  std::shared_ptr<HostPort> host_;
  std::unique_ptr<engine::Engine> engine_;
};

}  // namespace muster::bench
