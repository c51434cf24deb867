// The commands of `muster run exec` on this host: opened by the engine's frames, beside a running
// step only, bounded for each sandbox and for the host. muster-init kills them at the end of that
// step, as everything else in the sandbox; what the runtime lets in afterwards, because it was on
// its way, is killed here. Loop thread only.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "sandboxd/exec.hpp"
#include "sandboxd/loop.hpp"
#include "storage/schema/wire_generated.h"

namespace muster::sandbox {

constexpr unsigned kMaxExecsOfSandbox = 16;
constexpr unsigned kMaxExecsOfHost = 64;

class Execs {
 public:
  /// How many steps the sandbox has begun, while one runs.
  using RunningStep = std::function<std::optional<std::size_t>(const std::string& sandbox)>;
  /// False when the link does not take it.
  using Say = std::function<bool(const std::string& sandbox, wire::FrameT frame)>;

  Execs(ExecTools tools, Loop& loop, RunningStep running_step, Say say);

  void open(const std::string& sandbox, const wire::ExecOpen& open);
  void input(const std::string& sandbox, const wire::ExecInput& input);
  void credit(const std::string& sandbox, const wire::ExecCredit& credit);
  /// The session to the engine is over: they are killed, and nobody hears of it.
  void end_session();
  /// Kills those whose step is over.
  void tick();
  /// All that have not ended, with those that nobody hears of.
  [[nodiscard]] std::size_t count() const { return all_.size(); }

 private:
  struct One {
    std::uint64_t serial = 0;  ///< Ours; the engine's numbers may begin anew.
    std::uint64_t number = 0;
    std::string sandbox;
    std::size_t step = 0;
    bool heard = true;  ///< The session that opened it lives.
    std::unique_ptr<Exec> exec;
  };

  One* find(const std::string& sandbox, std::uint64_t number);
  One* find(std::uint64_t serial);
  ExecEvents events(std::uint64_t serial);
  template <class Body>
  void say(One& one, Body body);
  void refuse(const std::string& sandbox, std::uint64_t number, const std::string& reason,
              const std::string& message);

  const ExecTools tools_;
  Loop& loop_;
  const RunningStep running_step_;
  const Say say_;
  std::uint64_t last_serial_ = 0;
  std::list<One> all_;
};

/// Errc::invalid says what is wrong with it.
Result<ExecRequest> read_exec(const std::string& sandbox, const wire::ExecOpen& open);

}  // namespace muster::sandbox
