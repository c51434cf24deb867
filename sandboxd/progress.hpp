// What the log says of an attempt so far: steps begun and ended, the last lines of each. Pure: bytes in, facts out;
// feeding the same log again after a restart gives the same facts.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "sandboxd/spec.hpp"
#include "storage/base/log_frame.hpp"

namespace muster::sandbox {

class Progress {
 public:
  /// `more`: names of the environment's setup steps, which are numbered after the spec's own.
  explicit Progress(const wire::SandboxSpecT& spec, const std::vector<std::string>& more = {});

  /// The next bytes of the log. Errc::corrupt when they can't be muster-init's.
  Result<void> feed(std::string_view stream);

  enum class Stage { preparing, running, verifying };
  [[nodiscard]] Stage stage() const { return stage_; }
  [[nodiscard]] bool checked_out() const { return checked_out_; }
  /// What git said when the checkout failed.
  [[nodiscard]] const std::string& trouble() const { return trouble_; }
  /// The steps that ended or began, in order; one that has begun and not ended has ended_unix_ms 0.
  [[nodiscard]] const std::vector<wire::StepReportT>& steps() const { return steps_; }

  /// The setup is over, and muster-init waits to be let go on.
  [[nodiscard]] bool held() const { return held_; }
  [[nodiscard]] bool tracked_unchanged() const { return tracked_unchanged_; }  ///< By the setup.
  [[nodiscard]] bool committed() const { return committed_; }  ///< The commit action ended well.
  [[nodiscard]] bool commit_tried() const { return commit_tried_; }
  /// The pack passed its limit (SIGXFSZ).
  [[nodiscard]] bool pack_too_large() const { return pack_too_large_; }
  [[nodiscard]] const std::string& head() const { return head_; }  ///< Empty: nothing to commit.
  [[nodiscard]] const std::string& pack() const { return pack_; }  ///< Relative to the out directory.
  /// The newest checkpoint, named as head() and pack() are.
  [[nodiscard]] const std::string& checkpoint_head() const { return checkpoint_head_; }
  [[nodiscard]] const std::string& checkpoint_pack() const { return checkpoint_pack_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  /// The last lines of the step that has not ended, for a report of an attempt that broke off.
  void close_open_step(std::string_view reason, std::int64_t at_unix_ms);

 private:
  void take(const LogFrame& frame);
  void begin(const LogFrame& frame);
  void end(const LogFrame& frame);
  void end_commit(const LogFrame& frame);
  void remember(std::string_view text);

  std::vector<std::string> names_;
  std::string partial_;
  std::string tail_;
  std::vector<wire::StepReportT> steps_;
  Stage stage_ = Stage::preparing;
  bool checked_out_ = false;
  bool held_ = false;
  bool tracked_unchanged_ = false;
  bool committed_ = false;
  bool commit_tried_ = false;
  bool pack_too_large_ = false;
  std::string head_, pack_, trouble_;
  std::string checkpoint_head_, checkpoint_pack_;
  std::uint64_t bytes_ = 0;
};

/// The last `lines` lines of `text`, at most `bytes` bytes, valid UTF-8 (what is not becomes U+FFFD).
std::string last_lines(std::string_view text, std::size_t lines, std::size_t bytes);
/// Replaces what is not UTF-8: FlatBuffers strings and JSON want nothing else.
std::string valid_utf8(std::string_view text);

}  // namespace muster::sandbox
