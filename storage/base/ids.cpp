#include "storage/base/ids.hpp"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <stdexcept>

namespace muster {

std::string sha256_raw(std::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string to_hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto value = static_cast<unsigned char>(c);
    text.push_back(kDigits[value >> 4]);
    text.push_back(kDigits[value & 15]);
  }
  return text;
}

std::string sha256_hex(std::string_view bytes) { return to_hex(sha256_raw(bytes)); }

bool is_sha256_hex(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string crockford_base32(std::string_view bytes, std::size_t length) {
  constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  std::string text;
  for (std::size_t bit = 0; text.size() < length && bit + 5 <= bytes.size() * 8; bit += 5) {
    unsigned value = static_cast<unsigned>(static_cast<unsigned char>(bytes[bit / 8])) << 8;
    if (bit / 8 + 1 < bytes.size()) value |= static_cast<unsigned char>(bytes[bit / 8 + 1]);
    text.push_back(kAlphabet[value >> (11 - bit % 8) & 31]);
  }
  return text;
}

std::string run_id(std::string_view fleet, std::string_view canonical_url,
                   std::uint32_t generation) {
  std::string input;
  input.append(fleet).push_back('\0');
  input.append(canonical_url).push_back('\0');
  input += std::to_string(generation);
  return crockford_base32(sha256_raw(input), 13);
}

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1)
    throw std::runtime_error("the system has no random bytes");
  return bytes;
}

std::string new_uuid_v7(Instant now) {
  std::string bytes = random_bytes(16);
  for (std::size_t i = 0; i < 6; ++i)
    bytes[i] = static_cast<char>(now.unix_ms >> (40 - 8 * static_cast<int>(i)) & 0xff);
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x70);
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);
  std::string text = to_hex(bytes);
  for (const std::size_t dash : {8u, 13u, 18u, 23u}) text.insert(dash, 1, '-');
  return text;
}

Result<Instant> uuid_v7_time(std::string_view uuid) {
  const auto wrong = [&] {
    return fail(Errc::invalid, "not a UUID of version 7: \"" + std::string(uuid) + "\"");
  };
  if (uuid.size() != 36 || uuid[14] != '7' ||
      std::string_view("89abAB").find(uuid[19]) == std::string_view::npos)
    return wrong();
  std::int64_t ms = 0;
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (uuid[i] == '-')) return wrong();
    if (dash) continue;
    if (std::isxdigit(static_cast<unsigned char>(uuid[i])) == 0) return wrong();
    if (i < 13) ms = ms * 16 + std::stoi(std::string(1, uuid[i]), nullptr, 16);
  }
  return Instant{ms};
}

bool constant_time_equal(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace muster
