#include "actors/ports/git_names.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace muster::actors {
namespace {

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), is_control);
}

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/// What is wrong with one part of a ref between slashes; empty when nothing is.
std::string_view trouble_in_part(std::string_view part) {
  if (part.empty()) return "has an empty part";
  if (part.front() == '.') return "has a part that begins with '.'";
  if (part.ends_with(".lock")) return "has a part that ends with .lock";
  return {};
}

std::string_view trouble_in_branch(std::string_view branch) {
  if (branch.empty()) return "is empty";
  if (branch.size() > kMaxBranchBytes) return "is too long";
  if (branch.front() == '-') return "begins with '-'";
  if (branch == "@" || branch == "HEAD") return "is a name that git keeps for itself";
  if (has_control(branch) || branch.find_first_of(" ~^:?*[\\") != std::string_view::npos)
    return "holds a character that git forbids";
  if (branch.find("..") != std::string_view::npos) return "holds '..'";
  if (branch.find("@{") != std::string_view::npos) return "holds '@{'";
  if (branch.back() == '.') return "ends with '.'";
  for (std::string_view rest = branch;;) {
    const std::size_t slash = rest.find('/');
    if (const auto trouble = trouble_in_part(rest.substr(0, slash)); !trouble.empty())
      return trouble;
    if (slash == std::string_view::npos) return {};
    rest.remove_prefix(slash + 1);
  }
}

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

/// %20 and the like; empty when one is malformed.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const auto high = hex_digit(text[i + 1]);
    const auto low = hex_digit(text[i + 2]);
    if (!high || !low) return std::nullopt;
    out += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return out;
}

tl::unexpected<Error> bad_address(std::string_view why) {
  // Never the address itself: what is refused may hold a password.
  return fail(Errc::invalid, "the repository's address " + std::string(why));
}

Result<RepositoryAddress> local_address(std::string path) {
  if (has_control(path) || path.find('\0') != std::string::npos)
    return bad_address("holds a control character");
  if (!path.starts_with('/')) return bad_address("must be absolute");
  return RepositoryAddress{true, std::move(path), {}};
}

Result<RepositoryAddress> file_address(std::string_view after_scheme) {
  if (after_scheme.starts_with("localhost/")) after_scheme.remove_prefix(9);
  auto path = percent_decoded(after_scheme);
  if (!path) return bad_address("holds a malformed %-escape");
  return local_address(std::move(*path));
}

/// `authority` is [user[:password]@]host[:port].
Result<void> check_authority(std::string_view authority) {
  std::string_view user;
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
    user = authority.substr(0, at);
    authority.remove_prefix(at + 1);
  }
  if (user.find(':') != std::string_view::npos)
    return bad_address("holds a password; use a credential helper");
  if (user.find('@') != std::string_view::npos || user.find('%') != std::string_view::npos)
    return bad_address("holds a user that can't be one");
  // A leading '-' would be an option of ssh (CVE-2017-1000117).
  if (user.starts_with('-') || authority.starts_with('-') || authority.starts_with("%2d") ||
      authority.starts_with("%2D"))
    return bad_address("has a host or user that begins with '-'");
  if (authority.empty() || authority.starts_with(':')) return bad_address("has no host");
  return {};
}

Result<RepositoryAddress> network_address(std::string_view text, std::size_t authority_begin) {
  const std::size_t slash = text.find('/', authority_begin);
  if (slash == std::string_view::npos || slash + 1 == text.size())
    return bad_address("names no repository");
  if (auto ok = check_authority(text.substr(authority_begin, slash - authority_begin)); !ok)
    return tl::unexpected<Error>(ok.error());
  return RepositoryAddress{false, {}, std::string(text)};
}

/// HOST:PATH, as in git@host:acme/api.git.
Result<RepositoryAddress> scp_address(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::size_t slash = text.find('/');
  if (colon == std::string_view::npos || slash < colon)
    return bad_address("is neither an absolute path nor a URL that git can fetch");
  if (text.substr(colon).starts_with("::"))
    return bad_address("names a transport that is not allowed (file, http, https, ssh, git)");
  const std::string_view path = text.substr(colon + 1);
  if (path.empty() || path.front() == '-') return bad_address("names no repository");
  if (auto ok = check_authority(text.substr(0, colon)); !ok)
    return tl::unexpected<Error>(ok.error());
  return RepositoryAddress{false, {}, std::string(text)};
}

}  // namespace

Result<void> check_branch_name(std::string_view branch) {
  const std::string_view trouble = trouble_in_branch(branch);
  if (trouble.empty()) return {};
  std::string shown(branch.substr(0, 80));
  std::replace_if(shown.begin(), shown.end(), is_control, '?');
  return fail(Errc::invalid, "branch name '" + shown + "' " + std::string(trouble));
}

Result<void> check_commit_id(std::string_view sha) {
  if (!std::all_of(sha.begin(), sha.end(), is_hex))
    return fail(Errc::invalid, "a commit id must be lower-case hexadecimal digits");
  if (sha.size() == 64)
    return fail(Errc::invalid, "repositories with SHA-256 object names are not supported");
  if (sha.size() != 40) return fail(Errc::invalid, "a commit id must be 40 hexadecimal digits");
  return {};
}

Result<RepositoryAddress> parse_address(std::string_view text) {
  constexpr std::array<std::string_view, 4> kTransports = {"https://", "http://", "ssh://",
                                                           "git://"};
  if (text.empty()) return bad_address("is empty");
  if (text.size() > kMaxUrlBytes) return bad_address("is too long");
  if (has_control(text)) return bad_address("holds a control character");
  if (text.front() == '-') return bad_address("begins with '-'");
  if (text.front() == '/') return local_address(std::string(text));
  if (text.starts_with("file://")) return file_address(text.substr(7));
  for (const std::string_view transport : kTransports)
    if (text.starts_with(transport)) return network_address(text, transport.size());
  if (text.find("://") != std::string_view::npos)
    return bad_address("names a transport that is not allowed (file, http, https, ssh, git)");
  return scp_address(text);
}

std::string clean_message(std::string_view text, std::size_t limit) {
  std::string out;
  while (!text.empty() && out.size() < limit) {
    const std::size_t scheme = text.find("://");
    if (scheme == std::string_view::npos) {
      out += text;
      break;
    }
    out += text.substr(0, scheme + 3);
    text.remove_prefix(scheme + 3);
    const std::string_view authority = text.substr(0, text.find_first_of("/ '\"\n"));
    if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos)
      text.remove_prefix(at + 1);
  }
  if (out.size() > limit) out.resize(limit);
  while (!out.empty() && is_control(out.back())) out.pop_back();
  std::replace_if(out.begin(), out.end(), is_control, ' ');
  return out;
}

}  // namespace muster::actors
