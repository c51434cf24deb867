// The full-screen view as lines: what `top` shows of an installation at one moment. Pure; top.cpp
// draws it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "storage/base/time.hpp"
#include "tools/muster/console/doc.hpp"
#include "tools/muster/render/table.hpp"

namespace muster::cli::console {

/// What was asked of the engine for one picture. A document that could not be had is null.
struct TopData {
  Instant now;
  std::string where;
  Doc engine, running, fleets, hosts, waiting, queue, dead;  ///< `running`: fleets that go on.
  std::string problem;  ///< Why the newest picture is missing; the last one stays.
};

/// Per second, since the picture before.
struct TopRates {
  double commits = 0;
  double steps = 0;
  double bytes = 0;
};
TopRates rates_between(const TopData& before, const TopData& now);

enum class TopPanel { overview, mailboxes, queue, dead };

struct TopLine {
  std::string text;
  Style style = Style::plain;
};

/// At most `rows` lines of at most `columns`.
std::vector<TopLine> top_lines(const TopData& data, const std::optional<TopRates>& rates,
                               TopPanel panel, bool frozen, std::size_t rows, std::size_t columns);

}  // namespace muster::cli::console
