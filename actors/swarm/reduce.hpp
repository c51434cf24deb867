// Makes one JSON result of many facets' results, as declared. Pure: the same results give the same
// answer, whatever order they came in, because facets are taken by name.
//
//   {"kind": "union",  "from": "/findings", "key": "/id", "on_conflict": "first"}    refuse | first
//   | last | all
//   {"kind": "sum",    "from": "/lines"}                                             also min and
//   max
//   {"kind": "concat", "from": "/notes", "order_by": "/line", "limit": 100}
//   {"kind": "vote",   "from": "/verdict", "quorum": 3}                              default: more
//   than half of the facets
//   {"kind": "top",    "from": "/hotspots", "by": "/score", "limit": 10}
//   {"kind": "template", "text": "{{#facets}}- {{id}}\n{{/facets}}"}                  Markdown of
//   the other values; markdown_template.hpp fills it
//
// `from` and the others are JSON pointers; `from` into a facet's result, the rest into one of its
// items.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "storage/base/error.hpp"

namespace muster::actors::swarm {

/// Items of all facets together.
constexpr std::size_t kMaxReducedItems = 1'000'000;

enum class ReducerKind { unite, sum, min, max, concat, vote, top, markdown };
enum class OnConflict { refuse, first, last, all };

struct Reducer {
  ReducerKind kind = ReducerKind::concat;
  nlohmann::json::json_pointer from;
  nlohmann::json::json_pointer key;  ///< union: key; concat: order_by; top: by.
  bool ordered = false;              ///< concat: by `key`, else as the facets come.
  OnConflict on_conflict = OnConflict::refuse;
  std::size_t limit = 0;   ///< 0: none.
  std::size_t quorum = 0;  ///< 0: more than half of all facets.
  std::string text;        ///< template.
};

/// Errc::invalid, with the key that is wrong.
Result<Reducer> parse_reducer(const nlohmann::json& declared);

struct Reduction {
  nlohmann::json value;
  bool decided = true;               ///< False: a vote without quorum, or nothing to reduce.
  std::vector<std::string> missing;  ///< Facets without a result, or without `from` in it.
  std::size_t left_out = 0;          ///< Items beyond the limit.
};

/// Not for a template. `facets` are all that were asked, `results` those that answered.
/// Errc::invalid for a value of the wrong kind, Errc::conflict for two different items under one
/// key when that is refused; both name the facet.
Result<Reduction> reduce(const Reducer& reducer, const std::vector<std::string>& facets,
                         const std::map<std::string, nlohmann::json>& results);

}  // namespace muster::actors::swarm
