#include "storage/audit/signing.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"

namespace muster::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxPem = 16u << 10;
constexpr std::size_t kSignature = 64;

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;
struct FreeDigest {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Digest = std::unique_ptr<EVP_MD_CTX, FreeDigest>;

std::shared_ptr<void> own(EVP_PKEY* key) {
  return {key, [](void* held) { EVP_PKEY_free(static_cast<EVP_PKEY*>(held)); }};
}

EVP_PKEY* key_of(const std::shared_ptr<void>& held) {
  return static_cast<EVP_PKEY*>(held.get());
}

const unsigned char* bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

Bio memory(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/// "" for anything but pairs of hexadecimal digits.
std::string from_hex(std::string_view text) {
  std::string out;
  if (text.size() % 2 != 0) return "";
  for (std::size_t i = 0; i < text.size(); i += 2) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    const std::size_t high = kDigits.find(text[i]);
    const std::size_t low = kDigits.find(text[i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) return "";
    out += static_cast<char>(high * 16 + low);
  }
  return out;
}

Result<void> write_pair(const fs::path& path, EVP_PKEY* key) {
  const Bio secret(BIO_new(BIO_s_mem()));
  const Bio open(BIO_new(BIO_s_mem()));
  if (!PEM_write_bio_PKCS8PrivateKey(secret.get(), key, nullptr, nullptr, 0, nullptr, nullptr) ||
      !PEM_write_bio_PUBKEY(open.get(), key))
    return fail(Errc::internal, "writing the audit log's key");
  // The private half first: without it the public one would be taken for a loss.
  if (auto written = write_file_durably(path, text_of(secret.get()), 0600); !written)
    return written;
  return write_file_durably(path.string() + ".pub", text_of(open.get()), 0644);
}

}  // namespace

Result<SigningKey> SigningKey::ensure(const fs::path& path) {
  const fs::path open = path.string() + ".pub";
  if (!fs::exists(path)) {
    if (fs::exists(open))
      return fail(Errc::corrupt, path.string() + " is missing beside " + open.string() +
                                     ": restore it, or keep the public half elsewhere for the old "
                                     "signatures and remove it here");
    const auto key = own(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    if (!key) return fail(Errc::internal, "making the audit log's key");
    if (auto written = write_pair(path, key_of(key)); !written)
      return tl::unexpected<Error>(written.error());
    return SigningKey(key);
  }
  const auto pem = read_file(path, kMaxPem);
  if (!pem) return tl::unexpected<Error>(pem.error());
  const auto key = own(PEM_read_bio_PrivateKey(memory(*pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!key || EVP_PKEY_get_base_id(key_of(key)) != EVP_PKEY_ED25519)
    return fail(Errc::corrupt, path.string() + " is not an Ed25519 key");
  if (!fs::exists(open))
    if (auto written = write_pair(path, key_of(key)); !written)
      return tl::unexpected<Error>(written.error());
  return SigningKey(key);
}

Result<std::string> SigningKey::sign(std::string_view text) const {
  const Digest context(EVP_MD_CTX_new());
  std::string signature(kSignature, '\0');
  std::size_t size = signature.size();
  if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_of(key_)) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     bytes(text), text.size()) != 1)
    return fail(Errc::internal, "signing");
  return to_hex(signature);
}

Result<VerifyingKey> VerifyingKey::read(const fs::path& path) {
  const auto pem = read_file(path, kMaxPem);
  if (!pem) return tl::unexpected<Error>(pem.error());
  const auto key = own(PEM_read_bio_PUBKEY(memory(*pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!key || EVP_PKEY_get_base_id(key_of(key)) != EVP_PKEY_ED25519)
    return fail(Errc::corrupt, path.string() + " is not the public half of an Ed25519 key");
  return VerifyingKey(key);
}

bool VerifyingKey::fits(std::string_view text, std::string_view signature) const {
  const std::string raw = from_hex(signature);
  if (raw.size() != kSignature) return false;
  const Digest context(EVP_MD_CTX_new());
  const bool fits =
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key_of(key_)) == 1 &&
      EVP_DigestVerify(context.get(), bytes(raw), raw.size(), bytes(text), text.size()) == 1;
  ERR_clear_error();
  return fits;
}

}  // namespace muster::storage
