#include "storage/base/exit_code.hpp"

namespace muster {

int exit_code(Errc code) {
  switch (code) {
    case Errc::invalid:
      return 2;
    case Errc::not_found:
      return 3;
    case Errc::refused:
      return 4;
    case Errc::conflict:
    case Errc::key_reused:
      return 5;
    case Errc::unreachable:
    case Errc::unknown:
      return 6;
    case Errc::overloaded:
      return 7;
    case Errc::timed_out:
      return 124;
    case Errc::io:
    case Errc::corrupt:
    case Errc::internal:
      return 1;
  }
  return 1;
}

}  // namespace muster
