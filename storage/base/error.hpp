// Errors by value. Every fallible function of Muster returns Result<T>; exceptions are only for broken
// invariants and never leave the thread or actor that threw them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace muster {

/// What kind of failure it is; decides the HTTP status, the exit code and whether a caller may repeat.
/// Numbers are on disk (a call's stored answer): only add.
enum class Errc : std::uint8_t {
  invalid,       ///< The input is wrong; repeating it can't help. Exit 2, HTTP 400.
  not_found,     ///< No such thing. Exit 3, HTTP 404.
  refused,       ///< Not allowed, now or at all. Exit 4, HTTP 403 or 409.
  conflict,      ///< Contradicts what exists (other digest, other state). Exit 5, HTTP 409.
  unreachable,   ///< The other side can't be reached; repeat later. Exit 6.
  overloaded,    ///< A limit is full; repeat after a while. Exit 7, HTTP 429.
  timed_out,     ///< The deadline passed; whether it happened is not known. Exit 124.
  unknown,       ///< It may or may not have happened: repeat with the same key. HTTP 503.
  io,            ///< The operating system or the disk said no.
  corrupt,       ///< Stored or received bytes are not what they should be.
  internal,      ///< A broken invariant of Muster itself.
  key_reused,    ///< This idempotency key was used for another request. Exit 5, HTTP 422.
};

std::string_view to_string(Errc code);

/// An error with the context that a person needs to act on it.
struct Error {
  Errc code = Errc::internal;
  std::string message;

  bool operator==(const Error&) const = default;
};

template <class T>
using Result = tl::expected<T, Error>;

/// `return fail(Errc::invalid, "…");` in any function that returns Result<T>.
inline tl::unexpected<Error> fail(Errc code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

/// An error of the operating system: "what: strerror(errno_value)", as Errc::io.
tl::unexpected<Error> fail_errno(std::string_view what, int errno_value);

/// Prefixes an error's message with what was being attempted.
inline tl::unexpected<Error> fail(const Error& cause, std::string_view attempted) {
  return tl::unexpected<Error>(Error{cause.code, std::string(attempted) + ": " + cause.message});
}

}  // namespace muster
