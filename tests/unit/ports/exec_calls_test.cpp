// Commands in sandboxes, the engine's end: which host may say what of which command, and what ends
// one.
#include "actors/ports/exec_calls.hpp"

#include <catch2/catch.hpp>

namespace muster::actors {
namespace {

using storage::Stream;

/// Remembers what was sent, until it is full.
class FakeSession final : public storage::Session {
 public:
  explicit FakeSession(std::string peer) : peer_(std::move(peer)) {}
  [[nodiscard]] const std::string& peer() const override { return peer_; }
  Result<void> send(Stream stream, std::string frame) override {
    if (full) return fail(Errc::overloaded, "full");
    CHECK(stream == Stream::logs);
    const auto opened = storage::open_frame(frame);
    REQUIRE(opened);
    sent += std::string(sent.empty() ? "" : " ") + wire::EnumNameBody((*opened)->body_type());
    return {};
  }
  void close(std::string_view) override {}
  [[nodiscard]] std::size_t queued_bytes(Stream) const override { return 0; }
  void hold(Stream) override {}
  void release(Stream) override {}

  std::string sent;
  bool full = false;

 private:
  std::string peer_;
};

struct Heard {
  std::string text;
  std::shared_ptr<ExecSink> sink = std::make_shared<ExecSink>();
  Heard() {
    sink->credit = [this](std::uint64_t more) { text += "credit " + std::to_string(more) + "\n"; };
    sink->output = [this](std::uint8_t stream, const std::string& bytes) {
      text += std::to_string(stream) + " " + bytes + "\n";
    };
    sink->ended = [this](const wire::ExecEndT& end) {
      text += "end " + std::to_string(end.exit_code) + " " + end.reason + "\n";
    };
  }
};

wire::ExecOpenT command() {
  wire::ExecOpenT open;
  open.argv = {"true"};
  return open;
}

template <class Body>
void say(ExecCalls& calls, const storage::Session& session, Body body) {
  wire::FrameT frame;
  frame.body.Set(std::move(body));
  const std::string bytes = storage::encode_frame(frame);
  calls.frame(session, *wire::GetFrame(bytes.data()));
}

void say_output(ExecCalls& calls, const storage::Session& session, std::uint64_t exec,
                const std::string& text) {
  wire::ExecOutputT output;
  output.exec = exec;
  output.stream = 1;
  output.bytes.assign(text.begin(), text.end());
  say(calls, session, std::move(output));
}

const ExecPlace kPlace{"host-a", "0123456789ABC", 1};

}  // namespace

TEST_CASE("a command needs a host that was welcomed and knows of commands") {
  ExecCalls calls;
  Heard heard;
  CHECK(calls.open(kPlace, command(), heard.sink).error().code == Errc::unreachable);
  const auto session = std::make_shared<FakeSession>("host-a");
  calls.said_hello(session, 0);
  CHECK(calls.open(kPlace, command(), heard.sink).error().code == Errc::unreachable);
  calls.welcomed(session);
  CHECK(calls.open(kPlace, command(), heard.sink).error().code == Errc::refused);
  CHECK(session->sent.empty());
  calls.said_hello(session, 16);
  calls.welcomed(session);
  session->full = true;
  CHECK(calls.open(kPlace, command(), heard.sink).error().code == Errc::overloaded);
  session->full = false;
  REQUIRE(calls.open(kPlace, command(), heard.sink));
  CHECK(session->sent == "ExecOpen ExecCredit");
  CHECK(heard.text.empty());
}

TEST_CASE("a host speaks of its own commands only, and an end is the last word") {
  ExecCalls calls;
  Heard heard;
  const auto own = std::make_shared<FakeSession>("host-a"),
             other = std::make_shared<FakeSession>("host-b");
  for (const auto& session : {own, other}) {
    calls.said_hello(session, 16);
    calls.welcomed(session);
  }
  const auto exec = calls.open(kPlace, command(), heard.sink);
  REQUIRE(exec);
  wire::ExecEndT end;
  end.exec = *exec;
  end.exit_code = 3;
  say_output(calls, *other, *exec, "forged");
  say(calls, *other, end);
  say_output(calls, *own, *exec + 1, "unknown");
  say_output(calls, *own, *exec, "hello");
  say(calls, *own, end);
  say_output(calls, *own, *exec, "late");
  say(calls, *own, end);
  calls.closed(*own);
  CHECK(heard.text == "1 hello\nend 3 \n");
  CHECK(calls.input(*exec, {}).error().code == Errc::not_found);
}

TEST_CASE("the end of a session ends its commands, once; nothing is heard of an abandoned one") {
  ExecCalls calls;
  Heard first, second;
  const auto session = std::make_shared<FakeSession>("host-a");
  calls.said_hello(session, 16);
  calls.welcomed(session);
  REQUIRE(calls.open(kPlace, command(), first.sink));
  const auto abandoned = calls.open(kPlace, command(), second.sink);
  REQUIRE(abandoned);
  session->sent.clear();
  calls.abandon(*abandoned);
  CHECK(session->sent == "ExecInput");
  say_output(calls, *session, *abandoned, "late");
  calls.closed(*session);
  calls.closed(*session);
  CHECK(first.text == "end -1 host_lost\n");
  CHECK(second.text.empty());
  CHECK(calls.open(kPlace, command(), first.sink).error().code == Errc::unreachable);
}

TEST_CASE("a host that sends more than it was granted is not heard further") {
  ExecCalls calls;
  Heard heard;
  const auto session = std::make_shared<FakeSession>("host-a");
  calls.said_hello(session, 16);
  calls.welcomed(session);
  const auto exec = calls.open(kPlace, command(), heard.sink);
  REQUIRE(exec);
  const std::string window(kExecWindow, 'x');
  std::size_t pieces = 0;
  heard.sink->output = [&](std::uint8_t, const std::string&) { ++pieces; };
  say_output(calls, *session, *exec, window);
  calls.credit(*exec, kExecWindow);
  for (int i = 0; i < 10; ++i) say_output(calls, *session, *exec, window);
  CHECK(pieces == 3);  // the window, what was granted, and the slack
  CHECK(heard.text == "end -1 host_overflow\n");
}

TEST_CASE("commands of all hosts together are bounded") {
  ExecCalls calls;
  Heard heard;
  const auto session = std::make_shared<FakeSession>("host-a");
  calls.said_hello(session, 16);
  calls.welcomed(session);
  for (std::size_t i = 0; i < kMaxExecCalls; ++i)
    REQUIRE(calls.open(kPlace, command(), heard.sink));
  CHECK(calls.open(kPlace, command(), heard.sink).error().code == Errc::overloaded);
}

}  // namespace muster::actors
