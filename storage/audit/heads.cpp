#include "storage/audit/heads.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>

#include "storage/audit/chain_files.hpp"
#include "storage/base/ids.hpp"

namespace muster::storage {
namespace {

constexpr std::string_view kHead = "HEAD ";

template <class T>
std::optional<T> take_number(std::string_view& line) {
  const std::string_view word = line.substr(0, line.find(' '));
  T value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || word.empty()) return std::nullopt;
  line.remove_prefix(std::min(word.size() + 1, line.size()));
  return value;
}

}  // namespace

Result<void> append_head(const std::filesystem::path& file, const AuditHead& head,
                         const SigningKey& key, Instant now) {
  const std::string text = std::string(kHead) + std::to_string(head.number) + " " + head.hash +
                           " " + std::to_string(now.unix_ms);
  const auto signature = key.sign(text);
  if (!signature) return tl::unexpected<Error>(signature.error());
  const bool is_new = !std::filesystem::exists(file);
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return fail_errno("open " + file.string(), errno);
  // A line break first would also end a torn line, but it is one write of less than a page: whole
  // or not at all.
  const std::string line = text + " " + *signature + "\n";
  if (::write(fd.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    return fail_errno("writing " + file.string(), errno);
  if (::fsync(fd.get()) != 0) return fail_errno("syncing " + file.string(), errno);
  return is_new ? sync_directory(file.parent_path()) : Result<void>{};
}

std::optional<SignedHead> parse_head(std::string_view line) {
  const std::size_t blank = line.rfind(' ');
  if (!line.starts_with(kHead) || blank == std::string_view::npos) return std::nullopt;
  SignedHead read;
  read.text = std::string(line.substr(0, blank));
  read.signature = std::string(line.substr(blank + 1));
  std::string_view rest = std::string_view(read.text).substr(std::min(kHead.size(), blank));
  const auto number = take_number<std::uint64_t>(rest);
  constexpr std::size_t kHash = 64;
  const std::string_view hash = rest.substr(0, kHash);
  rest.remove_prefix(std::min(kHash + 1, rest.size()));
  const auto at = take_number<std::int64_t>(rest);
  if (!number || !at || !is_sha256_hex(hash)) return std::nullopt;
  read.head = {*number, std::string(hash)};
  read.at = {*at};
  return read;
}

Result<std::vector<SignedHead>> read_heads(const std::filesystem::path& file) {
  std::vector<SignedHead> heads;
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return heads;
  const auto read = audit::read_lines(file, 0, [&](std::string_view line, bool whole) {
    if (whole) heads.push_back(parse_head(line).value_or(SignedHead{}));
    return whole;
  });
  if (!read) return tl::unexpected<Error>(read.error());
  return heads;
}

}  // namespace muster::storage
