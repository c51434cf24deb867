// The paths that a facet may change, as patterns, and whether two facets could change the same one.
// Pure.
//
// A pattern is a path from the repository's root. In a part between slashes `*` stands for any
// characters, and a part `**` for any number of parts: src/** is everything below src, **/*.md
// every such file anywhere. There are no other special characters, so whether two patterns can meet
// in one path is decided exactly.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace muster::actors::swarm {

/// What is wrong with a pattern, for a person; empty when nothing is.
std::string trouble_in_pattern(std::string_view pattern);

bool matches(std::string_view pattern, std::string_view path);
/// Whether some path matches both.
bool overlap(std::string_view a, std::string_view b);
/// Whether every path that matches `pattern` matches `outer`. May say no where the answer is yes,
/// never the other way.
bool within(std::string_view pattern, std::string_view outer);
/// The parts before the first wildcard: two patterns can overlap only when one's is a prefix of the
/// other's.
std::vector<std::string> fixed_parts(std::string_view pattern);

/// Those of `changed` that no pattern of `scope` or `shared` allows, in their order.
std::vector<std::string> outside(const std::vector<std::string>& changed,
                                 const std::vector<std::string>& scope,
                                 const std::vector<std::string>& shared);

}  // namespace muster::actors::swarm
