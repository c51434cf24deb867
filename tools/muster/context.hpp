// What every command gets: where to write, how it looks there, and the way to musterd.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "tools/muster/client.hpp"
#include "tools/muster/render/table.hpp"

namespace muster::cli {

// Exit codes beside those of an error's kind.
inline constexpr int kExitSomeFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitTimedOut = 124;
inline constexpr int kExitDetached = 130;

/// One of the two output streams. `look.width` is 0 unless it is a terminal.
struct Stream {
  std::ostream& to;
  Look look;
  bool live = false;  ///< A terminal that moves its cursor.
};

struct Io {
  Stream out;  ///< Results.
  Stream err;  ///< Progress and problems.
  std::function<Instant()> now = wall_clock_now;
};

/// stdout and stderr of this process, with NO_COLOR, TERM and the terminal's width heeded.
Io process_io();

/// Options that every command has.
struct Globals {
  bool json = false;
  std::string root, url, ca;
};

class Context {
 public:
  Context(Io& io, Globals globals) : io_(io), globals_(std::move(globals)) {}

  /// Connects at the first use.
  Answer<Client*> client();
  [[nodiscard]] bool json() const { return globals_.json; }
  [[nodiscard]] Io& io() const { return io_; }
  [[nodiscard]] std::ostream& out() const { return io_.out.to; }
  [[nodiscard]] std::ostream& err() const { return io_.err.to; }
  [[nodiscard]] Instant now() const { return io_.now(); }
  /// The user's name, recorded as the author or the one who asked.
  [[nodiscard]] static std::string user();
  /// What to put before "muster" in a suggestion so that it reaches the same musterd: "muster
  /// --root DIR".
  [[nodiscard]] std::string program() const;

  /// Prints `error: …` and `hint: …`; the exit code.
  [[nodiscard]] int fail(const Failure& failure) const;
  [[nodiscard]] int usage(const std::string& message, const std::string& hint = "") const {
    return fail({Errc::invalid, message, hint});
  }

 private:
  Io& io_;
  Globals globals_;
  std::unique_ptr<Client> client_;
};

}  // namespace muster::cli
