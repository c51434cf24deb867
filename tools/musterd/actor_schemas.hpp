// What the bytes of states, rows, messages and effects mean: decoded into JSON, and messages made
// from JSON, by the same FlatBuffers schemas that the kinds are compiled from. They are built in as
// text.
//
//   const ActorSchemas& schemas = actor_schemas();
//   schemas.state("run", bytes);                        // {"fleet": "libgreet-2", "state":
//   "running", …} schemas.encode("run", "CancelRun", {{"reason", "…"}});
//
// Bytes are verified before they are read. Immutable: any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/message.hpp"

namespace muster::musterd {

using Json = nlohmann::ordered_json;

class ActorSchemas {
 public:
  /// Parses the built-in schemas; they are part of the program, so a failure is a broken invariant.
  ActorSchemas();
  ~ActorSchemas();
  ActorSchemas(const ActorSchemas&) = delete;
  ActorSchemas& operator=(const ActorSchemas&) = delete;

  [[nodiscard]] std::vector<std::string> kinds() const;

  // Errc::not_found: no such kind or message; Errc::corrupt: the bytes are not what the schema
  // says.
  [[nodiscard]] Result<Json> state(std::string_view kind, std::string_view bytes) const;
  [[nodiscard]] Result<Json> message(std::string_view kind, const engine::Payload& payload) const;
  [[nodiscard]] Result<Json> row(std::string_view kind, std::string_view row,
                                 std::string_view bytes) const;
  [[nodiscard]] Result<Json> effect(std::string_view bytes) const;

  /// One text or number field of a state, an enum as its name; "" when there is none of that name.
  /// Cheap: for filters that pass over many.
  [[nodiscard]] std::string state_field(std::string_view kind, std::string_view bytes,
                                        std::string_view field) const;

  /// The name of message `type`, or its number.
  [[nodiscard]] std::string message_name(std::string_view kind, std::uint16_t type) const;
  /// Errc::invalid says which field is wrong; every field of the message may be left out unless it
  /// is required.
  [[nodiscard]] Result<engine::Payload> encode(std::string_view kind, std::string_view message,
                                               const Json& fields) const;
  /// The messages of a kind with their fields: what a form shows.
  [[nodiscard]] Result<Json> describe(std::string_view kind) const;

 private:
  struct Parts;
  std::unique_ptr<const Parts> parts_;
};

const ActorSchemas& actor_schemas();

/// The texts, in an order in which they can be parsed one after the other.
const std::vector<std::string_view>& actor_schema_texts();

}  // namespace muster::musterd
