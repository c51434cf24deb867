#include "tools/musterd/logging.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "tools/musterd/trace.hpp"

namespace muster::musterd {
namespace {

std::string quoted(std::string_view text) {
  return nlohmann::json(std::string(text))
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void append(spdlog::memory_buf_t& to, std::string_view text) {
  to.append(text.data(), text.data() + text.size());
}

/// The message as a JSON string: spdlog's own %v would let a quote break the line.
class JsonMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& to) override {
    append(to, quoted({message.payload.data(), message.payload.size()}));
    // The logger writes on the thread that logs, so its context is the message's.
    if (!LogContext::correlation().empty())
      append(to, ",\"correlation\":" + quoted(LogContext::correlation()));
    if (!LogContext::trace_id().empty())
      append(to, ",\"trace_id\":" + quoted(LogContext::trace_id()));
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<JsonMessage>();
  }
};

class TextContext final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg&, const std::tm&, spdlog::memory_buf_t& to) override {
    if (LogContext::correlation().empty()) return;
    append(to, " [");
    append(to, LogContext::correlation());
    append(to, "]");
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<TextContext>();
  }
};

}  // namespace

void set_up_log(const std::string& level, const std::string& format) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("musterd"));
  spdlog::set_level(spdlog::level::from_str(level));
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  if (format == "json") {
    formatter->add_flag<JsonMessage>('*').set_pattern(
        R"({"at":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","pid":%P,"message":%*})");
  } else {
    formatter->add_flag<TextContext>('*').set_pattern("[%Y-%m-%d %H:%M:%S.%e] [%n] [%^%l%$] %v%*");
  }
  spdlog::set_formatter(std::move(formatter));
}

}  // namespace muster::musterd
