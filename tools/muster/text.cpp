#include "tools/muster/text.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace muster::cli {
namespace {

/// One code point off the front of `text`; -1 for an invalid byte, which is taken alone.
long take_code_point(std::string_view& text, std::string_view& bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead < 0x80                   ? 1
                             : lead >= 0xC2 && lead < 0xE0 ? 2
                             : (lead & 0xF0) == 0xE0       ? 3
                             : lead >= 0xF0 && lead < 0xF5 ? 4
                                                           : 0;
  bool valid = length != 0 && length <= text.size();
  long code = length <= 1 ? lead : lead & (0xFF >> (length + 1));
  for (std::size_t i = 1; valid && i < length; ++i) {
    valid = (byte(i) & 0xC0) == 0x80;
    code = (code << 6) | (byte(i) & 0x3F);
  }
  if (length == 3 && (code < 0x800 || (code >= 0xD800 && code <= 0xDFFF))) valid = false;
  if (length == 4 && (code < 0x10000 || code > 0x10FFFF)) valid = false;
  bytes = text.substr(0, valid ? length : 1);
  text.remove_prefix(bytes.size());
  return valid ? code : -1;
}

bool reorders_text(long code) {
  return (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069) ||
         code == 0x200E || code == 0x200F;
}

/// The length of a colour sequence ("[1;31m", after its ESC) at the front; 0 when it is none.
std::size_t colour_length(std::string_view text) {
  if (text.empty() || text.front() != '[') return 0;
  const std::size_t end = text.find_first_not_of("0123456789;", 1);
  return end != std::string_view::npos && end <= 32 && text[end] == 'm' ? end + 1 : 0;
}

std::string escaped(long code, std::string_view bytes) {
  std::array<char, 24> out{};  // A long in hexadecimal fits.
  if (code > 0xFF)
    std::snprintf(out.data(), out.size(), "\\u%04lx", code);
  else
    std::snprintf(out.data(), out.size(), "\\x%02x",
                  static_cast<unsigned>(code < 0 ? static_cast<unsigned char>(bytes[0]) : code));
  return out.data();
}

}  // namespace

std::string safe_text(std::string_view text, bool colours) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    std::string_view bytes;
    const long code = take_code_point(text, bytes);
    if (code == 0x1B && colours) {
      const std::size_t length = colour_length(text);
      if (length != 0) {
        out.append("\x1b").append(text.substr(0, length));
        text.remove_prefix(length);
        continue;
      }
    }
    if (code == '\r' && text.starts_with("\n")) continue;
    const bool control =
        code < 0 || (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7F && code < 0xA0);
    if (control || reorders_text(code))
      out += escaped(code, bytes);
    else
      out += bytes;
  }
  return out;
}

std::string safe_line(std::string_view text) {
  std::string out = safe_text(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return out;
}

std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string cut(std::string_view text, std::size_t width) {
  if (columns(text) <= width) return std::string(text);
  if (width == 0) return "";
  std::size_t at = 0;
  for (std::size_t taken = 0; at < text.size(); ++at)
    if ((static_cast<unsigned char>(text[at]) & 0xC0) != 0x80 && taken++ == width - 1) break;
  return std::string(text.substr(0, at)) + "…";
}

std::string cut_coloured(std::string_view text, std::size_t width) {
  std::string plain, out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b')
      i += colour_length(text.substr(i + 1));
    else
      plain += text[i];
  }
  if (columns(plain) <= width) return std::string(text);
  std::size_t taken = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      const std::size_t length = colour_length(text.substr(i + 1));
      out += text.substr(i, length + 1);
      i += length;
    } else if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) {
      if (taken < width) out += text[i];
    } else if (++taken < width) {
      out += text[i];
    } else if (taken == width) {
      out += "…";
    }
  }
  return out;
}

std::string padded(std::string text, std::size_t width, bool right) {
  const std::size_t have = columns(text);
  if (have >= width) return text;
  const std::string blanks(width - have, ' ');
  return right ? blanks + text : text + blanks;
}

std::string human_duration(Duration d) {
  const std::int64_t ms = std::max<std::int64_t>(d.count(), 0);
  const std::int64_t s = ms / 1000;
  std::array<char, 32> out{};
  const auto print = [&](const char* format, auto... args) {
    std::snprintf(out.data(), out.size(), format, args...);
    return std::string(out.data());
  };
  if (ms < 1000) return print("%ldms", static_cast<long>(ms));
  if (s < 60) return print("%ld.%lds", static_cast<long>(s), static_cast<long>(ms % 1000 / 100));
  if (s < 3600) return print("%ldm%02lds", static_cast<long>(s / 60), static_cast<long>(s % 60));
  if (s < 86400)
    return print("%ldh%02ldm", static_cast<long>(s / 3600), static_cast<long>(s % 3600 / 60));
  return print("%ldd%02ldh", static_cast<long>(s / 86400), static_cast<long>(s % 86400 / 3600));
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  double amount = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (amount >= 1024 && unit + 1 < kUnits.size()) {
    amount /= 1024;
    ++unit;
  }
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), unit == 0 ? "%.0f %s" : "%.1f %s", amount, kUnits[unit]);
  return out.data();
}

std::string human_count(std::uint64_t n) {
  std::string out = std::to_string(n);
  for (std::size_t at = out.size(); at > 3; at -= 3) out.insert(at - 3, ",");
  return out;
}

std::string plural(std::uint64_t n, std::string_view one, std::string_view many) {
  const std::string other = many.empty() ? std::string(one) + "s" : std::string(many);
  return human_count(n) + " " + (n == 1 ? std::string(one) : other);
}

std::string_view last_lines(std::string_view text, std::size_t count) {
  while (text.ends_with("\n")) text.remove_suffix(1);
  std::size_t at = text.size();
  for (; count > 0 && at != std::string_view::npos && at > 0; --count)
    at = text.rfind('\n', at - 1);
  return at == std::string_view::npos || at == 0 ? text : text.substr(at + 1);
}

std::string shell_quoted(const std::string& word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("_./+-@%,:=").find(c) != std::string_view::npos;
  });
  if (plain) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace muster::cli
