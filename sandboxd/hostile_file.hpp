// Files that a sandbox left, taken as hostile: opened without following anything, and read within a bound.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "storage/base/error.hpp"
#include "storage/base/files.hpp"

namespace muster::sandbox {

/// Opens what is a regular file of at most `max_bytes` beneath `directory`, and nothing that a link or a mount leads to.
/// Errc::not_found when there is none, Errc::invalid when it is anything else.
Result<Fd> open_hostile(const std::filesystem::path& directory, const std::string& relative, std::uint64_t max_bytes);

/// Gives the rest of the file to `sink` in pieces; returns its SHA-256. Errc::invalid when it is more than `max_bytes`.
Result<std::string> read_hostile(const Fd& from, std::uint64_t max_bytes,
                                 const std::function<Result<void>(std::string_view)>& sink);

/// Copies such a file to `target`; returns its SHA-256.
Result<std::string> take_file(const std::filesystem::path& directory, const std::string& relative,
                              std::uint64_t max_bytes, const std::filesystem::path& target);
/// Reads such a file into memory.
Result<std::string> take_text(const std::filesystem::path& directory, const std::string& relative,
                              std::uint64_t max_bytes);

}  // namespace muster::sandbox
