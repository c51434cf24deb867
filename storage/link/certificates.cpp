// The installation's CA with OpenSSL 3: EC P-256 keys, X.509 v3.
//
// A key is durable before its certificate, and is kept at a renewal; a certificate that does not
// fit its key or its CA is made again. So a crash at any point is mended by the next call.
#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <filesystem>
#include <memory>

#include "storage/base/files.hpp"
#include "storage/base/ids.hpp"
#include "storage/link/link.hpp"

namespace muster::storage {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::chrono::seconds kDay = 24h;
constexpr auto kCaLifetime = 3650 * kDay;
constexpr auto kLeafLifetime = 825 * kDay;
constexpr auto kRenewBefore = 30 * kDay;
constexpr auto kClockSkew = 300s;
constexpr std::size_t kMaxPem = 64u << 10;

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;

tl::unexpected<Error> fail_openssl(std::string_view attempted) {
  char text[256] = "unknown";
  if (const unsigned long code = ERR_get_error(); code != 0)
    ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return fail(Errc::internal, std::string(attempted) + ": " + text);
}

std::string bytes_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

Bio memory(std::string_view bytes) {
  return Bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

/// Reads the key, or makes it when there is none.
Result<Key> ensure_key(const fs::path& path) {
  if (fs::exists(path)) {
    const auto pem = read_file(path, kMaxPem);
    if (!pem) return tl::unexpected<Error>(pem.error());
    Key key(PEM_read_bio_PrivateKey(memory(*pem).get(), nullptr, nullptr, nullptr));
    if (!key) return fail(Errc::corrupt, path.string() + " is not a private key");
    return key;
  }
  Key key(EVP_EC_gen("P-256"));
  const Bio out(BIO_new(BIO_s_mem()));
  if (!key ||
      !PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr))
    return fail_openssl("making a key");
  if (auto written = write_file_durably(path, bytes_of(out.get()), 0600); !written)
    return tl::unexpected<Error>(written.error());
  return key;
}

/// Null when there is no such file or it is not a certificate: then it is made.
Certificate load_certificate(const fs::path& path) {
  const auto pem = read_file(path, kMaxPem);
  if (!pem) return nullptr;
  Certificate certificate(PEM_read_bio_X509(memory(*pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  return certificate;
}

time_t seconds(Instant t) {
  return static_cast<time_t>(t.unix_ms / 1000);
}

std::string common_name(X509* certificate) {
  char text[128] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text, sizeof text);
  return text;
}

bool still_good(X509* certificate, std::string_view name, EVP_PKEY* key, EVP_PKEY* issuer,
                Instant now) {
  time_t renew = seconds(now + kRenewBefore);
  const bool good = certificate && X509_cmp_time(X509_get0_notAfter(certificate), &renew) > 0 &&
                    X509_check_private_key(certificate, key) == 1 &&
                    X509_verify(certificate, issuer) == 1 && common_name(certificate) == name;
  ERR_clear_error();
  return good;
}

/// What differs between the three sorts of certificate.
struct Profile {
  std::string name;
  std::chrono::seconds lifetime;
  std::vector<std::pair<int, std::string>> extensions;
};

Profile ca_profile() {
  return {"Muster CA",
          kCaLifetime,
          {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
           {NID_key_usage, "critical,keyCertSign,cRLSign"},
           {NID_subject_key_identifier, "hash"}}};
}

Profile leaf_profile(const std::string& name, const std::string& usage) {
  return {name,
          kLeafLifetime,
          {{NID_basic_constraints, "critical,CA:FALSE"},
           {NID_key_usage, "critical,digitalSignature"},
           {NID_ext_key_usage, "critical," + usage},
           {NID_subject_key_identifier, "hash"},
           {NID_authority_key_identifier, "keyid:always"},
           {NID_subject_alt_name, "DNS:" + name}}};
}

bool set_serial(X509* certificate) {
  std::string random = random_bytes(16);
  random[0] = static_cast<char>(random[0] & 0x7f);  // positive
  BIGNUM* number = BN_bin2bn(reinterpret_cast<const unsigned char*>(random.data()),
                             static_cast<int>(random.size()), nullptr);
  const bool done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
  BN_free(number);
  return done;
}

bool set_subject(X509* certificate, const std::string& name) {
  return X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                    MBSTRING_ASC,
                                    reinterpret_cast<const unsigned char*>(name.data()),
                                    static_cast<int>(name.size()), -1, 0) == 1;
}

bool set_validity(X509* certificate, Instant now, std::chrono::seconds lifetime) {
  return ASN1_TIME_set(X509_getm_notBefore(certificate), seconds(now - kClockSkew)) &&
         ASN1_TIME_set(X509_getm_notAfter(certificate), seconds(now + lifetime));
}

bool add_extensions(X509* certificate, X509* issuer, const Profile& profile) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  for (const auto& [nid, value] : profile.extensions) {
    const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
    if (!extension || !X509_add_ext(certificate, extension.get(), -1)) return false;
  }
  return true;
}

/// `issuer` null: signed by itself.
Result<Certificate> issue(const Profile& profile, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key,
                          Instant now) {
  Certificate certificate(X509_new());
  X509* made = certificate.get();
  if (!made || !X509_set_version(made, X509_VERSION_3) || !set_serial(made) ||
      !set_subject(made, profile.name) || !set_validity(made, now, profile.lifetime) ||
      !X509_set_pubkey(made, key) ||
      !X509_set_issuer_name(made, X509_get_subject_name(issuer ? issuer : made)) ||
      !add_extensions(made, issuer ? issuer : made, profile) ||
      !X509_sign(made, issuer_key, EVP_sha256()))
    return fail_openssl("making the certificate of " + profile.name);
  return certificate;
}

Result<void> store(const fs::path& path, X509* certificate) {
  const Bio out(BIO_new(BIO_s_mem()));
  if (!PEM_write_bio_X509(out.get(), certificate)) return fail_openssl("writing a certificate");
  return write_file_durably(path, bytes_of(out.get()), 0644);
}

Result<TlsFiles> ensure_leaf(const fs::path& directory, const fs::path& stem,
                             const Profile& profile, Instant now) {
  if (auto made = ensure_ca(directory, now); !made) return tl::unexpected<Error>(made.error());
  auto ca_key = ensure_key(directory / "ca.key");
  if (!ca_key) return tl::unexpected<Error>(ca_key.error());
  const Certificate ca = load_certificate(directory / "ca.pem");
  if (!ca) return fail(Errc::corrupt, (directory / "ca.pem").string() + " is not a certificate");

  const fs::path certificate_path = stem.string() + ".pem";
  const fs::path key_path = stem.string() + ".key";
  auto key = ensure_key(key_path);
  if (!key) return tl::unexpected<Error>(key.error());
  const TlsFiles files{directory / "ca.pem", certificate_path, key_path};
  if (still_good(load_certificate(certificate_path).get(), profile.name, key->get(), ca_key->get(),
                 now))
    return files;
  auto certificate = issue(profile, key->get(), ca.get(), ca_key->get(), now);
  if (!certificate) return tl::unexpected<Error>(certificate.error());
  if (auto stored = store(certificate_path, certificate->get()); !stored)
    return tl::unexpected<Error>(stored.error());
  return files;
}

bool is_ip_address(const std::string& text) {
  unsigned char bytes[sizeof(in6_addr)];
  return ::inet_pton(AF_INET, text.c_str(), bytes) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), bytes) == 1;
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

}  // namespace

