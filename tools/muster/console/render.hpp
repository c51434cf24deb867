// The server's documents as text for a person. Pure: time and the place that text goes to are
// arguments. Everything from outside passes safe_line.
#pragma once

#include <string>

#include "storage/base/time.hpp"
#include "tools/muster/console/doc.hpp"
#include "tools/muster/render/table.hpp"

namespace muster::cli::console {

struct Screen {
  Look look;
  Instant now;
};

/// Fields one a line, nested ones indented. Times, durations and sizes are told as such, by the
/// ends of their names; empty fields are left out unless `all`.
std::string fields_text(const Doc& document, const Screen& screen, std::size_t indent, bool all);
/// The same on one line: "fleet=libgreet-2 reason=…".
std::string fields_line(const Doc& document);

std::string actors_text(const Doc& document, const Screen& screen);
std::string actor_text(const Doc& document, const Screen& screen, bool all);
std::string rows_text(const Doc& document, const Screen& screen);
std::string journal_text(const Doc& document, const Screen& screen, bool full);
/// Steps of several actors, as they come.
std::string steps_text(const Doc& document, const Screen& screen);
std::string message_text(const Doc& document, const Screen& screen);
/// What an order did, or would do.
std::string operation_text(const Doc& document, const Screen& screen);
std::string tree_text(const Doc& document, const Screen& screen);
std::string state_text(const Doc& document, const Screen& screen, bool all);
std::string engine_text(const Doc& document, const Screen& screen);
std::string hot_text(const Doc& document, const Screen& screen);
std::string queue_text(const Doc& document, const Screen& screen);
std::string hosts_text(const Doc& document, const Screen& screen);
std::string dead_text(const Doc& document, const Screen& screen);
// render_care.cpp
std::string host_text(const Doc& document, const Screen& screen);
std::string slow_text(const Doc& document, const Screen& screen);
std::string limits_text(const Doc& document, const Screen& screen);
/// What `limit`, `log-level`, `backup` and `compact` did, or would do.
std::string care_text(const Doc& document, const Screen& screen);
std::string verified_text(const Doc& document, const Screen& screen);

/// All kinds, or the messages of one.
std::string kinds_text(const Doc& document, const std::string& kind, const Screen& screen);

}  // namespace muster::cli::console
