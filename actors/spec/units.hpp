// How a fleet file writes amounts, names and patterns. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::actors {

/// "512MiB", "2GiB", "64KiB", "1TiB", "4096" (bytes). Powers of 1024 only: "2GB" gets an error that
/// says so.
Result<std::uint64_t> parse_size(std::string_view text);
/// The shortest exact form: 2147483648 -> "2GiB".
std::string size_text(std::uint64_t bytes);

/// "20%", "0.5%" -> permille; over 100 % or finer than 0.1 % is Errc::invalid.
Result<std::uint32_t> parse_percent(std::string_view text);
std::string percent_text(std::uint32_t permille);

/// `*` (any run of characters, slashes too), `?`, `[a-z]`.
bool glob_match(const std::string& pattern, const std::string& text);

/// A fleet's name: [a-z0-9][a-z0-9.-]{0,62}.
bool is_fleet_name(std::string_view text);
/// What git accepts as a branch (git-check-ref-format(1)), without a leading "refs/" or "-".
bool is_branch_name(std::string_view text);

/// The candidate nearest to `word` by edits, when it is near enough to be what was meant; else "".
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace muster::actors
