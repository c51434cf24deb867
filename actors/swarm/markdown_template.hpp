// Markdown made of JSON by a template: a small part of Mustache, with bounds on work and length,
// which the Mustache libraries lack. Pure.
//
//   {{name}}              the value; text loses its markup and its line breaks, other values stand
//   as JSON
//   {{{name}}}            text as it is
//   {{#name}} … {{/name}} once for each element of a list, or once for a value that is neither null
//   nor false
//   {{^name}} … {{/name}} once when there is no such value, or a null, false or empty one
//
// A name is a path with dots (values.count.value), looked up in the innermost section first; {{.}}
// is its element.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "storage/base/error.hpp"

namespace muster::actors::swarm {

inline constexpr std::size_t kMaxTemplateSteps = 1'000'000;
inline constexpr std::size_t kMaxTemplateBytes = 1u << 20;
inline constexpr std::size_t kMaxTemplateDepth = 16;

/// What is wrong with a template, for a person; empty: nothing.
std::string trouble_in_template(const std::string& text);

/// Errc::invalid for a template with trouble, Errc::refused beyond the bounds.
Result<std::string> fill_template(const std::string& text, const nlohmann::json& data);

}  // namespace muster::actors::swarm
