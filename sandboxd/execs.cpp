#include "sandboxd/execs.hpp"

#include <signal.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "sandboxd/spec.hpp"

namespace muster::sandbox {

namespace {

constexpr std::size_t kMaxExecArgs = 1024;
constexpr std::size_t kMaxExecVariables = 256;
constexpr std::size_t kMaxExecWords = 120u << 10;  // all of them; the kernel takes 128 KiB for one
constexpr std::size_t kMaxExecDirectory = 4096;
constexpr unsigned kMaxTerminalSide = 4096;  // of a terminal

bool is_plain_word(std::string_view text) {
  return text.find('\0') == std::string_view::npos;
}

}  // namespace

Result<ExecRequest> read_exec(const std::string& sandbox, const wire::ExecOpen& open) {
  ExecRequest request;
  request.number = open.exec();
  request.sandbox = sandbox;
  std::size_t words = 0;
  if (open.argv() == nullptr || open.argv()->size() == 0)
    return fail(Errc::invalid, "there is no command");
  if (open.argv()->size() > kMaxExecArgs)
    return fail(Errc::invalid, "the command has too many arguments");
  for (const auto* arg : *open.argv()) {
    request.argv.push_back(arg->str());
    words += arg->size();
    if (!is_plain_word(request.argv.back())) return fail(Errc::invalid, "an argument has a NUL");
  }
  if (request.argv.front().empty()) return fail(Errc::invalid, "the command has no name");
  if (open.env() != nullptr) {
    if (open.env()->size() > kMaxExecVariables)
      return fail(Errc::invalid, "there are too many variables");
    for (const auto* pair : *open.env()) {
      const std::string name = pair->key()->str(),
                        value = pair->value() != nullptr ? pair->value()->str() : "";
      if (!is_variable(name) || !is_plain_word(value))
        return fail(Errc::invalid, "env: " + name + " is not a variable");
      words += name.size() + value.size();
      request.env[name] = value;
    }
  }
  if (words > kMaxExecWords) return fail(Errc::invalid, "the command and its variables are too long");
  if (open.workdir() != nullptr) request.workdir = open.workdir()->str();
  if (request.workdir.size() > kMaxExecDirectory || !is_plain_word(request.workdir))
    return fail(Errc::invalid, "the directory is not a path");
  request.tty = open.tty();
  request.columns = std::min<unsigned>(open.columns(), kMaxTerminalSide);
  request.rows = std::min<unsigned>(open.rows(), kMaxTerminalSide);
  request.timeout_ms = std::max<std::int64_t>(open.timeout_ms(), 0);
  request.max_output_bytes = open.max_output_bytes();
  request.memory_bytes = open.memory_bytes();
  request.cpu_ms = std::max<std::int64_t>(open.cpu_ms(), 0);
  return request;
}

Execs::Execs(ExecTools tools, Loop& loop, RunningStep running_step, Say say)
    : tools_(std::move(tools)),
      loop_(loop),
      running_step_(std::move(running_step)),
      say_(std::move(say)) {}

Execs::One* Execs::find(const std::string& sandbox, std::uint64_t number) {
  for (auto& one : all_)
    if (one.heard && one.number == number && one.sandbox == sandbox) return &one;
  return nullptr;
}

Execs::One* Execs::find(std::uint64_t serial) {
  for (auto& one : all_)
    if (one.serial == serial) return &one;
  return nullptr;
}

template <class Body>
void Execs::say(One& one, Body body) {
  if (!one.heard) return;
  body.exec = one.number;
  wire::FrameT frame;
  frame.body.Set(std::move(body));
  if (say_(one.sandbox, std::move(frame))) return;
  // Bytes that were not taken would be missing in what comes later.
  one.heard = false;
  if (one.exec) one.exec->end("link_full");
}

void Execs::refuse(const std::string& sandbox, std::uint64_t number, const std::string& reason,
                   const std::string& message) {
  wire::ExecEndT end;
  end.exec = number;
  end.reason = reason;
  end.message = message;
  wire::FrameT frame;
  frame.body.Set(std::move(end));
  (void)say_(sandbox, std::move(frame));
}

void Execs::open(const std::string& sandbox, const wire::ExecOpen& open) {
  const auto request = read_exec(sandbox, open);
  if (!request) return refuse(sandbox, open.exec(), "bad_command", request.error().message);
  if (find(sandbox, open.exec()) != nullptr) return;
  const auto step = running_step_(sandbox);
  if (!step) return refuse(sandbox, open.exec(), "not_running", "no step of that sandbox runs now");
  const auto here = std::count_if(all_.begin(), all_.end(),
                                  [&](const One& one) { return one.sandbox == sandbox; });
  if (static_cast<unsigned>(here) >= kMaxExecsOfSandbox || all_.size() >= kMaxExecsOfHost)
    return refuse(sandbox, open.exec(), "too_many", "too many commands run there");
  spdlog::info("{}: a command begins, {}", sandbox, open.exec());
  One& one = all_.emplace_back();
  one.serial = ++last_serial_;
  one.number = open.exec();
  one.sandbox = sandbox;
  one.step = *step;
  one.exec = std::make_unique<Exec>(tools_, *request, events(one.serial));
}

ExecEvents Execs::events(std::uint64_t serial) {
  const auto later = [this, serial](auto act) {
    loop_.post([this, serial, act = std::move(act)]() mutable {
      if (One* one = find(serial); one != nullptr) act(*one);
    });
  };
  ExecEvents events;
  events.credit = [this, later](std::uint64_t more) {
    later([this, more](One& one) {
      wire::ExecCreditT credit;
      credit.bytes = more;
      say(one, std::move(credit));
    });
  };
  events.output = [this, later](std::uint8_t stream, std::string bytes) {
    later([this, stream, bytes = std::move(bytes)](One& one) {
      wire::ExecOutputT output;
      output.stream = stream;
      output.bytes.assign(bytes.begin(), bytes.end());
      say(one, std::move(output));
    });
  };
  events.ended = [this, later](ExecOutcome outcome) {
    later([this, outcome = std::move(outcome)](One& one) {
      spdlog::info("{}: a command ended, {}: {} {}", one.sandbox, one.number, outcome.exit_code,
                   outcome.reason);
      wire::ExecEndT end;
      end.exit_code = outcome.exit_code;
      end.signal = outcome.signal;
      end.reason = outcome.reason;
      end.message = outcome.message;
      say(one, std::move(end));
      all_.remove_if([serial = one.serial](const One& each) { return each.serial == serial; });
    });
  };
  return events;
}

void Execs::input(const std::string& sandbox, const wire::ExecInput& input) {
  One* one = find(sandbox, input.exec());
  if (one == nullptr) return;
  if (input.columns() > 0 && input.rows() > 0)
    one->exec->resize(std::min<unsigned>(input.columns(), kMaxTerminalSide),
                      std::min<unsigned>(input.rows(), kMaxTerminalSide));
  if (input.signal() > 0 && input.signal() < NSIG) one->exec->signal(input.signal());
  std::string_view bytes;
  if (input.bytes() != nullptr)
    bytes = {reinterpret_cast<const char*>(input.bytes()->data()), input.bytes()->size()};
  if (!one->exec->input(bytes, input.eof())) one->exec->end("input_overflow");
}

void Execs::credit(const std::string& sandbox, const wire::ExecCredit& credit) {
  if (One* one = find(sandbox, credit.exec()); one != nullptr) one->exec->credit(credit.bytes());
}

void Execs::end_session() {
  for (auto& one : all_) {
    one.heard = false;
    one.exec->end("session_ended");
  }
}

void Execs::tick() {
  for (auto& one : all_)
    if (running_step_(one.sandbox) != one.step) one.exec->end("step_ended");
}

}  // namespace muster::sandbox
