#include "storage/runlog/attempt_log.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "storage/base/packing.hpp"
#include "storage/runlog/packed.hpp"

namespace muster::storage {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kOpenSuffix = ".log";
constexpr std::string_view kClosedSuffix = ".log.zst";
constexpr std::size_t kOffsetDigits = 20;
/// A segment of packed records may hold so many times its limit of the stream: their file is shorter.
constexpr std::uint64_t kPackedSegments = 4;
/// A closed segment is never larger than its bytes by more than zstd's own overhead.
constexpr std::size_t kMaxClosedFile = 64u << 20;

/// The offset in a file's name, when it is one of a segment.
std::optional<std::uint64_t> offset_in(const std::string& name, std::string_view suffix) {
  if (name.size() != kOffsetDigits + suffix.size() || !name.ends_with(suffix)) return std::nullopt;
  std::uint64_t offset = 0;
  const char* stop = name.data() + kOffsetDigits;
  const auto [rest, error] = std::from_chars(name.data(), stop, offset);
  if (error != std::errc() || rest != stop) return std::nullopt;
  return offset;
}

struct Names {
  std::vector<std::uint64_t> open;
  std::vector<std::uint64_t> closed;
};

/// The segments in the directory, sorted; what a crash left unfinished is removed.
Result<Names> list_segments(const fs::path& directory) {
  Names names;
  std::error_code error;
  for (auto it = fs::directory_iterator(directory, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (const auto first = offset_in(name, kOpenSuffix)) names.open.push_back(*first);
    if (const auto first = offset_in(name, kClosedSuffix)) names.closed.push_back(*first);
    if (name.find(".tmp.") != std::string::npos) ::unlink(it->path().c_str());
  }
  if (error && error != std::errc::no_such_file_or_directory)
    return fail_errno("list " + directory.string(), error.value());
  std::sort(names.open.begin(), names.open.end());
  std::sort(names.closed.begin(), names.closed.end());
  return names;
}

}  // namespace

fs::path AttemptLog::name(std::uint64_t first, const char* suffix) const {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%020llu%s", static_cast<unsigned long long>(first),
                suffix);
  return directory_ / text.data();
}

Result<void> AttemptLog::load() {
  if (loaded_) return {};
  auto names = list_segments(directory_);
  if (!names) return tl::unexpected(names.error());
  if (auto ok = load_closed(names->closed); !ok) return ok;
  // A crash between closing a segment and removing its open form leaves both; the closed one is complete.
  std::erase_if(names->open, [&](std::uint64_t first) {
    const bool twice = std::binary_search(names->closed.begin(), names->closed.end(), first);
    return twice && ::unlink(name(first, ".log").c_str()) == 0;
  });
  // Who wrote them may have died before it synced their names.
  unsynced_.clear();
  const std::size_t segments = closed_.size() + names->open.size();
  if (segments > 0) doubt(segments == 1);
  if (!names->open.empty()) {
    if (names->open.size() > 1 || names->open.front() != end_of_all())
      return fail(Errc::corrupt, directory_.string() + ": the segments don't follow each other");
    if (auto ok = open_segment(names->open.front()); !ok) return ok;
  }
  loaded_ = true;
  return {};
}

Result<void> AttemptLog::load_closed(const std::vector<std::uint64_t>& firsts) {
  closed_.clear();
  for (std::size_t i = 0; i < firsts.size(); ++i) {
    if (firsts[i] != end_of_all())
      return fail(Errc::corrupt, directory_.string() + ": the segments don't follow each other");
    // Only the last one has to be read for its length; the others end where the next begins.
    std::uint64_t end = i + 1 < firsts.size() ? firsts[i + 1] : 0;
    if (i + 1 == firsts.size()) {
      const auto file = read_file(name(firsts[i], ".log.zst"), kMaxClosedFile);
      if (!file) return tl::unexpected(file.error());
      const auto length = closed_length(*file);
      if (!length) return fail(length.error(), directory_.string());
      end = firsts[i] + *length;
    }
    closed_.push_back({firsts[i], end});
  }
  return {};
}

/// Callers see to unsynced_ first.
Result<void> AttemptLog::open_segment(std::uint64_t first) {
  auto segment = OpenSegment::open(name(first, ".log"), first, system_);
  if (!segment) return tl::unexpected(segment.error());
  open_.emplace(std::move(*segment));
  return {};
}

/// Before anything in a segment counts as durable its name must be. For the first one that includes the
/// directories above it (run, first 2), where they are there already: a crash may have left them created and
/// not synced. Those that are not yet there are synced as they are made.
std::vector<fs::path> AttemptLog::doubtful_names(bool first) const {
  std::vector<fs::path> names{directory_};
  if (!first) return names;
  const fs::path run = directory_.parent_path(), letters = run.parent_path();
  std::error_code ignored;
  if (fs::is_directory(directory_, ignored)) names.push_back(run);
  if (fs::is_directory(run, ignored)) names.push_back(letters);
  if (fs::is_directory(letters, ignored) && !durable_.knows(letters))
    names.push_back(letters.parent_path());
  return names;
}

void AttemptLog::doubt(bool first) {
  for (auto& each : doubtful_names(first))
    if (std::find(unsynced_.begin(), unsynced_.end(), each) == unsynced_.end())
      unsynced_.push_back(std::move(each));
}

