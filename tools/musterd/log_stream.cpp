#include "tools/musterd/log_stream.hpp"

#include <charconv>

#include "tools/musterd/render.hpp"
#include "tools/musterd/sse.hpp"

namespace muster::musterd {
namespace {

constexpr std::size_t kRead = 256u << 10;
/// After an attempt's end, so long without a byte of what its host had announced means that it
/// won't come.
constexpr Duration kGiveUp{30'000};

class LogStream final : public BodyStream {
 public:
  LogStream(const View& view, WatchedRunLog& logs, EventHub& events, LogRequest request)
      : view_(view),
        logs_(logs),
        events_(events),
        request_(std::move(request)),
        follows_attempts_(request_.later_attempts && request_.follow) {
    if (request_.attempt > 0) begin(request_.attempt, request_.offset);
  }

  void on_more(std::function<void()> wake) override {
    wake_ = std::move(wake);
    run_handle_ = events_.on_change(view_.actor("run", request_.run), wake_);
    watch_log();
  }

  Piece next() override {
    Piece piece;
    if (!advance(piece.bytes)) {
      if (lines_) piece.bytes += lines_->flush();
      piece.end = true;
    }
    return piece;
  }

 private:
  void begin(std::uint32_t attempt, std::uint64_t offset) {
    attempt_ = attempt;
    lines_.emplace(attempt, offset, request_.steps, request_.step);
    read_to_ = offset;
    missing_since_ = {};
    watch_log();
  }
  void watch_log() {
    if (wake_ && attempt_ > 0) log_handle_ = logs_.on_change({request_.run, attempt_}, wake_);
  }

  /// Appends the lines that there are. False when none will ever come again; true without any:
  /// wait.
  bool advance(std::string& out) {
    const auto head = view_.run_head(request_.run);
    if (!head) return false;
    if (attempt_ == 0 && head->attempt > 0) begin(head->attempt, request_.offset);
    if (attempt_ == 0) return request_.follow && !is_end(head->state);
    // Asked before the log is read: what came before the end is then in it.
    const bool over = attempt_over(*head);
    while (out.empty() && read_some(out)) {
    }
    if (broken_ || !out.empty()) return !broken_;
    if (!request_.follow) return false;
    if (!over || !whole()) return true;
    out += lines_->flush();
    if (!follows_attempts_) return false;
    if (head->attempt == attempt_) return !is_end(head->state);
    begin(attempt_ + 1, 0);
    return advance(out);
  }

  /// Nothing more is written to this attempt's log but what its report announced.
  bool attempt_over(const fbs::RunHeadT& head) {
    announced_ = 0;
    const auto row = view_.attempt(request_.run, attempt_);
    if (row && row->report) announced_ = row->report->log_bytes;
    return head.attempt > attempt_ || is_end(head.state) ||
           (row && (row->finished_unix_ms != 0 || row->class_ != fbs::FailureClass::none));
  }

  /// Whether bytes came; they may hold no wanted line.
  bool read_some(std::string& out) {
    const auto bytes = logs_.read({request_.run, attempt_}, read_to_, kRead);
    if (!bytes || bytes->empty()) return false;
    read_to_ += bytes->size();
    missing_since_ = {};
    auto lines = lines_->add(*bytes);
    broken_ = !lines;
    if (lines) out += *lines;
    return !broken_;
  }

  /// Whether all that an ended attempt announced was read, or is given up.
  bool whole() {
    if (read_to_ >= announced_) return true;
    if (missing_since_.unix_ms == 0) missing_since_ = view_.now();
    return view_.now() - missing_since_ >= kGiveUp;
  }

  View view_;
  WatchedRunLog& logs_;
  EventHub& events_;
  LogRequest request_;
  bool follows_attempts_;
  std::uint32_t attempt_ = 0;
  std::uint64_t read_to_ = 0;
  std::uint64_t announced_ = 0;  ///< Bytes of the whole log, by its report; 0 without one.
  Instant missing_since_;        ///< When the attempt was first seen ended with bytes missing.
  bool broken_ = false;
  std::optional<LogLines> lines_;
  std::function<void()> wake_;
  std::shared_ptr<void> run_handle_;
  std::shared_ptr<void> log_handle_;
};

/// NDJSON in, events out.
class LogEvents final : public BodyStream {
 public:
  explicit LogEvents(std::shared_ptr<BodyStream> lines) : lines_(std::move(lines)) {}

  Piece next() override {
    const Piece in = lines_->next();
    Piece out;
    if (!std::exchange(greeted_, true)) out.bytes = ": muster log\n\n";
    for (std::size_t begin = 0; begin < in.bytes.size();) {
      const std::size_t end = std::min(in.bytes.find('\n', begin), in.bytes.size());
      const auto line = Json::parse(in.bytes.substr(begin, end - begin), nullptr, false);
      if (line.is_object())
        out.bytes += sse_event(line.at("attempt").dump() + "-" + line.at("next").dump(), "", line);
      begin = end + 1;
    }
    out.end = in.end;
    if (in.end) out.bytes += sse_event("", "end", Json::object());
    return out;
  }
  void on_more(std::function<void()> wake) override { lines_->on_more(std::move(wake)); }
  [[nodiscard]] std::string heartbeat() const override { return ": still here\n\n"; }

 private:
  std::shared_ptr<BodyStream> lines_;
  bool greeted_ = false;
};

}  // namespace

std::shared_ptr<BodyStream> make_log_events(std::shared_ptr<BodyStream> lines) {
  return std::make_shared<LogEvents>(std::move(lines));
}

Result<LogPlace> parse_log_place(const std::string& id) {
  LogPlace place;
  const std::size_t dash = id.find('-');
  const char* end = id.data() + id.size();
  if (dash != std::string::npos) {
    const auto first = std::from_chars(id.data(), id.data() + dash, place.attempt);
    const auto second = std::from_chars(id.data() + dash + 1, end, place.offset);
    if (first.ec == std::errc() && first.ptr == id.data() + dash && second.ec == std::errc() &&
        second.ptr == end && place.attempt > 0)
      return place;
  }
  return fail(Errc::invalid, "Last-Event-ID must be the id of a line of this log");
}

std::shared_ptr<BodyStream> make_log_stream(const View& view, WatchedRunLog& logs, EventHub& events,
                                            LogRequest request) {
  return std::make_shared<LogStream>(view, logs, events, std::move(request));
}

}  // namespace muster::musterd
