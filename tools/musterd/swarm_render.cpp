#include "tools/musterd/swarm_render.hpp"

#include "actors/swarm/swarm.hpp"

namespace muster::musterd {
namespace {

Json or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

}  // namespace

std::string_view name_of(fbs::SwarmState state) {
  return known_name(fbs::EnumNameSwarmState(state));
}
std::string_view name_of(fbs::FacetState state) {
  return known_name(fbs::EnumNameFacetState(state));
}
std::string_view name_of(fbs::LineState state) {
  return known_name(fbs::EnumNameLineState(state));
}
std::string_view name_of(fbs::CommitFate fate) {
  return known_name(fbs::EnumNameCommitFate(fate));
}

Json line_json(const fbs::LineRowT& line, const std::string& swarm) {
  const std::string pull =
      line.pull == 0 ? "" : line.line->repository + "#" + std::to_string(line.pull);
  return {{"id", line.line->id},
          {"repository", line.line->repository},
          {"url", line.line->url},
          {"base_branch", line.line->base_branch},
          {"green_branch", "muster-swarm/" + swarm + "/green"},
          {"state", name_of(line.state)},
          {"begin", or_null(line.begin)},
          {"green", or_null(line.green)},
          {"trying", line.state == fbs::LineState::merging ? line.batch.size() : line.tried.size()},
          {"halves", line.halves.size()},
          {"check_run", or_null(line.state == fbs::LineState::verifying ? line.check_run : "")},
          {"verifications", {{"passed", line.verified}, {"failed", line.failed}}},
          {"remade", line.remade},
          {"pull", or_null(pull)},
          {"pull_error", line.pull_error}};
}

Json swarm_json(const fbs::SwarmHeadT& head, const std::vector<fbs::LineRowT>& lines) {
  Json counts = Json::object();
  for (const fbs::FacetState state : fbs::EnumValuesFacetState()) {
    const auto index = static_cast<std::size_t>(state);
    counts[std::string(name_of(state))] = index < head.counts.size() ? head.counts[index] : 0;
  }
  Json all = Json::array();
  for (const auto& line : lines) all.push_back(line_json(line, head.name));
  return {{"name", head.name},
          {"state", name_of(head.state)},
          {"reason", head.reason},
          {"paused", or_null(head.paused)},
          {"draining", or_null(head.draining)},
          {"title", head.title},
          {"author", head.author},
          {"facets", head.facets},
          {"counts", counts},
          {"evictions", head.evictions},
          {"runs", head.runs},
          {"answers", head.answers},
          {"messages", head.messages},
          {"notes", head.notes},
          {"used", used_json(head.tokens, head.cost_micros)},
          {"reducer", head.reduce_run.empty() ? Json(nullptr)
                                              : Json{{"run", head.reduce_run},
                                                     {"ended", head.reduced},
                                                     {"error", head.reduce_error}}},
          {"repositories", all},
          {"created_at", time_json(head.created_unix_ms)},
          {"started_at", time_json(head.started_unix_ms)},
          {"progress_at", time_json(head.progress_unix_ms)},
          {"ended_at", time_json(head.ended_unix_ms)}};
}

/// Of several agents, each one's.
Json tries_json(const fbs::FacetRowT& row) {
  Json tries = Json::array();
  for (const auto& candidate : row.candidates) {
    if (!candidate) continue;
    const bool scored = candidate->scored && candidate->score > -1e300;
    tries.push_back({{"run", candidate->run},
                     {"ended", candidate->over},
                     {"commit", or_null(candidate->commit)},
                     {"score", scored ? Json(candidate->score) : Json(nullptr)},
                     {"kept", row.chosen && candidate->run == row.run},
                     {"why", candidate->why}});
  }
  return tries;
}

Json facet_json(const FacetWhole& facet) {
  const fbs::FacetRowT& row = facet.row;
  Json run = nullptr;
  if (facet.run)
    run = {{"id", row.run},
           {"state", name_of(facet.run->state)},
           {"attempt", facet.run->attempt},
           {"host", facet.run->host}};
  return {{"id", row.id},
          {"repository", facet.repository},
          {"state", name_of(row.state)},
          {"needs", facet.needs},
          {"waits_for", row.state == fbs::FacetState::waiting ? row.open_needs : 0},
          {"run", run},
          {"planner", row.planner},
          {"owner", or_null(facet.owner)},
          {"parts", {{"open", row.children}, {"rejected", row.lost}, {"plans", row.rounds}}},
          {"tries", tries_json(row)},
          {"runs", row.runs},
          {"resolves", row.resolves},
          {"evictions", row.evictions},
          {"base", or_null(row.base)},
          {"commit", or_null(row.commit)},
          {"merge", or_null(row.merge)},
          {"by_driver", row.by_driver},
          {"why", row.why},
          {"changed_at", time_json(row.changed_unix_ms)}};
}

Json commit_json(const std::string& commit, const fbs::CommitRowT& row, const std::string& facet) {
  return {{"commit", commit},
          {"facet", or_null(facet)},
          {"remade", row.made},
          {"run", row.run},
          {"base", or_null(row.base)},
          {"fate", name_of(row.fate)},
          {"merge", or_null(row.merge)},
          {"successor", or_null(row.successor)},
          {"reason", row.reason}};
}

}  // namespace muster::musterd
