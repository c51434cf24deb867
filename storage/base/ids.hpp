// Identifiers and digests: how they are made, written and checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"
#include "storage/base/time.hpp"

namespace muster {

/// SHA-256 as 64 lower-case hexadecimal digits.
std::string sha256_hex(std::string_view bytes);
/// SHA-256 as 32 raw bytes.
std::string sha256_raw(std::string_view bytes);
bool is_sha256_hex(std::string_view text);

std::string to_hex(std::string_view bytes);

/// The first `length` Crockford base32 characters (0-9 A-Z without I L O U) of `bytes`, most significant first.
std::string crockford_base32(std::string_view bytes, std::size_t length);

/// A run's id: 13 Crockford characters of SHA-256(fleet, canonical repository URL, generation), so that
/// creating a run twice is creating it once. Generation 1 is the first; a retry is the next.
std::string run_id(std::string_view fleet, std::string_view canonical_url, std::uint32_t generation);

/// A UUID of version 7 for an Idempotency-Key: time first, then 74 random bits from the system.
std::string new_uuid_v7(Instant now);
/// The time in a UUIDv7, or Errc::invalid for any other text.
Result<Instant> uuid_v7_time(std::string_view uuid);

/// Cryptographically random bytes.
std::string random_bytes(std::size_t count);

/// Compares secrets without telling by its time where they differ.
bool constant_time_equal(std::string_view a, std::string_view b);

/// A repository's canonical URL and OWNER/NAME: "/srv/git/acme/api.git" and "acme/api".
/// Paths become absolute and lose a trailing slash; URLs get a lower-case scheme and host and lose
/// user, password, default port, trailing slash and ".git"; "git@host:acme/api.git" becomes ssh://host/acme/api.
/// Two spellings of one repository have one canonical URL. Credentials in a URL are refused (Errc::invalid).
struct RepositoryName {
  std::string canonical_url;
  std::string fetch_url;   ///< What git is given: as written, but absolute.
  std::string owner_name;  ///< OWNER/NAME, from the last two parts of the path.
};
Result<RepositoryName> parse_repository(std::string_view url_or_path, std::string_view base_directory);

}  // namespace muster
