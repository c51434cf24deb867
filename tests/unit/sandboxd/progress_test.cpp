#include "sandboxd/progress.hpp"

#include <catch2/catch.hpp>

#include "sandboxd/init/plan_format.hpp"
#include "tests/unit/sandboxd/a_spec.hpp"

namespace muster::sandbox::test {

namespace {

std::string frame(LogType type, std::uint8_t step, std::string_view bytes) {
  std::string text;
  append_log_frame(text, {type, step, {1000}, bytes});
  return text;
}

std::string ended(std::uint8_t step, int code, const std::string& reason = "", const std::string& more = "") {
  return frame(LogType::step_end, step,
               R"({"exit_code":)" + std::to_string(code) + R"(,"signal":0,"reason":")" + reason +
                   R"(","started_ms":1,"ended_ms":2)" + more + "}");
}

std::string story(const Progress& progress) {
  std::string text;
  for (const auto& step : progress.steps())
    text += step.name + "=" + std::to_string(step.exit_code) + (step.reason.empty() ? "" : "/" + step.reason) +
            (step.ended_unix_ms == 0 ? " running" : "") + "[" + step.tail + "]";
  return text;
}

wire::SandboxSpecT two_steps() {
  auto spec = a_spec();
  add_step(spec, "verify:a", "true");
  return spec;
}

}  // namespace

TEST_CASE("progress follows the frames, however they are cut") {
  const std::string log = ended(kCheckoutStep, 0) + frame(LogType::step_begin, 0, "agent") +
                          frame(LogType::out, 0, "hello\n") + frame(LogType::err, 0, "world\n") + ended(0, 0) +
                          ended(kCommitStep, 0, "", R"(,"head":"abc","pack":"c.1/pack")") +
                          frame(LogType::step_begin, 1, "verify:a") + frame(LogType::out, 1, "no\n") + ended(1, 3);
  for (const std::size_t cut : {1ul, 7ul, 10'000ul}) {
    Progress progress(two_steps());
    for (std::size_t at = 0; at < log.size(); at += cut)
      REQUIRE(progress.feed(std::string_view(log).substr(at, cut)));
    CHECK(story(progress) == "agent=0[hello\nworld]verify:a=3[no]");
    CHECK(progress.stage() == Progress::Stage::verifying);
    CHECK(progress.checked_out());
    CHECK(progress.committed());
    CHECK(progress.head() == "abc");
    CHECK(progress.pack() == "c.1/pack");
    CHECK(progress.bytes() == log.size());
  }
}

TEST_CASE("a checkpoint comes beside a step, and is none of its words") {
  Progress progress(two_steps());
  const auto at = [](const std::string& head) { return R"(,"head":")" + head + R"(","pack":"k.1/pack-)" + head + "\""; };
  REQUIRE(progress.feed(ended(kCheckoutStep, 0) + frame(LogType::step_begin, 0, "agent") + frame(LogType::out, 0, "a\n") +
                        ended(kCheckpointStep, 0, "", at("1")) + frame(LogType::out, 0, "b\n")));
  CHECK(progress.checkpoint_head() == "1");
  REQUIRE(progress.feed(ended(kCheckpointStep, 0, "", at("2")) + ended(0, 3)));
  CHECK(progress.checkpoint_head() == "2");
  CHECK(progress.checkpoint_pack() == "k.1/pack-2");
  CHECK(story(progress) == "agent=3[a\nb]");
  CHECK(progress.head().empty());
}

TEST_CASE("a skipped step never began, an open one is closed with the host's reason") {
  Progress progress(two_steps());
  REQUIRE(progress.feed(frame(LogType::step_begin, 0, "agent") + frame(LogType::out, 0, "words")));
  CHECK(story(progress) == "agent=-1 running[]");
  CHECK(progress.stage() == Progress::Stage::running);
  progress.close_open_step("disk_full", 9);
  CHECK(story(progress) == "agent=-1/disk_full[words]");
  Progress other(two_steps());
  REQUIRE(other.feed(ended(1, -1, "skipped")));
  CHECK(story(other) == "verify:a=-1/skipped[]");
}

TEST_CASE("a failed commit and a failed checkout keep what git said") {
  Progress progress(two_steps());
  REQUIRE(progress.feed(frame(LogType::err, kCheckoutStep, "fatal: x\n") + ended(kCheckoutStep, 128)));
  CHECK_FALSE(progress.checked_out());
  CHECK(progress.trouble() == "fatal: x");
  REQUIRE(progress.feed(frame(LogType::err, kCommitStep, "fatal: y\n") + ended(kCommitStep, 128)));
  CHECK(progress.commit_tried());
  CHECK_FALSE(progress.committed());
  CHECK(progress.trouble() == "fatal: y");
}

TEST_CASE("frames that muster-init can't have written are refused, strange ones are passed over") {
  Progress progress(two_steps());
  REQUIRE(progress.feed(frame(LogType::step_begin, 77, "x") + frame(LogType::step_end, 0, "not json")));
  CHECK(story(progress).empty());
  CHECK_FALSE(progress.feed(std::string(64, 'x')));
}

TEST_CASE("last lines are bounded in lines and bytes, and valid text") {
  CHECK(last_lines("a\nb\nc\n", 2, 100) == "b\nc");
  CHECK(last_lines("a\nb\nc", 20, 100) == "a\nb\nc");
  CHECK(last_lines("", 20, 100).empty());
  CHECK(last_lines("\n\n", 20, 100).empty());
  CHECK(last_lines(std::string(1000, 'x'), 20, 10) == std::string(10, 'x'));
  CHECK(last_lines("\xff\xfe", 1, 100) == "\xEF\xBF\xBD\xEF\xBF\xBD");
  CHECK(last_lines(std::string(1000, '\xff'), 20, 100).size() <= 100);
  CHECK(valid_utf8("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80") == "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
  CHECK(valid_utf8("\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80").find('\xc0') == std::string::npos);
}

}  // namespace muster::sandbox::test