bool is_host_name(std::string_view name) {
  if (name.empty() || name.size() > 63 || name == kEngineName) return false;
  if (name[0] == '.' || name[0] == '-') return false;
  for (const char c : name)
    if (!is_name_character(c)) return false;
  return true;
}

Result<void> ensure_ca(const std::string& directory, Instant now) {
  if (auto made = make_directory(directory, 0700); !made) return made;
  const fs::path key_path = fs::path(directory) / "ca.key";
  const fs::path certificate_path = fs::path(directory) / "ca.pem";
  // A new key would cut off every host that trusts the old one: a person must decide that.
  if (fs::exists(certificate_path) && !fs::exists(key_path))
    return fail(Errc::corrupt, key_path.string() +
                                   " is missing beside ca.pem: restore it, or remove ca.pem "
                                   "and give every host a new certificate");
  auto key = ensure_key(key_path);
  if (!key) return tl::unexpected<Error>(key.error());
  const Profile profile = ca_profile();
  if (still_good(load_certificate(certificate_path).get(), profile.name, key->get(), key->get(),
                 now))
    return {};
  auto certificate = issue(profile, key->get(), nullptr, key->get(), now);
  if (!certificate) return tl::unexpected<Error>(certificate.error());
  return store(certificate_path, certificate->get());
}

Result<TlsFiles> ensure_server_certificate(const std::string& directory, Instant now) {
  return ensure_leaf(directory, fs::path(directory) / "server",
                     leaf_profile(std::string(kEngineName), "serverAuth"), now);
}

Result<TlsFiles> ensure_api_certificate(const std::string& directory,
                                        const std::vector<std::string>& names, Instant now) {
  // Its own common name: hosts know the engine by another, so this certificate can't stand in for it.
  Profile profile = leaf_profile("musterd-api", "serverAuth");
  std::string alternatives;
  for (const std::string& name : names) {
    const std::string kind = is_ip_address(name) ? "IP:" : "DNS:";
    const bool odd = name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                            "0123456789.-*") != std::string::npos;
    if (name.empty() || (odd && kind == "DNS:"))
      return fail(Errc::invalid, "not a host name or an IP address: " + name);
    alternatives += (alternatives.empty() ? "" : ",") + kind + name;
  }
  if (alternatives.empty()) return fail(Errc::invalid, "a certificate needs a name");
  profile.extensions.back().second = alternatives;
  if (auto made = ensure_ca(directory, now); !made) return tl::unexpected<Error>(made.error());
  const fs::path stem = fs::path(directory) / "api";
  // still_good() compares the common name; the other names are kept beside it.
  const fs::path list = stem.string() + ".names";
  if (read_file(list, kMaxPem).value_or("") != alternatives) {
    std::error_code ignored;
    fs::remove(stem.string() + ".pem", ignored);
    if (auto noted = write_file_durably(list, alternatives); !noted)
      return tl::unexpected<Error>(noted.error());
  }
  return ensure_leaf(directory, stem, profile, now);
}

Result<TlsFiles> ensure_host_certificate(const std::string& directory, const std::string& host,
                                         Instant now) {
  if (!is_host_name(host))
    return fail(Errc::invalid,
                "a host's name is 1 to 63 of a-z, 0-9, '.' and '-', and not musterd");
  const fs::path hosts = fs::path(directory) / "hosts";
  if (auto made = make_directory(hosts, 0700); !made) return tl::unexpected<Error>(made.error());
  return ensure_leaf(directory, hosts / host, leaf_profile(host, "clientAuth"), now);
}

}  // namespace muster::storage
