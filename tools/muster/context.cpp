#include "tools/muster/context.hpp"

#include <pwd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "storage/base/exit_code.hpp"
#include "tools/muster/text.hpp"

namespace muster::cli {
namespace {

Stream stream_of(std::ostream& to, int fd) {
  Stream stream{to, {}, false};
  if (::isatty(fd) == 0) return stream;
  winsize size{};
  const bool known = ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  stream.look.width = known ? std::max<std::size_t>(size.ws_col, 40) : 80;
  const char* term = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  stream.live = !dumb;
  stream.look.colour = !dumb && (no_color == nullptr || *no_color == '\0');
  return stream;
}

}  // namespace

Io process_io() {
  return {stream_of(std::cout, STDOUT_FILENO), stream_of(std::cerr, STDERR_FILENO), wall_clock_now};
}

Answer<Client*> Context::client() {
  if (client_) return client_.get();
  auto endpoint = find_endpoint(globals_.root, globals_.url, globals_.ca);
  if (!endpoint) return tl::unexpected(endpoint.error());
  client_ = std::make_unique<Client>(std::move(*endpoint));
  return client_.get();
}

std::string Context::user() {
  if (const char* name = std::getenv("MUSTER_USER"); name != nullptr && *name != '\0') return name;
  if (const passwd* entry = ::getpwuid(::geteuid()); entry != nullptr) return entry->pw_name;
  return "uid " + std::to_string(::geteuid());
}

std::string Context::program() const {
  if (!globals_.root.empty()) return "muster --root " + shell_quoted(globals_.root);
  if (!globals_.url.empty()) return "muster --url " + shell_quoted(globals_.url);
  return "muster";
}

int Context::fail(const Failure& failure) const {
  const Look& look = io_.err.look;
  err() << styled("error:", Style::red, look) << " " << safe_text(failure.message) << "\n";
  if (!failure.hint.empty())
    err() << styled("hint:", Style::bold, look) << " " << safe_text(failure.hint) << "\n";
  err().flush();
  return exit_code(failure.code);
}

}  // namespace muster::cli