Result<void> AttemptLog::sync_names() {
  while (!unsynced_.empty()) {
    if (auto ok = sync_directory(unsynced_.back()); !ok) return ok;
    unsynced_.pop_back();
  }
  durable_.learn(directory_.parent_path().parent_path());
  return {};
}

Result<void> AttemptLog::close_segment() {
  const std::uint64_t first = open_->first();
  if (open_->end() > first) {
    if (auto ok = open_->all_packed() ? close_by_name() : close_by_copy(); !ok) return ok;
    closed_.push_back({first, open_->end()});
  } else {
    ::unlink(open_->path().c_str());
  }
  open_.reset();
  return closed_.empty() ? Result<void>{} : sync_names();
}

/// It is what a closed segment is, but for its name.
Result<void> AttemptLog::close_by_name() {
  if (auto ok = open_->rename(name(open_->first(), ".log.zst")); !ok) return ok;
  doubt(false);
  return {};
}

Result<void> AttemptLog::close_by_copy() {
  const auto closed = open_->closed_form();
  if (!closed) return tl::unexpected(closed.error());
  if (auto ok = write_file_durably(name(open_->first(), ".log.zst"), *closed, 0640); !ok) return ok;
  std::erase(unsynced_, directory_);  // just synced
  // If this fails or is lost, the next load removes it.
  ::unlink(open_->path().c_str());
  return {};
}

bool AttemptLog::is_full(const OpenSegment& segment) const {
  return segment.file_bytes() >= limits_.segment_bytes ||
         segment.end() - segment.first() >= kPackedSegments * limits_.segment_bytes;
}

std::uint64_t AttemptLog::end_of_all() const {
  if (open_) return open_->end();
  return closed_.empty() ? 0 : closed_.back().end;
}

Result<void> AttemptLog::must_exist() const {
  if (!open_ && closed_.empty()) return fail(Errc::not_found, "no log of this attempt");
  return {};
}

Result<void> AttemptLog::append(std::uint64_t offset, std::string_view bytes, std::string_view frame) {
  const std::lock_guard lock(mutex_);
  if (auto ok = load(); !ok) return ok;
  const std::uint64_t end = end_of_all();
  if (offset > end)
    return fail(Errc::conflict,
                "the log ends at " + std::to_string(end) + ", before " + std::to_string(offset));
  if (bytes.size() <= end - offset) return {};
  bytes.remove_prefix(end - offset);
  if (end > offset || bytes.size() < kMinPacked) frame = {};  // a part of it came before, or it is not worth it
  if (bytes.size() > limits_.max_bytes_per_attempt ||
      end > limits_.max_bytes_per_attempt - bytes.size())
    return fail(Errc::overloaded, "the log would exceed its limit of " +
                                      std::to_string(limits_.max_bytes_per_attempt) + " bytes");
  if (open_ && is_full(*open_))
    if (auto ok = close_segment(); !ok) return ok;
  if (!open_) {
    // No segment may survive without the one before it.
    if (closed_.empty()) {
      unsynced_.clear();
    } else if (!unsynced_.empty()) {
      if (auto ok = sync_names(); !ok) return ok;
    }
    doubt(end == 0);
    if (auto made = make_directory(directory_, 0750); !made) return made;
    if (auto ok = open_segment(end); !ok) return ok;
  }
  return open_->append(bytes, frame);
}

Result<std::uint64_t> AttemptLog::sync() {
  const std::lock_guard lock(mutex_);
  if (auto ok = load(); !ok) return tl::unexpected(ok.error());
  if (auto ok = make_durable(); !ok) return tl::unexpected(ok.error());
  return end_of_all();
}

Result<void> AttemptLog::make_durable() {
  if (open_)
    if (auto ok = open_->sync(); !ok) return ok;
  if (!open_ && (closed_.empty() || unsynced_.empty())) return {};
  return sync_names();
}

Result<void> AttemptLog::finish() {
  const std::lock_guard lock(mutex_);
  if (auto ok = load(); !ok) return ok;
  return open_ ? close_segment() : Result<void>{};
}

Result<std::string> AttemptLog::read(std::uint64_t offset, std::size_t limit) {
  const std::lock_guard lock(mutex_);
  if (auto ok = load(); !ok) return tl::unexpected(ok.error());
  if (auto ok = must_exist(); !ok) return tl::unexpected(ok.error());
  if (open_ && offset >= open_->first()) return open_->read(offset, limit);
  const auto segment = std::find_if(closed_.begin(), closed_.end(),
                                    [&](const Closed& closed) { return offset < closed.end; });
  if (segment == closed_.end() || limit == 0) return std::string();
  auto bytes = read_closed(name(segment->first, ".log.zst"), offset - segment->first, limit);
  if (!bytes) return fail(bytes.error(), directory_.string());
  if (bytes->empty() || bytes->size() > segment->end - offset)
    return fail(Errc::corrupt, directory_.string() + ": a closed segment has another length");
  return bytes;
}

Result<std::uint64_t> AttemptLog::end() {
  const std::lock_guard lock(mutex_);
  if (auto ok = load(); !ok) return tl::unexpected(ok.error());
  if (auto ok = must_exist(); !ok) return tl::unexpected(ok.error());
  return end_of_all();
}

Result<void> AttemptLog::settle() {
  const std::lock_guard lock(mutex_);
  return make_durable();
}

Result<void> AttemptLog::rest() {
  const std::lock_guard lock(mutex_);
  if (auto ok = make_durable(); !ok) return ok;
  if (open_) open_->drop_descriptor();
  return {};
}

}  // namespace muster::storage
