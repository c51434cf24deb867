#include "storage/base/log_frame.hpp"

namespace muster {

namespace {

void put_le(std::string& to, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
}

std::uint64_t get_le(std::string_view from, std::size_t at, int bytes) {
  std::uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; --i)
    value = value << 8 | static_cast<unsigned char>(from[at + static_cast<std::size_t>(i)]);
  return value;
}

}  // namespace

void append_log_header(std::string& to, const LogFrame& frame) {
  put_le(to, static_cast<std::uint64_t>(frame.type), 1);
  put_le(to, frame.step, 1);
  put_le(to, 0, 2);
  put_le(to, frame.bytes.size(), 4);
  put_le(to, static_cast<std::uint64_t>(frame.at.unix_ms), 8);
}

void append_log_frame(std::string& to, const LogFrame& frame) {
  append_log_header(to, frame);
  to.append(frame.bytes);
}

Result<LogHeader> read_log_header(std::string_view stream) {
  const auto type = get_le(stream, 0, 1);
  const auto length = get_le(stream, 4, 4);
  if (type < 1 || type > 5 || get_le(stream, 2, 2) != 0 || length > kMaxLogFrame)
    return fail(Errc::corrupt, "this is not a log frame");
  return LogHeader{static_cast<LogType>(type), static_cast<std::uint8_t>(get_le(stream, 1, 1)),
                   static_cast<std::size_t>(length), {static_cast<std::int64_t>(get_le(stream, 8, 8))}};
}

Result<bool> take_log_frame(std::string_view& stream, LogFrame& frame) {
  if (stream.size() < kLogHeaderBytes) return false;
  const auto header = read_log_header(stream);
  if (!header) return tl::unexpected(header.error());
  if (stream.size() < kLogHeaderBytes + header->length) return false;
  frame = {header->type, header->step, header->at, stream.substr(kLogHeaderBytes, header->length)};
  stream.remove_prefix(kLogHeaderBytes + header->length);
  return true;
}

}  // namespace muster
