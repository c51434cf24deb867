// As much of git's object model as a simulated agent needs: ids, and a pack of whole objects. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace muster::load {

enum class ObjectType : unsigned char { commit = 1, tree = 2, blob = 3 };

struct GitObject {
  ObjectType type;
  std::string content;
};

/// SHA-1, in hexadecimal.
std::string object_id(const GitObject& object);
/// A tree with one file.
GitObject tree_of(const std::string& name, const GitObject& blob);
/// Version 2, no deltas.
std::string make_pack(const std::vector<GitObject>& objects);

}  // namespace muster::load
