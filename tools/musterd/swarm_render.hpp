// Swarms as the JSON of the API. Pure functions of decoded tables; openapi.yaml documents the shapes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "actors/swarm/ledger_check.hpp"
#include "tools/musterd/render.hpp"

namespace muster::musterd {

Json line_json(const fbs::LineRowT& line, const std::string& swarm);
Json swarm_json(const fbs::SwarmHeadT& head, const std::vector<fbs::LineRowT>& lines);

struct FacetWhole {
  fbs::FacetRowT row;
  std::vector<std::string> needs;   ///< Ids.
  std::string owner;                ///< The planner that planned it; empty: it stands in the file.
  std::string repository;           ///< What the swarm file calls it.
  std::optional<fbs::RunRowT> run;  ///< Its fleet's row of the last run.
};
Json facet_json(const FacetWhole& facet);

Json commit_json(const std::string& commit, const fbs::CommitRowT& row, const std::string& facet);

}  // namespace muster::musterd
