// Times, durations, ids, repository names and log frames: text and bytes from outside.
#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "storage/base/ids.hpp"
#include "storage/base/log_frame.hpp"
#include "storage/base/packing.hpp"
#include "storage/base/time.hpp"

using namespace muster;

TEST_CASE("durations are one number and one unit") {
  const auto ms = [](const std::string& text) { return parse_duration(text).value().count(); };
  CHECK(ms("250ms") == 250);
  CHECK(ms("90s") == 90'000);
  CHECK(ms("20m") == 1'200'000);
  CHECK(ms("24h") == 86'400'000);
  CHECK(ms("7d") == 604'800'000);
  CHECK(ms("0s") == 0);
  CHECK(ms("007s") == 7'000);
  for (const std::string& text :
       {std::string(), std::string("s"), std::string("5"), std::string("-5s"), std::string("+5s"),
        std::string("1.5h"), std::string("5 s"), std::string(" 5s"), std::string("5s "),
        std::string("1h30m"), std::string("5S"), std::string("5w"), std::string("9999999999999s"),
        std::string("999999999999d0"), std::string("5s\0", 3), std::string("0x5s")}) {
    INFO("\"" << text << "\"");
    const auto parsed = parse_duration(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == Errc::invalid);
  }
}

TEST_CASE("durations print in the shortest exact form, and read back") {
  const auto text = [](std::int64_t ms) { return to_string(Duration{ms}); };
  CHECK(text(0) == "0s");
  CHECK(text(1) == "1ms");
  CHECK(text(1500) == "1500ms");
  CHECK(text(90'000) == "90s");
  CHECK(text(1'200'000) == "20m");
  CHECK(text(86'400'000) == "1d");
  CHECK(text(90'000'000) == "25h");
  for (const std::int64_t ms : {0, 1, 999, 1000, 60'000, 61'000, 3'600'000, 172'800'000})
    CHECK(parse_duration(text(ms)).value().count() == ms);
}

TEST_CASE("RFC 3339 times are UTC with milliseconds, and read back") {
  CHECK(to_rfc3339({0}) == "1970-01-01T00:00:00.000Z");
  CHECK(to_rfc3339({-1}) == "1969-12-31T23:59:59.999Z");
  CHECK(to_rfc3339({1'709'164'800'007}) == "2024-02-29T00:00:00.007Z");
  for (const std::int64_t ms : {0LL, -1LL, -1000LL, 1'709'164'800'007LL, 253'402'300'799'999LL})
    CHECK(parse_rfc3339(to_rfc3339({ms})).value().unix_ms == ms);
  CHECK(parse_rfc3339("2026-11-22T15:04:05Z").value().unix_ms % 1000 == 0);
  CHECK(parse_rfc3339("2026-11-22T15:04:05.5Z").value().unix_ms % 1000 == 500);
  CHECK(parse_rfc3339("2026-11-22T15:04:05.123456789Z").value().unix_ms % 1000 == 123);
  CHECK(parse_rfc3339("2026-11-22T15:04:05Z").value() > Instant{1'700'000'000'000});
}

TEST_CASE("what is no RFC 3339 time in UTC is refused") {
  for (const std::string& text :
       {std::string(), std::string("now"), std::string("2026-11-22"),
        std::string("2026-11-22T15:04:05"), std::string("2026-11-22T15:04:05+01:00"),
        std::string("2026-11-22T15:04:05.Z"), std::string("2026-11-22T15:04:05ZZ"),
        std::string("2026-13-22T15:04:05Z"), std::string("2026-02-30T15:04:05Z"),
        std::string("2026-11-22T25:04:05Z"), std::string(" 2026-11-22T15:04:05Z"),
        std::string("2026-11-22 15:04:05Z"), std::string("2026-11-22T15:04:05Z\0x", 22),
        std::string("26-11-22T15:04:05Z"), std::string("2026-1-2T15:04:05Z")}) {
    INFO("\"" << text << "\"");
    const auto parsed = parse_rfc3339(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == Errc::invalid);
  }
}

TEST_CASE("digests and encodings equal those of other programs") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(to_hex(sha256_raw("abc")) == sha256_hex("abc"));
  CHECK(is_sha256_hex(sha256_hex("")));
  CHECK_FALSE(is_sha256_hex("abc"));
  CHECK_FALSE(is_sha256_hex(std::string(64, 'G')));
  CHECK_FALSE(is_sha256_hex(std::string(64, 'A')));
  CHECK(crockford_base32(std::string("\0\0\0\0\0", 5), 8) == "00000000");
  CHECK(crockford_base32("\xff\xff\xff\xff\xff", 8) == "ZZZZZZZZ");
  CHECK(crockford_base32("\x08\x42\x10\x84\x21", 8) == "11111111");
  CHECK(crockford_base32("foobar", 4) == "CSQP");
  CHECK(constant_time_equal("secret", "secret"));
  CHECK_FALSE(constant_time_equal("secret", "secreT"));
  CHECK_FALSE(constant_time_equal("secret", "secre"));
}

TEST_CASE("a run's id depends on each of its parts and on their borders") {
  const std::string id = run_id("fleet", "https://host/a/b", 1);
  CHECK(id.size() == 13);
  CHECK(id == run_id("fleet", "https://host/a/b", 1));
  const std::set<std::string> all{id, run_id("fleet", "https://host/a/b", 2),
                                  run_id("fleet2", "https://host/a/b", 1),
                                  run_id("fleeth", "ttps://host/a/b", 1),
                                  run_id("fleet", "https://host/a/b1", 1)};
  CHECK(all.size() == 5);
}

TEST_CASE("a UUIDv7 bears its time and is never the same") {
  const Instant now{1'763'823'845'678};
  const std::string uuid = new_uuid_v7(now);
  CHECK(uuid_v7_time(uuid).value() == now);
  CHECK(uuid != new_uuid_v7(now));
  CHECK(new_uuid_v7(now) < new_uuid_v7(now + Duration{1}));
  for (const std::string& text :
       {std::string(), std::string("x"), uuid + "0", uuid.substr(1), std::string(36, '7'),
        std::string("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        uuid.substr(0, 8) + "x" + uuid.substr(9)}) {
    INFO(text);
    CHECK(uuid_v7_time(text).error().code == Errc::invalid);
  }
}

TEST_CASE("spellings of one repository have one canonical URL") {
  const auto canonical = [](const std::string& text) {
    const auto parsed = parse_repository(text, "/work");
    INFO(text);
    REQUIRE(parsed);
    return parsed->canonical_url + " " + parsed->owner_name;
  };
  const std::string https = "https://git.acme.dev/acme/api acme/api";
  CHECK(canonical("https://git.acme.dev/acme/api.git") == https);
  CHECK(canonical("https://git.acme.dev/acme/api") == https);
  CHECK(canonical("https://git.acme.dev/acme/api.git/") == https);
  CHECK(canonical("HTTPS://GIT.acme.dev:443/acme/api") == https);
  CHECK(canonical("https://git.acme.dev:8443/acme/api") ==
        "https://git.acme.dev:8443/acme/api acme/api");
  const std::string ssh = "ssh://git.acme.dev/acme/api acme/api";
  CHECK(canonical("git@git.acme.dev:acme/api.git") == ssh);
  CHECK(canonical("ssh://git@git.acme.dev/acme/api.git") == ssh);
  CHECK(canonical("ssh://git.acme.dev:22/acme/api") == ssh);
  const std::string path = "/nowhere/git/acme/api.git acme/api";
  CHECK(canonical("/nowhere/git/acme/api.git") == path);
  CHECK(canonical("/nowhere/git/acme/api.git/") == path);
  CHECK(canonical("/nowhere/git/./x/../acme/api.git") == path);
  CHECK(canonical("file:///nowhere/git/acme/api.git") == path);
  CHECK(parse_repository("sub/api", "/nowhere")->canonical_url == "/nowhere/sub/api");
  CHECK(parse_repository("git@git.acme.dev:acme/api.git", "/")->fetch_url ==
        "git@git.acme.dev:acme/api.git");
}

TEST_CASE("hostile repositories are refused, and no credential is repeated in the error") {
  for (const std::string& text :
       {std::string(), std::string("--upload-pack=evil"), std::string("ext::sh -c evil"),
        std::string("https://user:hunter2@host/a/b"), std::string("https://hunter2@host/a/b"),
        std::string("https://host"), std::string("https:///a/b"), std::string("ssh://-oProxy/a/b"),
        std::string("ftp://host/a/b"), std::string("a\nb"), std::string("a\0b", 3),
        std::string(5000, 'a')}) {
    INFO(text.substr(0, 100));
    const auto parsed = parse_repository(text, "/work");
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == Errc::invalid);
    CHECK(parsed.error().message.find("hunter2") == std::string::npos);
  }
}

TEST_CASE("log frames come out as they went in, however the stream is cut") {
  std::string stream;
  append_log_frame(stream, {LogType::step_begin, 0, Instant{1}, "agent"});
  append_log_frame(stream, {LogType::out, 255, Instant{-5}, ""});
  append_log_frame(stream, {LogType::err, 3, Instant{1LL << 50}, std::string_view("a\0b", 3)});
  CHECK(stream.size() == 3 * kLogHeaderBytes + 5 + 3);
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    std::string_view rest = std::string_view(stream).substr(0, cut);
    std::string text;
    LogFrame frame;
    while (take_log_frame(rest, frame).value())
      text += std::to_string(static_cast<int>(frame.type)) + "." + std::to_string(frame.step) +
              "." + std::to_string(frame.at.unix_ms) + "." + std::to_string(frame.bytes.size()) +
              " ";
    const std::string whole = "3.0.1.5 1.255.-5.0 2.3.1125899906842624.3 ";
    CHECK(whole.starts_with(text));
    if (cut == stream.size()) CHECK(text == whole);
  }
}

TEST_CASE("a piece of a log is packed and unpacked; what was not packed so is refused") {
  std::string text;
  while (text.size() < kMaxPacked) text += "line " + std::to_string(text.size()) + "\n";
  text.resize(kMaxPacked);
  for (const std::size_t size : {std::size_t{1}, kMinPacked, kMaxPacked}) {
    const std::string frame(pack(text.substr(0, size)).value());
    CHECK(packed_length(frame) == size);
    CHECK((unpack(frame).value() == text.substr(0, size)));
    CHECK(unpack(frame.substr(0, frame.size() - 1)).error().code == Errc::corrupt);
    CHECK(unpack(frame + "x").error().code == Errc::corrupt);
    CHECK(unpack(frame + frame).error().code == Errc::corrupt);
    std::string spoiled = frame;
    spoiled.back() = static_cast<char>(spoiled.back() ^ 1);  // of the checksum
    CHECK(unpack(spoiled).error().code == Errc::corrupt);
  }
  CHECK(pack(text).value().size() < text.size() / 2);
  for (const std::string& other : {std::string(), std::string("text"), std::string(100, '\0')}) {
    CHECK(packed_length(other) == 0);
    CHECK(unpack(other).error().code == Errc::corrupt);
  }
  // A frame with a thousand empty blocks before its last one.
  std::string padded("\x28\xb5\x2f\xfd\x20\x01", 6);
  for (int i = 0; i < 1'000; ++i) padded.append(3, '\0');
  padded.append("\x09\0\0x", 4);
  CHECK(packed_length(padded) == 1);
  CHECK(unpack(padded).error().code == Errc::corrupt);
  CHECK(unpack(padded.substr(0, 6) + padded.substr(3'006)).value() == "x");
  CHECK(pack(text + "x").error().code == Errc::invalid);
  CHECK(pack("").error().code == Errc::invalid);
}

TEST_CASE("what can't be a log frame is corrupt, also before it is whole") {
  const auto code = [](std::string bytes) {
    bytes.resize(kLogHeaderBytes);
    std::string_view rest = bytes;
    LogFrame frame;
    const auto taken = take_log_frame(rest, frame);
    CHECK(rest.size() == bytes.size());
    return taken ? std::string("wait") : std::string(to_string(taken.error().code));
  };
  CHECK(code(std::string("\1\0\0\0\0\0\1\0", 8)) == "wait");   // 64 KiB
  CHECK(code(std::string("\1\0\0\0\1\0\1\0", 8)) == "corrupt");  // one more
  CHECK(code(std::string("\1\0\0\0\0\0\0\xff", 8)) == "corrupt");
  CHECK(code(std::string("\0\0\0\0\1\0\0\0", 8)) == "corrupt");
  CHECK(code(std::string("\6\0\0\0\1\0\0\0", 8)) == "corrupt");
  CHECK(code(std::string("\1\0\1\0\1\0\0\0", 8)) == "corrupt");
}
