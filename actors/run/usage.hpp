// What an agent says to have used, in result.json: `usage: {input_tokens, output_tokens,
// cost_usd}`. Its own word, which nobody can check: good for limits against accidents, not against
// lies. Pure.
#pragma once

#include <cstdint>
#include <string>

namespace muster::actors {

struct Usage {
  std::uint64_t tokens = 0;       ///< In and out.
  std::uint64_t cost_micros = 0;  ///< Millionths of a dollar.
};

/// Zero for what is absent, negative or no number; each at most kMostUsed, so that sums do not
/// overflow.
Usage usage_in(const std::string& result_json);

inline constexpr std::uint64_t kMostUsed = 1'000'000'000'000;

}  // namespace muster::actors
