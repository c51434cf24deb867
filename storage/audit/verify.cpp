#include "storage/audit/verify.hpp"

#include <algorithm>

#include "storage/audit/chain_files.hpp"

namespace muster::storage {
namespace {

namespace fs = std::filesystem;

class Verifier {
 public:
  explicit Verifier(const VerifyingKey& key) : key_(key) {}

  Result<void> take_checkpoint(const fs::path& directory);
  Result<void> take_heads(const fs::path& file);
  Result<void> directory(const fs::path& directory);
  Result<void> exported(const fs::path& file);
  /// `to_the_end`: an export may stop anywhere, the log may not.
  AuditReport finish(bool to_the_end);

 private:
  void find(std::string what) {
    if (report_.findings.size() < kMaxAuditFindings) report_.findings.push_back(std::move(what));
  }
  void begin(const AuditHead& before, const std::string& where);
  void segment_begins(std::string_view line, const audit::Segment& segment, bool first);
  void entry(std::string_view line);
  void compare(const AuditHead& head);

  const VerifyingKey& key_;
  AuditReport report_;
  std::vector<SignedHead> heads_;  ///< With a good signature, by number.
  std::size_t next_head_ = 0;
  AuditHead at_;
};

Result<void> Verifier::take_checkpoint(const fs::path& directory) {
  const auto line = audit::checkpoint_line(directory);
  if (!line) return tl::unexpected<Error>(line.error());
  if (!*line) return {};
  const auto checkpoint = audit::parse_checkpoint(**line);
  if (!checkpoint) {
    find(checkpoint.error().message);
  } else if (!key_.fits(checkpoint->text, checkpoint->signature)) {
    find("the signature of the checkpoint at entry " +
         std::to_string(checkpoint->checkpoint.head.number) + " does not fit");
  } else {
    report_.checkpoint = checkpoint->checkpoint;
  }
  return {};
}

Result<void> Verifier::take_heads(const fs::path& file) {
  auto heads = read_heads(file);
  if (!heads) return tl::unexpected<Error>(heads.error());
  std::size_t line = 0;
  for (SignedHead& head : *heads) {
    ++line;
    if (head.text.empty() || !key_.fits(head.text, head.signature)) {
      find("line " + std::to_string(line) + " of " + file.string() +
           " is no signed head, or its signature does not fit");
    } else {
      heads_.push_back(std::move(head));
    }
  }
  report_.signed_heads = heads_.size();
  std::stable_sort(heads_.begin(), heads_.end(), [](const SignedHead& a, const SignedHead& b) {
    return a.head.number < b.head.number;
  });
  if (!heads_.empty()) report_.newest_signed = heads_.back();
  return {};
}

/// What the signatures say of the entry that the chain has just reached.
void Verifier::compare(const AuditHead& head) {
  const auto differs = [&](const AuditHead& signed_head, const std::string& what) {
    if (signed_head.hash != head.hash)
      find("entry " + std::to_string(head.number) + " is not the one that " + what +
           ": the log was rewritten");
  };
  for (; next_head_ < heads_.size() && heads_[next_head_].head.number <= head.number; ++next_head_)
    if (heads_[next_head_].head.number == head.number)
      differs(heads_[next_head_].head, "was signed at " + to_rfc3339(heads_[next_head_].at));
  if (report_.checkpoint && report_.checkpoint->head.number == head.number)
    differs(report_.checkpoint->head, "the checkpoint names");
}

void Verifier::begin(const AuditHead& before, const std::string& where) {
  at_ = before;
  if (before.number == 0) {
    if (before.hash != AuditHead{}.hash) find(where + " begins with another hash than the first");
    return;
  }
  if (!report_.checkpoint || report_.checkpoint->head.number < before.number)
    find("the log begins at entry " + std::to_string(before.number + 1) +
         ", and no checkpoint says that what was before was exported: entries were removed");
  compare(before);
}

void Verifier::segment_begins(std::string_view line, const audit::Segment& segment, bool first) {
  const std::string name = segment.path.filename();
  const auto before = audit::parse_header(line);
  if (!before) return find(name + ": " + before.error().message);
  if (before->number + 1 != segment.first) find(name + " holds other entries than its name says");
  if (first) return begin(*before, name);
  if (*before == at_) return;
  find(name + " begins after entry " + std::to_string(before->number) +
       ", and the file before it ends at " + std::to_string(at_.number) +
       ": entries were removed, or files changed places");
  at_ = *before;
}

void Verifier::entry(std::string_view line) {
  const auto read = audit::parse_entry(line);
  if (!read) return find("what stands after entry " + std::to_string(at_.number) + " is no entry");
  if (read->number != at_.number + 1)
    find("after entry " + std::to_string(at_.number) + " comes " + std::to_string(read->number) +
         ": entries were removed or changed places");
  const AuditHead before{read->number - 1, at_.hash};
  if (audit_hash(before, read->payload) != read->hash)
    find("entry " + std::to_string(read->number) +
         " does not fit its hash and the entry before it: one of the two was changed");
  at_ = {read->number, std::string(read->hash)};
  ++report_.entries;
  if (report_.first == 0) report_.first = read->number;
  compare(at_);
}

Result<void> Verifier::directory(const fs::path& directory) {
  const auto all = audit::segments(directory);
  if (!all) return tl::unexpected<Error>(all.error());
  for (std::size_t i = 0; i < all->size(); ++i) {
    bool header = true;
    const auto read = audit::read_lines((*all)[i].path, 0, [&](std::string_view line, bool whole) {
      if (!whole) {
        report_.torn = i + 1 == all->size();
        if (!report_.torn) find((*all)[i].path.filename().string() + " was cut off");
      } else if (std::exchange(header, false)) {
        segment_begins(line, (*all)[i], i == 0);
      } else {
        entry(line);
      }
      return whole;
    });
    // A line that is too long, or a file that can't be read, is a finding too: the rest is still
    // looked at.
    if (!read) find(read.error().message);
    if (header && !report_.torn) find((*all)[i].path.filename().string() + " is empty");
  }
  if (all->empty() && report_.checkpoint) at_ = report_.checkpoint->head;
  return {};
}

Result<void> Verifier::exported(const fs::path& file) {
  bool first = true;
  return audit::read_lines(file, 0, [&](std::string_view line, bool whole) {
    const auto read = audit::parse_entry(line);
    if (!whole) {
      report_.torn = true;
    } else if (std::exchange(first, false) && read && read->number > 1) {
      // What was before it is elsewhere: its own hash is taken as given, and checked by a signed
      // head only.
      at_ = {read->number, std::string(read->hash)};
      report_.first = read->number;
      report_.entries = 1;
      compare(at_);
    } else {
      entry(line);
    }
    return whole;
  });
}

AuditReport Verifier::finish(bool to_the_end) {
  report_.head = at_;
  if (!to_the_end) return std::move(report_);
  if (next_head_ < heads_.size()) {
    const SignedHead& newest = heads_.back();
    find("entry " + std::to_string(newest.head.number) + " was signed at " + to_rfc3339(newest.at) +
         ", and the log ends at " + std::to_string(at_.number) + ": its end was removed");
  }
  if (report_.checkpoint && report_.checkpoint->head.number > at_.number)
    find("the checkpoint names entry " + std::to_string(report_.checkpoint->head.number) +
         ", and the log ends at " + std::to_string(at_.number) + ": its end was removed");
  return std::move(report_);
}

}  // namespace

Result<AuditReport> verify_audit(const fs::path& directory, const fs::path& heads,
                                 const VerifyingKey& key) {
  Verifier verifier(key);
  // The heads first: an entry that is appended meanwhile is not missed then.
  if (auto done = verifier.take_heads(heads); !done) return tl::unexpected<Error>(done.error());
  if (auto done = verifier.take_checkpoint(directory); !done)
    return tl::unexpected<Error>(done.error());
  if (auto done = verifier.directory(directory); !done) return tl::unexpected<Error>(done.error());
  return verifier.finish(true);
}

Result<AuditReport> verify_audit_export(const fs::path& file, const fs::path& heads,
                                        const VerifyingKey& key) {
  Verifier verifier(key);
  if (auto done = verifier.take_heads(heads); !done) return tl::unexpected<Error>(done.error());
  if (auto done = verifier.exported(file); !done) return tl::unexpected<Error>(done.error());
  return verifier.finish(false);
}

}  // namespace muster::storage
