#include "storage/audit/chain_files.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "storage/base/ids.hpp"

namespace muster::storage::audit {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".audit";
constexpr std::string_view kMagic = "MUSTER-AUDIT 1 ";
constexpr std::string_view kCheckpoint = "CHECKPOINT ";
constexpr std::size_t kDigits = 20;
constexpr std::size_t kMaxLine = kMaxAuditPayload + 256;

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

/// Takes the word before the next blank off the front.
std::string_view take_word(std::string_view& line) {
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(std::min(word.size() + 1, line.size()));
  return word;
}

}  // namespace

fs::path segment_path(const fs::path& directory, std::uint64_t first) {
  const std::string digits = std::to_string(first);
  return directory / (std::string(kDigits - digits.size(), '0') + digits + std::string(kSuffix));
}

Result<std::vector<Segment>> segments(const fs::path& directory) {
  std::vector<Segment> all;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename();
    if (name.size() != kDigits + kSuffix.size() || !name.ends_with(kSuffix)) continue;
    if (const auto first = number_of(std::string_view(name).substr(0, kDigits)))
      all.push_back({entry.path(), *first});
  }
  if (error) return fail(Errc::io, "reading " + directory.string() + ": " + error.message());
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return all;
}

std::string segment_header(const AuditHead& head) {
  return std::string(kMagic) + std::to_string(head.number + 1) + " " + head.hash + "\n";
}

Result<AuditHead> parse_header(std::string_view line) {
  const auto wrong = [] { return fail(Errc::corrupt, "not the beginning of an audit file"); };
  if (!line.starts_with(kMagic)) return wrong();
  line.remove_prefix(kMagic.size());
  const auto first = number_of(take_word(line));
  if (!first || *first == 0 || !is_sha256_hex(line)) return wrong();
  return AuditHead{*first - 1, std::string(line)};
}

std::optional<AuditEntry> parse_entry(std::string_view line) {
  const auto number = number_of(take_word(line));
  const std::string_view hash = take_word(line);
  if (!number || !is_sha256_hex(hash)) return std::nullopt;
  return AuditEntry{*number, hash, line};
}

Result<void> read_lines(const fs::path& path, std::uint64_t offset, const LineVisitor& each) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return fail_errno("open " + path.string(), errno);
  std::string pending;
  std::string chunk(256u << 10, '\0');
  for (;;) {
    const ssize_t got = ::pread(file.get(), chunk.data(), chunk.size(), static_cast<off_t>(offset));
    if (got < 0) return fail_errno("read " + path.string(), errno);
    if (got == 0) break;
    offset += static_cast<std::uint64_t>(got);
    pending.append(chunk, 0, static_cast<std::size_t>(got));
    std::size_t begin = 0;
    for (std::size_t end; (end = pending.find('\n', begin)) != std::string::npos; begin = end + 1)
      if (!each(std::string_view(pending).substr(begin, end - begin), true)) return {};
    pending.erase(0, begin);
    if (pending.size() > kMaxLine)
      return fail(Errc::corrupt, path.string() + " has a line longer than any entry");
  }
  if (!pending.empty()) each(pending, false);
  return {};
}

Result<std::optional<std::string>> checkpoint_line(const fs::path& directory) {
  const fs::path path = directory / "checkpoint";
  std::error_code error;
  if (!fs::exists(path, error)) return std::optional<std::string>{};
  auto text = read_file(path, kMaxLine);
  if (!text) return tl::unexpected<Error>(text.error());
  if (text->ends_with('\n')) text->pop_back();
  return std::optional<std::string>{std::move(*text)};
}

std::string checkpoint_text(const AuditCheckpoint& checkpoint) {
  return std::string(kCheckpoint) + std::to_string(checkpoint.head.number) + " " +
         checkpoint.head.hash + " " + std::to_string(checkpoint.at.unix_ms) + " " +
         checkpoint.export_sha256;
}

Result<SignedCheckpoint> parse_checkpoint(std::string_view line) {
  const auto wrong = [] { return fail(Errc::corrupt, "the audit log's checkpoint can't be read"); };
  const std::size_t blank = line.rfind(' ');
  if (!line.starts_with(kCheckpoint) || blank == std::string_view::npos) return wrong();
  SignedCheckpoint read;
  read.text = std::string(line.substr(0, blank));
  read.signature = std::string(line.substr(blank + 1));
  line = std::string_view(read.text).substr(kCheckpoint.size());
  const auto number = number_of(take_word(line));
  const std::string_view hash = take_word(line);
  const auto at = number_of(take_word(line));
  if (!number || !at || !is_sha256_hex(hash) || !is_sha256_hex(line)) return wrong();
  read.checkpoint = {
      {*number, std::string(hash)}, {static_cast<std::int64_t>(*at)}, std::string(line)};
  return read;
}

}  // namespace muster::storage::audit
