#include "tools/musterd/actor_schemas.hpp"

#include <flatbuffers/idl.h>
#include <flatbuffers/reflection.h>

#include <cstdlib>
#include <stdexcept>

namespace muster::musterd {
namespace {

constexpr std::string_view kNamespace = "muster.actors.fbs.";

struct RowSchema {
  std::string_view prefix;
  std::string_view table;  ///< Empty: text.
};
/// Which tables a kind's bytes are.
struct KindSchema {
  std::string_view name;
  std::string_view head;
  std::string_view body;  ///< The union of its messages.
  std::vector<RowSchema> rows;
};

const std::vector<KindSchema>& kind_schemas() {
  static const std::vector<KindSchema> kKinds{
      {"fleet", "FleetHead", "FleetBody", {{"create", "CreateFleet"}, {"run/", "RunRow"}}},
      {"host", "HostHead", "HostBody", {}},
      {"pull", "PullHead", "PullBody", {{"body", ""}}},
      {"repo", "RepoHead", "RepoBody", {{"opening/", "OpeningPull"}}},
      {"run",
       "RunHead",
       "RunBody",
       {{"create", "CreateRun"}, {"attempt/", "AttemptRow"}, {"message/", "SteerRun"}}},
      {"swarm",
       "SwarmHead",
       "SwarmBody",
       {{"create", "CreateSwarm"},
        {"plan/", "PlanFacet"},
        {"facet/", "FacetRow"},
        {"line/", "LineRow"},
        {"commit/", "CommitRow"},
        {"run/", "RunUse"},
        {"feedback/", ""},
        {"result/", ""},
        {"free/", ""},
        {"in/", ""},
        {"held/", ""},
        {"after/", ""},
        {"note/", "NoteRow"},
        {"message/", "MessageRow"},
        {"candidate/", ""},
        {"marked/", ""},
        {"adopt/", ""},
        {"settle/", ""},
        {"ballot/", ""},
        {"reduced", ""}}},
  };
  return kKinds;
}

const KindSchema* kind_schema(std::string_view kind) {
  for (const KindSchema& each : kind_schemas())
    if (each.name == kind) return &each;
  return nullptr;
}

tl::unexpected<Error> no_kind(std::string_view kind) {
  return fail(Errc::not_found, "there is no kind '" + std::string(kind) + "'");
}

flatbuffers::IDLOptions text_options() {
  flatbuffers::IDLOptions options;
  options.strict_json = true;
  options.output_default_scalars_in_json = true;
  options.output_enum_identifiers = true;
  options.indent_step = -1;
  options.natural_utf8 = true;
  options.allow_non_utf8 = true;
  return options;
}

void parse_schemas(flatbuffers::Parser& parser) {
  for (const std::string_view text : actor_schema_texts())
    if (!parser.Parse(std::string(text).c_str()))
      throw std::logic_error("a built-in schema: " + parser.error_);
}

/// flatbuffers writes a byte that is not UTF-8 as \xNN, which JSON does not know.
std::string as_json(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (text[i] != '\\' || i + 1 == text.size()) continue;
    if (text[++i] == 'x') out += '\\';
    out += text[i];
  }
  return out;
}

/// "uint", as a schema says it.
std::string base_name(reflection::BaseType base) {
  std::string name = reflection::EnumNameBaseType(base);
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

std::string type_name(const reflection::Schema& schema, const reflection::Type& type) {
  const auto base = type.base_type();
  if (base == reflection::Vector) {
    const flatbuffers::String* element = nullptr;
    if (type.element() == reflection::Obj)
      element = schema.objects()->Get(type.index())->name();
    else if (type.index() >= 0)
      element = schema.enums()->Get(type.index())->name();
    return "[" +
           (element != nullptr ? element->str().substr(element->str().rfind('.') + 1)
                               : base_name(type.element())) +
           "]";
  }
  if (base == reflection::Obj) {
    const std::string name = schema.objects()->Get(type.index())->name()->str();
    return name.substr(name.rfind('.') + 1);
  }
  if (type.index() >= 0 && base != reflection::Union) {
    const std::string name = schema.enums()->Get(type.index())->name()->str();
    return name.substr(name.rfind('.') + 1);
  }
  return base_name(base);
}

}  // namespace

struct ActorSchemas::Parts {
  Parts() : parser(text_options()) {
    parse_schemas(parser);
    parser.Serialize();
    schema = reflection::GetSchema(parser.builder_.GetBufferPointer());
  }

  [[nodiscard]] const reflection::Object* table(std::string_view name) const {
    return schema->objects()->LookupByKey((std::string(kNamespace) + std::string(name)).c_str());
  }
  [[nodiscard]] const reflection::Enum* body(const KindSchema& kind) const {
    return schema->enums()->LookupByKey((std::string(kNamespace) + std::string(kind.body)).c_str());
  }
  /// The table of a message of that number; null when the kind has none.
  [[nodiscard]] const reflection::Object* message_table(const KindSchema& kind,
                                                        std::uint16_t type) const {
    const auto* value = body(kind)->values()->LookupByKey(type);
    if (type == 0 || value == nullptr || value->union_type() == nullptr) return nullptr;
    return schema->objects()->Get(
        static_cast<flatbuffers::uoffset_t>(value->union_type()->index()));
  }
  [[nodiscard]] bool verifies(const reflection::Object& table, std::string_view bytes) const {
    return flatbuffers::Verify(*schema, table, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                               bytes.size());
  }
  [[nodiscard]] Result<Json> decode(const reflection::Object& table, std::string_view bytes) const;

