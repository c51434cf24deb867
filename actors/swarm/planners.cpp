// What planners add to the plan, when they are over, and the notes that travel up to them.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "actors/swarm/life.hpp"

namespace muster::actors {

using fbs::FacetState;
using fbs::RunState;
using nlohmann::json;

namespace {

constexpr Duration kAdoptEffect = std::chrono::minutes(1);

std::uint32_t facet_in(std::string_view key) {
  return static_cast<std::uint32_t>(std::stoul(std::string(key.substr(key.rfind('/') + 1))));
}

/// `notes` of a result: a text, or a list of them.
std::vector<std::string> notes_in(const std::string& result) {
  std::vector<std::string> notes;
  const json said = json::parse(result, nullptr, false);
  if (!said.is_object() || !said.contains("notes")) return notes;
  const json list = said["notes"].is_array() ? said["notes"] : json::array({said["notes"]});
  for (const json& one : list)
    if (one.is_string() && !one.get_ref<const std::string&>().empty() &&
        notes.size() < swarm::kNotesOfRun)
      notes.push_back(bounded(one.get<std::string>(), swarm::kNoteBytes));
  return notes;
}

std::string box_of(std::uint32_t planner) {
  return swarm::numbered(swarm::kNotePrefix, planner) + "/";
}
/// Behind all of a box: '0' follows '/'.
std::string end_of(std::string box) {
  box.back() = '0';
  return box;
}

}  // namespace

/// When it plans again: what was noted since, and what became of its facets.
std::string SwarmLife::planner_input(std::uint32_t number, const fbs::FacetRowT& row) {
  json input = {{"round", row.rounds + 1}, {"notes", json::array()}, {"facets", json::array()}};
  const std::string box = box_of(number);
  for (const auto& [key, bytes] : ctx_.rows(box, end_of(box), swarm::kMaxNotes)) {
    auto note = must_decode<fbs::NoteRowT>(bytes);
    if (note.given != 0) continue;
    if (input["notes"].size() == swarm::kNotesGiven) break;
    input["notes"].push_back({{"facet", note.facet}, {"text", note.text}});
    note.given = row.rounds + 1;
    ctx_.put_row(key, engine::encode_table(note));
  }
  if (row.rounds > 0)
    for (const auto& [key, bytes] : ctx_.rows(swarm::kFacetPrefix, swarm::kFacetEnd, s_.loaded)) {
      const auto part = must_decode<fbs::FacetRowT>(bytes);
      if (part.owner != number + 1 || input["facets"].size() == swarm::kPartsGiven) continue;
      input["facets"].push_back(
          {{"id", part.id}, {"state", fbs::EnumNameFacetState(part.state)}, {"why", part.why}});
    }
  return input.dump(-1, ' ', false, json::error_handler_t::replace);
}

void SwarmLife::plan_run_ended(const fbs::RunUseT& use, const fbs::SwarmRunEndedT& m) {
  fbs::FacetRowT row = facet(use.facet);
  if (row.state != FacetState::working || row.run != m.run) return;
  const std::string said = m.message.empty() ? m.reason : m.message;
  const bool done = m.state == RunState::unchanged || m.state == RunState::delivered ||
                    m.state == RunState::skipped;
  if (!done)
    return reject(
        use.facet, row,
        "run " + m.run + " " + std::string(to_string(m.state)) + (said.empty() ? "" : ": " + said));
  row.unfit += std::max(1U, m.attempts);
  if (m.result.empty())
    return unfit(use.facet, row, "plan", "it left no plan",
                 "$MUSTER_OUTPUT/result.json is missing, is no JSON object, or has more than 64 KiB");
  ctx_.put_row(swarm::numbered("adopt/", use.facet), m.result);
  move(use.facet, row, FacetState::trying);
  adopt_next();
}

/// One after the other: each plan is added to the one before.
void SwarmLife::adopt_next() {
  if (s_.adopting != 0) return;
  const auto next = ctx_.rows("adopt/", "adopt0", 1);
  if (next.empty()) return;
  const std::uint32_t number = facet_in(next[0].first);
  const fbs::FacetRowT row = facet(number);
  s_.adopting = number + 1;
  fbs::AdoptPlanT order;
  order.number = ++s_.adoptions;
  order.plan_digest = s_.plan_digest.empty() ? created().plan_digest : s_.plan_digest;
  order.planner = row.id;
  order.result = next[0].second;
  order.again = row.rounds > 0;
  const std::string key = "adopt/" + name() + "/" + std::to_string(s_.adoptions);
  ctx_.perform({"swarm", key, encode_effect(std::move(order)), kAdoptEffect, unknown<Swarm>(key)});
}

void SwarmLife::on(const fbs::PlanAdoptedT& m) {
  if (!exists() || s_.adopting == 0 || m.number != s_.adoptions) return;
  const std::uint32_t number = s_.adopting - 1;
  s_.adopting = 0;
  if (ended() || s_.stopping) return;
  ctx_.erase_row(swarm::numbered("adopt/", number));
  fbs::FacetRowT row = facet(number);
  if (row.state == FacetState::trying && !m.error.empty()) {
    reject(number, row, "its plan could not be looked at: " + m.error);
  } else if (row.state == FacetState::trying && !m.problems.empty()) {
    unfit(number, row, "plan", "its plan is wrong", m.problems);
  } else if (row.state == FacetState::trying) {
    ctx_.erase_row(swarm::numbered("feedback/", number));
    s_.plan_digest = m.digest;
    row.unfit = 0;
    ++row.rounds;
    row.children += static_cast<std::uint32_t>(m.facets.size());
    row.holds = true;
    ++s_.owners;
    put(number, row);
    if (m.facets.empty()) ctx_.put_row(swarm::numbered("settle/", number), "");
    for (const auto& entry : m.facets)
      if (entry) add_facet(*entry);
    progress();
  }
  adopt_next();
}

/// Behind all others. What it needs and is there already is not waited for.
void SwarmLife::add_facet(const fbs::PlanFacetT& entry) {
  const std::uint32_t number = s_.loaded++;
  s_.facets = s_.loaded;
  ctx_.put_row(swarm::numbered("plan/", number), engine::encode_table(entry));
  fbs::FacetRowT row;
  row.id = entry.id;
  row.line = entry.line;
  row.planner = entry.planner;
  row.owner = entry.owner;
  std::string lost;
  for (const std::uint32_t need : entry.needs) {
    const fbs::FacetRowT needed = facet(need);
    if (needed.state == FacetState::merged || needed.state == FacetState::unchanged) continue;
    ++row.open_needs;
    if (needed.state == FacetState::rejected) lost = needed.id;
    fbs::PlanFacetT before = plan(need);
    if (std::find(before.needed_by.begin(), before.needed_by.end(), number) ==
        before.needed_by.end()) {
      before.needed_by.push_back(number);
      ctx_.put_row(swarm::numbered("plan/", need), engine::encode_table(before));
    }
  }
  ++s_.counts[static_cast<std::size_t>(FacetState::waiting)];
  move(number, row, FacetState::waiting);
  if (!lost.empty()) reject(number, row, "it needs " + lost + ", which was rejected");
}

/// A facet that is over is one less that its planner waits for.
void SwarmLife::tell_owner(std::uint32_t number, fbs::FacetRowT& over) {
  if (over.owner == 0 || over.told_owner) return;
  over.told_owner = true;
  put(number, over);
  fbs::FacetRowT owner = facet(over.owner - 1);
  if (owner.children > 0) --owner.children;
  if (over.state == FacetState::rejected) ++owner.lost;
  put(over.owner - 1, owner);
  ctx_.put_row(swarm::numbered("settle/", over.owner - 1), "");
}

void SwarmLife::settle_planners() {
  if (s_.stopping || s_.retrying) return;
  const auto settled = ctx_.rows("settle/", "settle0", swarm::kPage);
  for (const auto& [key, value] : settled) {
    ctx_.erase_row(key);
    settle_planner(facet_in(key));
  }
  if (!ctx_.rows("settle/", "settle0", 1).empty() || !ctx_.rows("after/", "after0", 1).empty())
    more_ = true;
}

/// Its facets are over: it plans again when there is something to say and it may, else it is over
/// too.
void SwarmLife::settle_planner(std::uint32_t number) {
  fbs::FacetRowT row = facet(number);
  if (row.state != FacetState::trying || !row.holds || row.children > 0) return;
  const bool something = row.lost > 0 || has_new_notes(number);
  if (something && row.rounds < plan(number).rounds) {
    row.lost = 0;
    return move(number, row, FacetState::waiting);
  }
  if (row.lost > 0)
    return reject(number, row, std::to_string(row.lost) + " of its facets were rejected");
  row.why = "all that it planned is there";
  move(number, row, FacetState::unchanged);
  progress();
}

// ---- notes ----

/// The nearest planner above that will plan again, else the report.
std::string SwarmLife::note_box(const fbs::FacetRowT& from) {
  for (std::uint32_t owner = from.owner; owner != 0;) {
    const fbs::FacetRowT row = facet(owner - 1);
    if (!swarm::is_over(row.state) && row.rounds < plan(owner - 1).rounds) return box_of(owner - 1);
    owner = row.owner;
  }
  return std::string(swarm::kNotePrefix) + "report/";
}

void SwarmLife::keep_notes(std::uint32_t from, const fbs::SwarmRunEndedT& m) {
  const auto notes = notes_in(m.result);
  if (notes.empty()) return;
  const fbs::FacetRowT row = facet(from);
  const std::string box = note_box(row);
  for (const std::string& text : notes) {
    if (s_.notes >= swarm::kMaxNotes) return;
    fbs::NoteRowT note;
    note.facet = row.id;
    note.run = m.run;
    note.text = text;
    note.at_unix_ms = now();
    char digits[16];
    std::snprintf(digits, sizeof digits, "%06u", s_.notes++);
    ctx_.put_row(box + digits, engine::encode_table(note));
  }
}

bool SwarmLife::has_new_notes(std::uint32_t planner) {
  const std::string box = box_of(planner);
  for (const auto& [key, bytes] : ctx_.rows(box, end_of(box), swarm::kMaxNotes))
    if (must_decode<fbs::NoteRowT>(bytes).given == 0) return true;
  return false;
}

/// What a planner that is over was not given goes on to whom its own notes go; the rest of too many
/// stays its own.
void SwarmLife::forward_notes(std::uint32_t planner, const fbs::FacetRowT& row) {
  const std::string from = box_of(planner), to = note_box(row);
  std::size_t forwarded = 0;
  for (const auto& [key, bytes] : ctx_.rows(from, end_of(from), swarm::kMaxNotes)) {
    if (must_decode<fbs::NoteRowT>(bytes).given != 0) continue;
    if (forwarded++ == swarm::kNotesGiven) return;
    ctx_.put_row(to + key.substr(from.size()), bytes);
    ctx_.erase_row(key);
  }
}

}  // namespace muster::actors
