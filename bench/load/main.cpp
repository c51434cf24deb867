// muster-load: see options.cpp for what it says of itself.
#include <signal.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench/load/html.hpp"
#include "bench/load/load.hpp"
#include "storage/base/exit_code.hpp"
#include "storage/base/files.hpp"

namespace muster::load {
namespace {

std::atomic<bool> stop_asked{false};
static_assert(std::atomic<bool>::is_always_lock_free);

/// The first one stops the load and reports; the second one ends the program.
void on_signal(int signal) {
  if (stop_asked.exchange(true)) ::_exit(128 + signal);
}

int judge(const Report& report) {
  if (!report.incomplete.empty() || report.errors > 0) return 1;
  for (const Verdict& verdict : report.verdicts)
    if (!verdict.holds) return 1;
  return 0;
}

int run(int argc, char** argv) {
  int status = 0;
  const auto options = read_command_line(argc, argv, status);
  if (!options) return status;
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGINT, on_signal);
  ::signal(SIGTERM, on_signal);
  spdlog::set_level(spdlog::level::warn);
  const auto report = run_load(*options, stop_asked);
  if (!report) {
    std::fprintf(stderr, "error: %s\n", report.error().message.c_str());
    return exit_code(report.error().code);
  }
  if (options->json) {
    std::printf("%s\n", report_json(*report)
                            .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                            .c_str());
  } else {
    std::printf("%s", report_table(*report).c_str());
  }
  if (!options->html.empty()) {
    if (auto written = write_file_durably(options->html, report_page(*report)); !written) {
      std::fprintf(stderr, "error: %s\n", written.error().message.c_str());
      return 1;
    }
  }
  return judge(*report);
}

}  // namespace
}  // namespace muster::load

int main(int argc, char** argv) {
  return muster::load::run(argc, argv);
}