  flatbuffers::Parser parser;
  const reflection::Schema* schema = nullptr;
};

Result<Json> ActorSchemas::Parts::decode(const reflection::Object& table,
                                         std::string_view bytes) const {
  const std::string name = table.name()->str();
  if (!verifies(table, bytes)) return fail(Errc::corrupt, "not a valid " + name);
  std::string text;
  if (!flatbuffers::GenerateTextFromTable(
          parser, flatbuffers::GetRoot<flatbuffers::Table>(bytes.data()), name, &text))
    return fail(Errc::corrupt, "can't be shown: a " + name);
  Json json = Json::parse(as_json(text), nullptr, false);
  if (json.is_discarded()) return fail(Errc::internal, "no JSON came of a " + name);
  return json;
}

ActorSchemas::ActorSchemas() : parts_(std::make_unique<Parts>()) {}
ActorSchemas::~ActorSchemas() = default;

std::vector<std::string> ActorSchemas::kinds() const {
  std::vector<std::string> names;
  for (const KindSchema& kind : kind_schemas()) names.emplace_back(kind.name);
  return names;
}

Result<Json> ActorSchemas::state(std::string_view kind, std::string_view bytes) const {
  const KindSchema* schema = kind_schema(kind);
  if (schema == nullptr) return no_kind(kind);
  return parts_->decode(*parts_->table(schema->head), bytes);
}

Result<Json> ActorSchemas::message(std::string_view kind, const engine::Payload& payload) const {
  const KindSchema* schema = kind_schema(kind);
  if (schema == nullptr) return no_kind(kind);
  const reflection::Object* table = parts_->message_table(*schema, payload.type);
  if (table == nullptr)
    return fail(Errc::not_found,
                std::string(kind) + " has no message " + std::to_string(payload.type));
  return parts_->decode(*table, payload.bytes);
}

Result<Json> ActorSchemas::row(std::string_view kind, std::string_view row,
                               std::string_view bytes) const {
  const KindSchema* schema = kind_schema(kind);
  if (schema == nullptr) return no_kind(kind);
  for (const RowSchema& each : schema->rows) {
    if (!row.starts_with(each.prefix)) continue;
    if (each.table.empty()) return Json(std::string(bytes));
    return parts_->decode(*parts_->table(each.table), bytes);
  }
  return fail(Errc::not_found, "no schema of the row '" + std::string(row) + "'");
}

Result<Json> ActorSchemas::effect(std::string_view bytes) const {
  return parts_->decode(*parts_->table("Effect"), bytes);
}

std::string ActorSchemas::state_field(std::string_view kind, std::string_view bytes,
                                      std::string_view field) const {
  const KindSchema* schema = kind_schema(kind);
  if (schema == nullptr) return {};
  const reflection::Object* table = parts_->table(schema->head);
  const reflection::Field* found = table->fields()->LookupByKey(std::string(field).c_str());
  if (found == nullptr || !parts_->verifies(*table, bytes)) return {};
  const auto* root = flatbuffers::GetRoot<flatbuffers::Table>(bytes.data());
  const reflection::BaseType base = found->type()->base_type();
  if (base == reflection::String) {
    const auto* text = flatbuffers::GetFieldS(*root, *found);
    return text != nullptr ? text->str() : std::string();
  }
  if (!flatbuffers::IsInteger(static_cast<flatbuffers::BaseType>(base))) return {};
  const std::int64_t number = flatbuffers::GetAnyFieldI(*root, *found);
  if (found->type()->index() < 0) return std::to_string(number);
  const auto* values = parts_->schema->enums()
                           ->Get(static_cast<flatbuffers::uoffset_t>(found->type()->index()))
                           ->values();
  const auto* value = values->LookupByKey(number);
  return value != nullptr ? value->name()->str() : std::to_string(number);
}

std::string ActorSchemas::message_name(std::string_view kind, std::uint16_t type) const {
  const KindSchema* schema = kind_schema(kind);
  const auto* value =
      schema != nullptr && type != 0 ? parts_->body(*schema)->values()->LookupByKey(type) : nullptr;
  return value != nullptr ? value->name()->str() : std::to_string(type);
}

namespace {

/// "" when every table within `table` is there: kinds send each other none without them, and their
/// steps read them. Else which is missing.
std::string missing_table(const reflection::Schema& schema, const reflection::Object& object,
                          const flatbuffers::Table& table) {
  for (const auto* field : *object.fields()) {
    const auto base = field->type()->base_type();
    const std::string name = field->name()->str();
    if (base == reflection::Union) {
      const auto* type = object.fields()->LookupByKey((name + "_type").c_str());
      if (flatbuffers::GetFieldI<std::uint8_t>(table, *type) == 0) return name;
    }
    if (base != reflection::Obj) continue;
    if (!table.CheckField(field->offset())) return name;
    const reflection::Object* inner =
        schema.objects()->Get(static_cast<flatbuffers::uoffset_t>(field->type()->index()));
    if (inner->is_struct()) continue;
    const flatbuffers::Table* value = flatbuffers::GetFieldT(table, *field);
    if (const std::string deeper = missing_table(schema, *inner, *value); !deeper.empty())
      return name + "." + deeper;
  }
  return "";
}

/// The parser's "1: 28: error: …" without the place, but with the field that stands there.
std::string told_error(const Json& fields, const std::string& error) {
  constexpr std::string_view kMark = ": error: ";
  const std::size_t mark = error.find(kMark);
  const std::size_t line_end = error.find(": ");
  if (mark == std::string::npos || line_end >= mark) return error;
  const std::string what = error.substr(mark + kMark.size());
  if (what.starts_with("required field")) return what;  // Said at the end of the object.
  const std::size_t column = std::strtoul(error.c_str() + line_end + 2, nullptr, 10);
  std::size_t end = 1;  // The bytes of `fields` as text, up to and with each comma.
  for (const auto& [name, value] : fields.items()) {
    const auto text = [](const Json& json) {
      return json.dump(-1, ' ', false, Json::error_handler_t::replace).size();
    };
    end += text(name) + 1 + text(value) + 1;
    if (column <= end) return name + ": " + what;
  }
  return what;
}

}  // namespace

Result<engine::Payload> ActorSchemas::encode(std::string_view kind, std::string_view message,
                                             const Json& fields) const {
  const KindSchema* schema = kind_schema(kind);
  if (schema == nullptr) return no_kind(kind);
  const reflection::EnumVal* found = nullptr;
  for (const auto* value : *parts_->body(*schema)->values())
    if (value->name()->string_view() == message && value->value() != 0) found = value;
  if (found == nullptr)
    return fail(Errc::not_found,
                std::string(kind) + " has no message '" + std::string(message) + "'");
  // A parser is changed by what it reads, and what people send is rare: each gets one of its own.
  flatbuffers::IDLOptions strict;
  strict.strict_json = true;
  flatbuffers::Parser parser(strict);
  parse_schemas(parser);
  const auto* table = parts_->message_table(*schema, static_cast<std::uint16_t>(found->value()));
  parser.SetRootType(table->name()->c_str());
  const std::string text = fields.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (!parser.ParseJson(text.c_str()))
    return fail(Errc::invalid, std::string(message) + ": " + told_error(fields, parser.error_));
  const auto& builder = parser.builder_;
  if (const std::string missing = missing_table(
          *parts_->schema, *table, *flatbuffers::GetAnyRoot(builder.GetBufferPointer()));
      !missing.empty())
    return fail(Errc::invalid, std::string(message) + ": " + missing + " is missing");
  return engine::Payload{
      static_cast<std::uint16_t>(found->value()),
      std::string(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize())};
}

namespace {

/// In the schema's order; tables with the fields that they have themselves.
Json fields_json(const reflection::Schema& schema, const reflection::Object& table, int depth) {
  constexpr int kDeepest = 4;
  std::map<std::uint16_t, Json> fields;  // By id.
  for (const auto* field : *table.fields()) {
    const auto& type = *field->type();
    const auto index = static_cast<flatbuffers::uoffset_t>(type.index());
    Json one = {{"name", field->name()->str()},
                {"type", type_name(schema, type)},
                {"required", field->required() || table.is_struct()}};
    if (type.index() >= 0 &&
        flatbuffers::IsInteger(static_cast<flatbuffers::BaseType>(type.base_type()))) {
      one["values"] = Json::array();
      for (const auto* name : *schema.enums()->Get(index)->values())
        one["values"].push_back(name->name()->str());
    }
    if (type.base_type() == reflection::Obj && depth < kDeepest)
      one["fields"] = fields_json(schema, *schema.objects()->Get(index), depth + 1);
    fields[field->id()] = std::move(one);
  }
  Json list = Json::array();
  for (auto& [id, field] : fields) list.push_back(std::move(field));
  return list;
}

}  // namespace

Result<Json> ActorSchemas::describe(std::string_view kind) const {
  const KindSchema* schema = kind_schema(kind);
  if (schema == nullptr) return no_kind(kind);
  Json messages = Json::array();
  for (const auto* value : *parts_->body(*schema)->values()) {
    if (value->value() == 0) continue;
    const auto* table = parts_->message_table(*schema, static_cast<std::uint16_t>(value->value()));
    messages.push_back({{"name", value->name()->str()},
                        {"fields", fields_json(*parts_->schema, *table, 0)}});
  }
  return messages;
}

const ActorSchemas& actor_schemas() {
  static const ActorSchemas kSchemas;
  return kSchemas;
}

}  // namespace muster::musterd
