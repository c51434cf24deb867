#include "storage/audit/chain.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/audit/chain_files.hpp"
#include "storage/base/ids.hpp"

namespace muster::storage {
namespace {

namespace fs = std::filesystem;

Result<void> write_all(int fd, std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return fail_errno("writing the audit log", errno);
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
    offset += static_cast<std::uint64_t>(wrote);
  }
  if (::fdatasync(fd) != 0) return fail_errno("syncing the audit log", errno);
  return {};
}

/// SHA-256 of what comes in pieces.
class RunningDigest {
 public:
  RunningDigest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
  }
  void add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string hex() {
    constexpr std::size_t kBytes = 32;
    std::string raw(kBytes, '\0');
    EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(raw.data()), nullptr);
    return to_hex(raw);
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

std::string audit_hash(const AuditHead& before, std::string_view payload) {
  return sha256_hex(before.hash + "\n" + std::to_string(before.number + 1) + "\n" +
                    std::string(payload));
}

std::string export_line(const AuditEntry& entry) {
  return std::to_string(entry.number) + " " + std::string(entry.hash) + " " +
         std::string(entry.payload) + "\n";
}

AuditChain::AuditChain(fs::path directory, std::uint64_t segment_bytes)
    : directory_(std::move(directory)), segment_bytes_(segment_bytes) {}

Result<std::unique_ptr<AuditChain>> AuditChain::open(const fs::path& directory,
                                                     std::uint64_t segment_bytes) {
  if (auto made = make_directory(directory, 0700); !made)
    return tl::unexpected<Error>(made.error());
  std::unique_ptr<AuditChain> chain(new AuditChain(directory, segment_bytes));
  auto lock = chain->lock();
  if (!lock) return tl::unexpected<Error>(lock.error());
  if (auto done = chain->finish_pruning(); !done) return tl::unexpected<Error>(done.error());
  if (auto done = chain->catch_up(); !done) return tl::unexpected<Error>(done.error());
  return chain;
}

Result<Fd> AuditChain::lock() const {
  const fs::path path = directory_ / "lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return fail_errno("open " + path.string(), errno);
  // Held for one append, by processes of one owner: waiting is short.
  while (::flock(fd.get(), LOCK_EX) != 0)
    if (errno != EINTR) return fail_errno("lock " + path.string(), errno);
  return fd;
}

Result<void> AuditChain::catch_up() {
  const auto all = audit::segments(directory_);
  if (!all) return tl::unexpected<Error>(all.error());
  if (all->empty()) {
    // Everything may have been pruned: the numbers go on.
    const auto line = audit::checkpoint_line(directory_);
    if (!line) return tl::unexpected<Error>(line.error());
    head_ = {};
    if (*line) {
      const auto checkpoint = audit::parse_checkpoint(**line);
      if (!checkpoint) return tl::unexpected<Error>(checkpoint.error());
      head_ = checkpoint->checkpoint.head;
    }
    segment_ = 0;
    return {};
  }
  const audit::Segment& newest = all->back();
  if (segment_ != newest.first) {
    file_ = Fd(::open(newest.path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!file_.valid()) return fail_errno("open " + newest.path.string(), errno);
    segment_ = newest.first;
    size_ = 0;
  }
  Result<void> sound{};
  const auto read = audit::read_lines(newest.path, size_, [&](std::string_view line, bool whole) {
    if (!whole) return false;  // Torn by a crash: nobody was told that it is there.
    if (size_ == 0) {
      auto before = audit::parse_header(line);
      if (!before || before->number + 1 != newest.first) {
        sound = fail(Errc::corrupt, newest.path.string() + " does not begin as it should");
        return false;
      }
      head_ = std::move(*before);
    } else {
      const auto entry = audit::parse_entry(line);
      if (!entry) {
        sound = fail(Errc::corrupt, "an entry after number " + std::to_string(head_.number) +
                                        " of the audit log can't be read");
        return false;
      }
      head_ = {entry->number, std::string(entry->hash)};
    }
    size_ += line.size() + 1;
    return true;
  });
  if (!read) return read;
  if (!sound) return sound;
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) return fail_errno("the audit log", errno);
  if (static_cast<std::uint64_t>(status.st_size) == size_) return {};
  if (::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0)
    return fail_errno("cutting a torn line off the audit log", errno);
  if (size_ > 0) return {};
  // Not even its header arrived: the segment before is the newest.
  fs::remove(newest.path);
  segment_ = 0;
  file_.reset();
  return catch_up();
}

Result<void> AuditChain::begin_segment() {
  const fs::path path = audit::segment_path(directory_, head_.number + 1);
  file_ = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file_.valid()) return fail_errno("open " + path.string(), errno);
  const std::string header = audit::segment_header(head_);
  if (auto written = write_all(file_.get(), header, 0); !written) return written;
  segment_ = head_.number + 1;
  size_ = header.size();
  return sync_directory(directory_);
}

