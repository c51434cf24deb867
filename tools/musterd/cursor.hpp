// Cursors of lists: the last key that a page showed, opaque to clients.
#pragma once

#include <string>
#include <string_view>

#include "storage/base/error.hpp"

namespace muster::musterd {

/// Base64 with the alphabet for URLs, without padding.
std::string encode_cursor(std::string_view last_key);
/// Errc::invalid for what encode_cursor never made.
Result<std::string> decode_cursor(std::string_view cursor);

}  // namespace muster::musterd
