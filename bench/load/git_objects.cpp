#include "bench/load/git_objects.hpp"

#include <openssl/evp.h>
#include <zlib.h>

#include <array>
#include <stdexcept>

#include "storage/base/ids.hpp"

namespace muster::load {

namespace {

std::string sha1(std::string_view bytes) {
  std::array<unsigned char, 20> digest{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha1(), nullptr) != 1)
    throw std::runtime_error("SHA-1 is not available");
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string raw_id(const GitObject& object) {
  const char* type = object.type == ObjectType::commit ? "commit "
                     : object.type == ObjectType::tree ? "tree "
                                                       : "blob ";
  return sha1(type + std::to_string(object.content.size()) + '\0' + object.content);
}

std::string deflated(const std::string& bytes) {
  uLongf size = ::compressBound(bytes.size());
  std::string out(size, '\0');
  if (::compress(reinterpret_cast<Bytef*>(out.data()), &size,
                 reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()) != Z_OK)
    throw std::runtime_error("zlib does not compress");
  out.resize(size);
  return out;
}

/// Type and size: four bits of the size in the first byte, then seven in each.
std::string entry_header(const GitObject& object) {
  std::size_t size = object.content.size();
  unsigned byte = (static_cast<unsigned>(object.type) << 4) | (size & 15);
  std::string out;
  for (size >>= 4; size > 0; size >>= 7) {
    out += static_cast<char>(byte | 128);
    byte = size & 127;
  }
  return out + static_cast<char>(byte);
}

}  // namespace

std::string object_id(const GitObject& object) {
  return to_hex(raw_id(object));
}

GitObject tree_of(const std::string& name, const GitObject& blob) {
  return {ObjectType::tree, "100644 " + name + '\0' + raw_id(blob)};
}

std::string make_pack(const std::vector<GitObject>& objects) {
  std::string pack("PACK\0\0\0\2\0\0\0", 11);
  pack += static_cast<char>(objects.size());  // a handful
  for (const GitObject& object : objects) pack += entry_header(object) + deflated(object.content);
  return pack + sha1(pack);
}

}  // namespace muster::load
