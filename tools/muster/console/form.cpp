#include "tools/muster/console/form.hpp"

#include <algorithm>

#include "tools/muster/text.hpp"

namespace muster::cli::console {
namespace {

bool is_one_of(const std::string& type, std::initializer_list<const char*> types) {
  return std::any_of(types.begin(), types.end(), [&](const char* each) { return type == each; });
}

std::string values_of(const Doc& field, const char* between) {
  std::string values;
  for (const Doc& value : list(field, "values"))
    if (value.is_string()) values += (values.empty() ? "" : between) + value.get<std::string>();
  return values;
}

bool is_table(const Doc& field) {
  return !list(field, "fields").empty();
}

std::string question(const Doc& field, const std::string& within, const std::string& problem) {
  const std::string values = values_of(field, "|");
  return "  " + within + safe_line(str(field, "name")) + " (" +
         safe_line(values.empty() ? str(field, "type") : values) +
         (is_table(field) ? ": JSON, or Enter for its fields" : "") +
         (flag(field, "required") ? ", required" : "") + (problem.empty() ? "" : "; " + problem) +
         "): ";
}

/// One field's value; null: its default. Nothing when the person leaves.
std::optional<Doc> ask_field(const Doc& field, const Ask& ask, const std::string& within) {
  std::string problem;
  for (;;) {
    const auto typed = ask(question(field, within, problem));
    if (!typed) return std::nullopt;
    if (typed->empty() && is_table(field))
      return ask_fields(list(field, "fields"), ask, within + str(field, "name") + ".");
    if (typed->empty() && !flag(field, "required")) return Doc(nullptr);
    problem = typed->empty() ? "it can't be left out" : field_problem(field, *typed);
    if (problem.empty()) return field_value(field, *typed);
  }
}

}  // namespace

Doc field_value(const Doc& field, const std::string& typed) {
  if (str(field, "type") == "string" || !list(field, "values").empty()) return typed;
  Doc value = Doc::parse(typed, nullptr, false);
  return value.is_discarded() ? Doc(typed) : value;
}

std::string field_problem(const Doc& field, const std::string& typed) {
  const std::string type = str(field, "type");
  if (const Doc& values = list(field, "values"); !values.empty())
    return std::find(values.begin(), values.end(), Doc(typed)) != values.end()
               ? ""
               : "'" + safe_line(typed) + "' is none of " + values_of(field, ", ");
  const Doc value = Doc::parse(typed, nullptr, false);
  const auto no = [&](const char* what) { return "'" + safe_line(typed) + "' is no " + what; };
  if (type == "bool") return value.is_boolean() ? "" : "it is true or false";
  if (is_one_of(type, {"ubyte", "ushort", "uint", "ulong"}))
    return value.is_number_unsigned() ? "" : no("whole number from 0");
  if (is_one_of(type, {"byte", "short", "int", "long"}))
    return value.is_number_integer() ? "" : no("whole number");
  if (is_one_of(type, {"float", "double"})) return value.is_number() ? "" : no("number");
  if (type.starts_with('[')) return value.is_array() ? "" : no("list in JSON");
  if (is_table(field)) return value.is_object() ? "" : no("object in JSON");
  return "";
}

std::optional<Doc> ask_fields(const Doc& fields, const Ask& ask, const std::string& within) {
  Doc values = Doc::object();
  for (const Doc& field : fields) {
    auto value = ask_field(field, ask, within);
    if (!value) return std::nullopt;
    if (!value->is_null()) values[str(field, "name")] = std::move(*value);
  }
  return values;
}

}  // namespace muster::cli::console
