#include "tools/musterd/sse.hpp"

namespace muster::musterd {
namespace {

class SseStream final : public BodyStream {
 public:
  SseStream(std::shared_ptr<SseSource> source, Subscribe subscribe)
      : source_(std::move(source)), subscribe_(std::move(subscribe)) {}

  Piece next() override {
    constexpr std::size_t kEnough = 64u << 10;
    constexpr int kRounds = 16;
    Piece piece;
    // The first bytes go at once, so that a client knows it is connected.
    if (!std::exchange(greeted_, true)) piece.bytes = ": muster\n\n";
    for (int round = 0; source_->more(piece.bytes) && piece.bytes.size() < kEnough;) {
      if (++round < kRounds) continue;
      // A filter passes over many: the worker is given back, and what is sent brings the stream
      // here again.
      if (piece.bytes.empty()) piece.bytes = ":\n\n";
      break;
    }
    if (piece.bytes.empty()) piece.again = source_->rest();
    return piece;
  }
  void on_more(std::function<void()> wake) override { handle_ = subscribe_(std::move(wake)); }
  [[nodiscard]] std::string heartbeat() const override { return ": still here\n\n"; }

 private:
  std::shared_ptr<SseSource> source_;
  Subscribe subscribe_;
  bool greeted_ = false;
  std::shared_ptr<void> handle_;  // Last: nobody wakes what is being taken down.
};

}  // namespace

bool wants_events(const Request& request) {
  return request.header("Accept").find("text/event-stream") != std::string::npos;
}

Result<std::uint64_t> last_event_id(const Request& request, std::uint64_t absent) {
  const std::string text = request.header("Last-Event-ID");
  if (text.empty()) return absent;
  if (text.size() >= 20 || text.find_first_not_of("0123456789") != std::string::npos)
    return fail(Errc::invalid, "Last-Event-ID must be the id of an event");
  return std::stoull(text);
}

std::string sse_event(std::string_view id, std::string_view name, const Json& data) {
  std::string text;
  if (!id.empty()) text += "id: " + std::string(id) + "\n";
  if (!name.empty()) text += "event: " + std::string(name) + "\n";
  return text + "data: " + data.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n\n";
}

Response sse_response(std::shared_ptr<SseSource> source, Subscribe subscribe) {
  Response response;
  response.content_type = "text/event-stream";
  response.stream = std::make_shared<SseStream>(std::move(source), std::move(subscribe));
  return response;
}

}  // namespace muster::musterd
