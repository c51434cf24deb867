// Text for terminals: what comes from repositories, agents and servers is hostile there. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/time.hpp"

namespace muster::cli {

/// Keeps line ends and tabs; every other control character, escape sequence, bidirectional override
/// and invalid byte becomes visible (\x1b, \u202e). With `colours`, colour sequences (ESC [ … m)
/// stay.
std::string safe_text(std::string_view text, bool colours = false);
/// As safe_text, for one table cell: line ends and tabs become blanks.
std::string safe_line(std::string_view text);

/// Columns it takes: one per code point.
std::size_t columns(std::string_view text);
/// At most `width` columns, ending in "…" when cut.
std::string cut(std::string_view text, std::size_t width);
/// The same for text with colour sequences, which take no columns and are kept.
std::string cut_coloured(std::string_view text, std::size_t width);
std::string padded(std::string text, std::size_t width, bool right = false);

/// "850ms", "12.3s", "4m12s", "2h05m", "3d04h".
std::string human_duration(Duration d);
/// "512 B", "1.4 GiB".
std::string human_bytes(std::uint64_t bytes);
/// "1,234".
std::string human_count(std::uint64_t n);
/// "1 repository", "3 repositories": `many` defaults to `one` + "s".
std::string plural(std::uint64_t n, std::string_view one, std::string_view many = {});
/// The last `count` lines.
std::string_view last_lines(std::string_view text, std::size_t count);
std::string shell_quoted(const std::string& word);

}  // namespace muster::cli
