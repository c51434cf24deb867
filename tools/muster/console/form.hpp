// A typed message as a form: what its schema says of a field becomes a question, and what is typed
// is checked before the next one. Pure but for who is asked.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "tools/muster/console/doc.hpp"

namespace muster::cli::console {

/// What a person is asked: nothing when they leave the question.
using Ask = std::function<std::optional<std::string>(const std::string& question)>;

/// A message's field from what was typed: text for a string or an enum, else JSON.
Doc field_value(const Doc& field, const std::string& typed);

/// Why the schema takes no such value; "" when it does, as far as the field alone can tell.
std::string field_problem(const Doc& field, const std::string& typed);

/// The values of `fields` (as GET /v1/kinds describes them), asked for one by one; what is left
/// empty keeps its default. A table is typed as JSON, or asked for field by field after Enter. What
/// does not fit is asked for again. Nothing when the person leaves.
std::optional<Doc> ask_fields(const Doc& fields, const Ask& ask, const std::string& within = "");

}  // namespace muster::cli::console
