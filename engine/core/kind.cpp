#include "engine/core/kind.hpp"

#include <flatbuffers/minireflect.h>

namespace muster::engine {

std::string describe_table(std::string_view bytes, const flatbuffers::TypeTable* type) {
  flatbuffers::ToStringVisitor visitor(" ", false, "", false);
  flatbuffers::IterateFlatBuffer(reinterpret_cast<const std::uint8_t*>(bytes.data()), type,
                                 &visitor);
  return visitor.s == "{  }" ? "{}" : visitor.s;
}

std::string describe_unknown(const Payload& payload) {
  return "#" + std::to_string(payload.type) + " of " + std::to_string(payload.bytes.size()) +
         " bytes";
}

}  // namespace muster::engine
