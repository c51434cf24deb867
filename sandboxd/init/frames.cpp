#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "sandboxd/init/init.hpp"

namespace muster::sandbox::init {

std::int64_t unix_ms() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

void emit(LogType type, std::uint8_t step, std::string_view bytes) {
  static std::string buffer;  // kept: one allocation for the whole life
  buffer.clear();
  append_log_frame(buffer, {type, step, {unix_ms()}, bytes});
  std::string_view rest = buffer;
  while (!rest.empty()) {
    const ssize_t n = write(STDOUT_FILENO, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) _exit(121);  // the log is gone, and with it every reason to go on
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
}

namespace {
std::int64_t left = -1;  // of the limit; -1: there is none
bool full = false;
}  // namespace

void limit_log(std::int64_t bytes) { left = bytes > 0 ? bytes : -1; }

bool log_is_full() { return full; }

void emit_output(LogType type, std::uint8_t step, std::string_view bytes) {
  while (!bytes.empty() && !full) {
    const std::string_view piece = bytes.substr(0, kMaxLogFrame);
    bytes.remove_prefix(piece.size());
    if (left >= 0) {
      left -= static_cast<std::int64_t>(piece.size() + kLogHeaderBytes);
      full = left < 0;
    }
    if (!full) {
      emit(type, step, piece);
    } else {
      emit(LogType::note, step, "the log has reached its limit; what came after is not kept");
    }
  }
}

std::string quoted(std::string_view text) {
  static const char* const kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.append({'\\', c});
    } else if (byte < 0x20) {
      out.append("\\u00").append({kHex[byte >> 4], kHex[byte & 15]});
    } else {
      out.push_back(c);
    }
  }
  return out.append("\"");
}

}  // namespace muster::sandbox::init
