#include "sandboxd/steering.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "sandboxd/progress.hpp"
#include "storage/base/files.hpp"

namespace muster::sandbox {

namespace fs = std::filesystem;

namespace {

fs::path kept_path(const Places& places) { return places.kept / "steering"; }

std::string steer_line(const wire::SteerMessageT& message) {
  const nlohmann::ordered_json line = {{"number", message.number},
                                       {"by", valid_utf8(message.by)},
                                       {"text", valid_utf8(message.text)},
                                       {"at_unix_ms", message.at_unix_ms}};
  return line.dump() + "\n";
}

/// Behind the last line's.
std::uint32_t next_number(const std::string& kept) {
  if (kept.size() < 2) return 0;
  const std::size_t before = kept.rfind('\n', kept.size() - 2);
  const auto last = nlohmann::json::parse(kept.substr(before == std::string::npos ? 0 : before + 1), nullptr, false);
  return last.is_object() ? last.value("number", 0U) + 1 : 0;
}

}  // namespace

std::string kept_messages(const Places& places) {
  return read_file(kept_path(places), kMaxSteerBytes).value_or("");
}

Result<std::uint32_t> keep_messages(const Places& places, const SteerMessages& messages) {
  auto kept = read_file(kept_path(places), kMaxSteerBytes);
  if (!kept && kept.error().code != Errc::not_found) return tl::unexpected(kept.error());
  std::string text = std::move(kept).value_or("");
  const std::size_t before = text.size();
  std::uint32_t next = next_number(text);
  for (const auto& message : messages) {
    if (!message || message->number < next) continue;
    text += steer_line(*message);
    next = message->number + 1;
  }
  if (text.size() == before) return next;
  if (text.size() > kMaxSteerBytes)
    return fail(Errc::overloaded, places.id + " was told more than " + std::to_string(kMaxSteerBytes) + " bytes");
  if (auto written = write_file_durably(kept_path(places), text, 0600); !written) return tl::unexpected(written.error());
  return next;
}

Result<void> show_messages(const Places& places) {
  const std::string kept = kept_messages(places);
  const std::string path = places.steering().string();
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd.valid()) {
    if (errno == ENOENT) return fail(Errc::not_found, places.id + " is not made yet");
    return fail_errno("open " + path, errno);
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || ::fchmod(fd.get(), 0644) != 0) return fail_errno("look at " + path, errno);
  for (auto shown = static_cast<std::size_t>(info.st_size); shown < kept.size();) {
    const ssize_t n = ::write(fd.get(), kept.data() + shown, kept.size() - shown);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail_errno("write " + path, errno);
    shown += static_cast<std::size_t>(n);
  }
  return {};
}

}  // namespace muster::sandbox
