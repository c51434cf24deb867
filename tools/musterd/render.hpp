// Committed state as the JSON of the API. Pure functions of decoded tables; the shapes are
// documented in openapi.yaml and change only by addition.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/time.hpp"
#include "tools/musterd/view.hpp"

namespace muster::musterd {

/// Keeps the order in which fields are written: a person reads it too.
using Json = nlohmann::ordered_json;

/// One document as a body: UTF-8 (what is not is replaced), one line.
std::string to_text(const Json& json);

/// RFC 3339, or null for 0.
Json time_json(std::int64_t unix_ms);

// Lower-case names of the enums; an unknown number is "unknown".
/// An enumeration's name for a value; "unknown" for one that a newer version wrote.
std::string_view known_name(const char* name);
std::string_view name_of(fbs::RunState state);
std::string_view name_of(fbs::FailureClass failure);
std::string_view name_of(fbs::FleetState state);
std::string_view name_of(fbs::PullState state);
std::string_view name_of(fbs::HostState state);
std::string_view name_of(fbs::SwarmState state);
std::string_view name_of(fbs::FacetState state);
std::string_view name_of(fbs::LineState state);
std::string_view name_of(fbs::CommitFate fate);
bool is_end(fbs::RunState state);
/// Runs that have ended, superseded ones left out: a newer generation stands for each of those.
std::uint32_t ended_runs(const fbs::FleetHeadT& head);

/// Seconds until all runs have ended, at the pace so far; null while nothing can be said.
Json eta_json(const fbs::FleetHeadT& head, Instant now);

/// What a run that is `waiting` waits for: wave, pause, backoff or repo; from its fleet's row
/// alone.
std::string_view waits_for(const fbs::RunRowT& row, const fbs::FleetHeadT& head);
/// The same in words for a person; `queued_why` is the scheduler's word on a queued run.
std::string why_text(const fbs::RunHeadT& run, const fbs::FleetHeadT& fleet,
                     std::string_view queued_why);

Json fleet_json(const fbs::FleetHeadT& head,
                const std::map<std::string, std::uint32_t>& why_waiting, Instant now);
/// What agents say to have used.
Json used_json(std::uint64_t tokens, std::uint64_t cost_micros);
Json row_json(const std::string& fleet, const fbs::RunRowT& row);
Json attempt_json(const fbs::AttemptRowT& attempt);
Json run_json(const RunWhole& run, const fbs::FleetHeadT& fleet, std::string_view queued_why);
/// `body` null: without it, as in lists.
Json pull_json(const std::string& id, const fbs::PullHeadT& head, const std::string* body);
Json host_json(const fbs::HostHeadT& head);

}  // namespace muster::musterd