Result<AuditHead> AuditChain::append(const std::vector<std::string>& payloads) {
  for (const std::string& payload : payloads)
    if (payload.size() > kMaxAuditPayload || payload.find('\n') != std::string::npos)
      return fail(Errc::invalid, "an audit entry is one line of at most 64 KiB");
  const std::lock_guard guard(mutex_);
  const auto held = lock();
  if (!held) return tl::unexpected<Error>(held.error());
  if (auto done = catch_up(); !done) return tl::unexpected<Error>(done.error());
  if (payloads.empty()) return head_;
  if (segment_ == 0 || size_ >= segment_bytes_)
    if (auto begun = begin_segment(); !begun) return tl::unexpected<Error>(begun.error());
  AuditHead head = head_;
  std::string lines;
  for (const std::string& payload : payloads) {
    head = {head.number + 1, audit_hash(head, payload)};
    lines += export_line({head.number, head.hash, payload});
  }
  if (auto written = write_all(file_.get(), lines, size_); !written) {
    // Whether they are there is not known: the next append reads what is.
    segment_ = 0;
    return tl::unexpected<Error>(written.error());
  }
  size_ += lines.size();
  head_ = head;
  return head_;
}

Result<AuditHead> AuditChain::head() {
  return append({});
}

Result<void> AuditChain::read(std::uint64_t after,
                              const std::function<bool(const AuditEntry&)>& each) const {
  const auto all = audit::segments(directory_);
  if (!all) return tl::unexpected<Error>(all.error());
  bool more = true;
  for (std::size_t i = 0; i < all->size() && more; ++i) {
    if (i + 1 < all->size() && (*all)[i + 1].first <= after + 1) continue;
    bool header = true;
    Result<void> sound{};
    const auto read = audit::read_lines((*all)[i].path, 0, [&](std::string_view line, bool whole) {
      if (!whole) return false;
      if (std::exchange(header, false)) return true;
      const auto entry = audit::parse_entry(line);
      if (!entry) {
        sound = fail(Errc::corrupt, "an entry of " + (*all)[i].path.string() + " can't be read");
        return false;
      }
      if (entry->number > after) more = each(*entry);
      return more;
    });
    if (!read) return read;
    if (!sound) return sound;
  }
  return {};
}

Result<AuditCheckpoint> AuditChain::prune(std::uint64_t upto, const std::string& export_sha256,
                                          const SigningKey& key, Instant now) {
  AuditCheckpoint checkpoint;
  checkpoint.at = now;
  checkpoint.export_sha256 = export_sha256;
  RunningDigest digest;
  // The export is read again, so that what goes is what was exported.
  const auto scanned = read(0, [&](const AuditEntry& entry) {
    if (entry.number > upto) return false;
    checkpoint.head = {entry.number, std::string(entry.hash)};
    digest.add(export_line(entry));
    return true;
  });
  if (!scanned) return tl::unexpected<Error>(scanned.error());
  if (checkpoint.head.number != upto || upto == 0)
    return fail(Errc::not_found, "the audit log holds no entry " + std::to_string(upto));
  if (digest.hex() != export_sha256)
    return fail(Errc::conflict, "what was exported is not what the audit log holds up to entry " +
                                    std::to_string(upto));
  const std::string text = audit::checkpoint_text(checkpoint);
  const auto signature = key.sign(text);
  if (!signature) return tl::unexpected<Error>(signature.error());
  const std::lock_guard guard(mutex_);
  const auto held = lock();
  if (!held) return tl::unexpected<Error>(held.error());
  if (auto done = catch_up(); !done) return tl::unexpected<Error>(done.error());
  // The newest file is closed, so that it can go too.
  if (head_.number == upto && segment_ != 0)
    if (auto begun = begin_segment(); !begun) return tl::unexpected<Error>(begun.error());
  const std::string line = text + " " + *signature + "\n";
  if (auto written = write_file_durably(directory_ / "checkpoint", line, 0600); !written)
    return tl::unexpected<Error>(written.error());
  if (auto done = finish_pruning(); !done) return tl::unexpected<Error>(done.error());
  return checkpoint;
}

/// Removes the files that hold nothing beyond the checkpoint; also after a crash in between.
Result<void> AuditChain::finish_pruning() {
  const auto line = audit::checkpoint_line(directory_);
  if (!line) return tl::unexpected<Error>(line.error());
  if (!*line) return {};
  const auto checkpoint = audit::parse_checkpoint(**line);
  if (!checkpoint) return tl::unexpected<Error>(checkpoint.error());
  const auto all = audit::segments(directory_);
  if (!all) return tl::unexpected<Error>(all.error());
  for (std::size_t i = 0; i + 1 < all->size(); ++i) {
    if ((*all)[i + 1].first > checkpoint->checkpoint.head.number + 1) break;
    std::error_code error;
    fs::remove((*all)[i].path, error);
    if (error)
      return fail(Errc::io, "removing " + (*all)[i].path.string() + ": " + error.message());
  }
  return sync_directory(directory_);
}

}  // namespace muster::storage
