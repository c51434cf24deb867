#include "storage/base/error.hpp"

#include <system_error>

namespace muster {

std::string_view to_string(Errc code) {
  switch (code) {
    case Errc::invalid: return "invalid";
    case Errc::not_found: return "not_found";
    case Errc::refused: return "refused";
    case Errc::conflict: return "conflict";
    case Errc::unreachable: return "unreachable";
    case Errc::overloaded: return "overloaded";
    case Errc::timed_out: return "timed_out";
    case Errc::unknown: return "unknown";
    case Errc::io: return "io";
    case Errc::corrupt: return "corrupt";
    case Errc::internal: return "internal";
    case Errc::key_reused: return "key_reused";
  }
  return "internal";
}

tl::unexpected<Error> fail_errno(std::string_view what, int errno_value) {
  return fail(Errc::io, std::string(what) + ": " + std::system_category().message(errno_value));
}

}  // namespace muster
