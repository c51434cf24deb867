// A sandbox that runs until told, and commands beside its step.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "sandboxd/exec.hpp"
#include "tests/integration/sandbox_fixture.hpp"

namespace muster::sandbox::test {

/// The agent waits for OUT/go, after having run `first`.
class WaitingSandbox {
 public:
  explicit WaitingSandbox(Sandboxes& sandboxes, const std::string& first = "",
                          const std::function<void(wire::SandboxSpecT&)>& change = {})
      : sandboxes_(sandboxes) {
    auto spec = sandboxes.spec(
        first + "touch $MUSTER_OUTPUT/here; until [ -e $MUSTER_OUTPUT/go ]; do sleep 0.02; done");
    if (change) change(spec);
    id = sandbox_id(spec.run, spec.attempt);
    runs_ = std::thread([this, spec = std::move(spec)] { report = sandboxes_.run(spec); });
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!fs::exists(output() / "here") && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    REQUIRE(fs::exists(output() / "here"));
  }
  ~WaitingSandbox() { finish(); }

  /// The step ends.
  void finish() {
    if (!runs_.joinable()) return;
    std::ofstream(output() / "go").close();
    runs_.join();
  }
  [[nodiscard]] fs::path output() const {
    return Places(sandboxes_.host().config.paths, id).out() / "output";
  }

  std::string id;
  wire::AttemptReportT report;

 private:
  Sandboxes& sandboxes_;
  std::thread runs_;
};

/// One command and all that it said. Credit is given back as its output comes, unless told
/// otherwise.
class Command {
 public:
  Command(Sandboxes& sandboxes, ExecRequest request, std::uint64_t credit = kExecWindow,
          bool more = true) {
    const HostConfig& config = sandboxes.host().config;
    ExecEvents events;
    events.credit = [this](std::uint64_t granted) { change([&] { may_send += granted; }); };
    events.output = [this, more](std::uint8_t stream, const std::string& bytes) {
      change([&] { (stream == 1 ? out : err) += bytes; });
      if (more) give(bytes.size());
    };
    events.ended = [this](ExecOutcome how) { change([&] { outcome = std::move(how); }); };
    exec_ = std::make_unique<Exec>(ExecTools{config.paths, config.runtime, config.muster_init},
                                   std::move(request), std::move(events));
    {
      const std::lock_guard lock(mutex_);
      made_ = true;
    }
    exec_->credit(credit);
  }
  ~Command() { exec_.reset(); }

  Exec& exec() { return *exec_; }
  template <class Predicate>
  void wait(Predicate predicate) {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, std::chrono::seconds(60), predicate);
    INFO("out: " << out << "\nerr: " << err);
    REQUIRE(came);
  }
  /// "0", "143/15 timed_out": exit code, signal, reason.
  std::string end() {
    wait([this] { return outcome.has_value(); });
    return std::to_string(outcome->exit_code) +
           (outcome->signal != 0 ? "/" + std::to_string(outcome->signal) : "") +
           (outcome->reason.empty() ? "" : " " + outcome->reason);
  }
  void wait_started() {
    wait([this] { return may_send > 0 || outcome.has_value(); });
  }
  /// As soon as it may be sent.
  void send(std::string_view bytes, bool eof) {
    wait([&] { return may_send >= bytes.size(); });
    {
      const std::lock_guard lock(mutex_);
      may_send -= bytes.size();
    }
    REQUIRE(exec_->input(bytes, eof));
  }

  // Under the lock, or after end().
  std::string out, err;
  std::uint64_t may_send = 0;
  std::optional<ExecOutcome> outcome;

 private:
  template <class Change>
  void change(Change apply) {
    {
      const std::lock_guard lock(mutex_);
      apply();
    }
    changed_.notify_all();
  }
  void give(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    if (made_) exec_->credit(bytes);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool made_ = false;
  std::unique_ptr<Exec> exec_;
};

inline ExecRequest request_for(const WaitingSandbox& sandbox, const std::string& script) {
  ExecRequest request;
  request.sandbox = sandbox.id;
  request.argv = {"bash", "-c", script};
  return request;
}

}  // namespace muster::sandbox::test
