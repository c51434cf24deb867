#include "bench/load/git_objects.hpp"

#include <catch2/catch.hpp>

using namespace muster::load;

TEST_CASE("Ids are git's own") {
  const GitObject blob{ObjectType::blob, "hello\n"};
  CHECK(object_id(blob) == "ce013625030ba8dba906f756967f9e9ca394464a");
  CHECK(object_id({ObjectType::tree, ""}) == "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
  CHECK(object_id(tree_of("a", blob)) == "0976950c1fdbcb52435a433913017bf044b3a58f");
}

// That git takes such a pack is shown by load_delivers.
TEST_CASE("A pack begins with its header and ends with its checksum") {
  const std::string pack = make_pack({{ObjectType::blob, std::string(1'000, 'x')}});
  CHECK(pack.substr(0, 12) == std::string("PACK\0\0\0\2\0\0\0\1", 12));
  // 1000 = 62 * 16 + 8: type 3, low bits 8, more follows; then 62.
  CHECK(static_cast<unsigned char>(pack[12]) == 0xB8);
  CHECK(static_cast<unsigned char>(pack[13]) == 62);
  CHECK(pack.size() > 14 + 20);
}
