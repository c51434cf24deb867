#include "sandboxd/init/mask.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <random>

namespace muster::sandbox {

namespace {

Mask mask_of(const std::vector<std::string>& secrets) {
  Mask mask;
  for (const auto& secret : secrets) mask.add(secret);
  return mask;
}

/// What comes out piece by piece, pieces between bars.
std::string transcript(const Mask& mask, const std::vector<std::string>& pieces) {
  Mask::Stream stream;
  std::string text;
  for (const auto& piece : pieces) {
    mask.feed(stream, piece, text);
    text += "|";
  }
  mask.finish(stream, text);
  return text;
}

/// The same rule, the slow way: every byte that belongs to any occurrence is hidden.
std::string by_definition(const std::vector<std::string>& secrets, const std::string& text) {
  std::vector<bool> hidden(text.size());
  for (const auto& secret : secrets)
    for (std::size_t at = text.find(secret); at != std::string::npos; at = text.find(secret, at + 1))
      std::fill_n(hidden.begin() + static_cast<std::ptrdiff_t>(at), secret.size(), true);
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!hidden[i]) out.push_back(text[i]);
    else if (i == 0 || !hidden[i - 1]) out.append("***");
  }
  return out;
}

}  // namespace

TEST_CASE("a secret is hidden wherever the pieces break") {
  const Mask mask = mask_of({"s3cret"});
  CHECK(transcript(mask, {"a s3cret b"}) == "a *** b|");
  CHECK(transcript(mask, {"a s3c", "ret b"}) == "a |*** b|");
  CHECK(transcript(mask, {"s", "3", "c", "r", "e", "t"}) == "|||||***|");
  CHECK(transcript(mask, {"s3cre", "x"}) == "|s3crex|");
  CHECK(transcript(mask, {"s3cre"}) == "|s3cre");
  CHECK(transcript(mask, {"s3cs3c", "ret"}) == "s3c|***|");
  CHECK(transcript(mask, {"s3crets3cret!", "s3cret"}) == "***!|***|");
  CHECK(transcript(mask, {""}) == "|");
}

TEST_CASE("secrets that overlap or contain each other are hidden whole") {
  CHECK(transcript(mask_of({"abcd", "cdef"}), {"abcdef."}) == "***.|");
  CHECK(transcript(mask_of({"abcd", "abcdef"}), {"abcd", "ef."}) == "|***.|");
  CHECK(transcript(mask_of({"abcd", "abcdef"}), {"abcd", "e."}) == "|***e.|");
  CHECK(transcript(mask_of({"abcdef", "cd34"}), {"abcd", "34."}) == "|ab***.|");
  CHECK(transcript(mask_of({"aaaa"}), {"aaaaaaa", "b"}) == "***|b|");
}

TEST_CASE("the lines of a secret with several lines count, and its last newline does not") {
  const Mask mask = mask_of({"-----BEGIN KEY-----\nMIIBVgIBADAN\nshort\n-----END KEY-----\n"});
  CHECK(mask.masked("-----BEGIN KEY-----\nMIIBVgIBADAN\nshort\n-----END KEY-----") == "***");
  CHECK(mask.masked("key: MIIBVgIBADAN\r\nshort") == "key: ***\r\nshort");
}

TEST_CASE("too short a secret is refused, and without secrets nothing is held back") {
  Mask mask;
  CHECK_FALSE(mask.add("abc"));
  CHECK_FALSE(mask.add("ab\n\n"));
  CHECK(mask.empty());
  CHECK(transcript(mask, {"abc", "def"}) == "abc|def|");
  CHECK(mask.add("abcd"));
}

TEST_CASE("random secrets, texts and pieces: as the definition says") {
  const char* given = std::getenv("MUSTER_SEED");
  const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
  INFO("MUSTER_SEED=" << seed);
  std::mt19937 random(seed);
  const auto any = [&](std::size_t from, std::size_t to) {
    return std::uniform_int_distribution<std::size_t>(from, to)(random);
  };
  const auto word = [&](std::size_t from, std::size_t to) {
    std::string text(any(from, to), ' ');
    for (char& c : text) c = static_cast<char>('a' + any(0, 1));  // two letters: everything overlaps
    return text;
  };
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> secrets;
    for (std::size_t n = any(1, 4); n > 0; --n) secrets.push_back(word(4, 9));
    const std::string text = word(0, 60);
    const Mask mask = mask_of(secrets);
    Mask::Stream stream;
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t n = any(1, 7);
      mask.feed(stream, std::string_view(text).substr(at, n), out);
      CHECK(stream.held.size() < 9);
      at += n;
    }
    mask.finish(stream, out);
    REQUIRE(out == by_definition(secrets, text));
  }
}

}  // namespace muster::sandbox
