#include "tools/musterd/cursor.hpp"

namespace muster::musterd {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

}  // namespace

std::string encode_cursor(std::string_view last_key) {
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : last_key) {
    bits = (bits << 8) | static_cast<unsigned char>(c);
    for (held += 8; held >= 6; held -= 6) out += kAlphabet[(bits >> (held - 6)) & 63];
  }
  if (held > 0) out += kAlphabet[(bits << (6 - held)) & 63];
  return out;
}

Result<std::string> decode_cursor(std::string_view cursor) {
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : cursor) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return fail(Errc::invalid, "not a cursor of this API");
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      out += static_cast<char>((bits >> held) & 255);
    }
  }
  if (encode_cursor(out) != cursor) return fail(Errc::invalid, "not a cursor of this API");
  return out;
}

}  // namespace muster::musterd
