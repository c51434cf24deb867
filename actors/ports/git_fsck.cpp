#include "actors/ports/git_fsck.hpp"

#include <git2.h>
#include <git2/sys/path.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <unordered_set>

#include "actors/ports/git_names.hpp"

namespace muster::actors::git {
namespace {

constexpr std::size_t kMaxEntryName = 4096;
constexpr std::size_t kMaxParents = 64;

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

/// Without the code points that HFS+ ignores in names: U+200C..F, U+202A..E, U+206A..F, U+FEFF.
std::string without_ignorable(std::string_view name) {
  std::string out;
  for (std::size_t i = 0; i < name.size();) {
    const std::string_view three = name.substr(i, 3);
    const auto third = three.size() == 3 ? static_cast<unsigned char>(three[2]) : 0u;
    const bool e280 = three.starts_with("\xe2\x80") &&
                      ((third >= 0x8c && third <= 0x8f) || (third >= 0xaa && third <= 0xae));
    const bool e281 = three.starts_with("\xe2\x81") && third >= 0xaa && third <= 0xaf;
    if (e280 || e281 || three == "\xef\xbb\xbf") {
      i += 3;
    } else {
      out += name[i++];
    }
  }
  return out;
}

/// NTFS drops trailing dots and blanks, and takes what follows ':' for a stream.
std::string as_ntfs(std::string_view name) {
  name = name.substr(0, name.find(':'));
  while (!name.empty() && (name.back() == '.' || name.back() == ' ')) name.remove_suffix(1);
  return lower_case(name);
}

bool known_mode(std::uint32_t mode) {
  constexpr std::array<std::uint32_t, 6> kModes = {0040000, 0100644, 0100755,
                                                   0100664, 0120000, 0160000};
  return std::find(kModes.begin(), kModes.end(), mode) != kModes.end();
}

std::string_view trouble_in_name(std::string_view name) {
  if (name.empty()) return "an empty name";
  if (name.size() > kMaxEntryName) return "a name that is too long";
  if (name.find('/') != std::string_view::npos) return "a name with '/'";
  if (name == "." || name == "..") return "the name '.' or '..'";
  for (std::string_view rest = name;;) {  // '\' separates on Windows.
    const std::size_t backslash = rest.find('\\');
    if (is_dot_git(rest.substr(0, backslash))) return "a name that stands for .git";
    if (backslash == std::string_view::npos) return {};
    rest.remove_prefix(backslash + 1);
  }
}

/// git's order: bytes of the names, as if those of trees ended with '/'.
bool in_order(const TreeEntry& a, const TreeEntry& b) {
  const std::size_t shared = std::min(a.name.size(), b.name.size());
  if (const int order = a.name.substr(0, shared).compare(b.name.substr(0, shared)); order != 0)
    return order < 0;
  const auto next = [shared](const TreeEntry& entry) -> unsigned char {
    if (entry.name.size() > shared) return static_cast<unsigned char>(entry.name[shared]);
    return entry.is_tree() ? '/' : '\0';
  };
  return next(a) < next(b);
}

tl::unexpected<Error> bad_tree(std::string_view what) {
  return fail(Errc::corrupt, "a tree holds " + std::string(what));
}

/// Takes "<mode> <name>\0<id>" off the front.
Result<TreeEntry> take_entry(std::string_view& raw) {
  TreeEntry entry;
  const std::size_t space = raw.find(' ');
  const std::size_t end = raw.find('\0');
  if (space == std::string_view::npos || space == 0 || space > 6 || end == std::string_view::npos ||
      end < space || raw.size() < end + 1 + GIT_OID_RAWSZ)
    return bad_tree("bytes that are no entry");
  for (const char digit : raw.substr(0, space)) {
    if (digit < '0' || digit > '7') return bad_tree("a malformed mode");
    entry.mode = entry.mode * 8 + static_cast<std::uint32_t>(digit - '0');
  }
  if (raw[0] == '0' || !known_mode(entry.mode)) return bad_tree("an unknown mode");
  entry.name = raw.substr(space + 1, end - space - 1);
  if (const auto trouble = trouble_in_name(entry.name); !trouble.empty()) return bad_tree(trouble);
  git_oid_fromraw(&entry.id, reinterpret_cast<const unsigned char*>(raw.data() + end + 1));
  if (git_oid_is_zero(&entry.id) != 0) return bad_tree("a null id");
  if (entry.mode == 0120000 && entry.is_gitmodules())
    return bad_tree("a .gitmodules that is a symbolic link");
  raw.remove_prefix(end + 1 + GIT_OID_RAWSZ);
  return entry;
}

tl::unexpected<Error> bad_commit(std::string_view what) {
  return fail(Errc::corrupt, "a commit has " + std::string(what));
}

/// Takes a line that begins with `header` and a blank off the front; its rest, or nothing.
bool take_line(std::string_view& raw, std::string_view header, std::string_view& rest) {
  if (!raw.starts_with(header) || raw.substr(header.size(), 1) != " ") return false;
  const std::size_t end = raw.find('\n');
  if (end == std::string_view::npos) return false;
  rest = raw.substr(header.size() + 1, end - header.size() - 1);
  raw.remove_prefix(end + 1);
  return true;
}

bool parse_link(std::string_view text, git_oid& id) {
  return text.size() == GIT_OID_HEXSZ && check_commit_id(text) &&
         git_oid_fromstrn(&id, text.data(), text.size()) == 0;
}

bool all_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// "Name <mail> 1700000000 +0100"
bool is_identity(std::string_view text) {
  const std::size_t open = text.find('<');
  const std::size_t close = text.find('>');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    return false;
  if (text.find('<', open + 1) != std::string_view::npos) return false;
  if (text.find('>', close + 1) != std::string_view::npos) return false;
  if (open > 0 && text[open - 1] != ' ') return false;
  std::string_view when = text.substr(close + 1);
  if (!when.starts_with(' ')) return false;
  when.remove_prefix(1);
  const std::size_t space = when.find(' ');
  if (space == std::string_view::npos || space > 18) return false;
  const std::string_view zone = when.substr(space + 1);
  return all_digits(when.substr(0, space)) && zone.size() == 5 &&
         (zone[0] == '+' || zone[0] == '-') && all_digits(zone.substr(1));
}

}  // namespace

bool is_dot_git(std::string_view name) {
  if (lower_case(without_ignorable(name)) == ".git") return true;
  const std::string ntfs = as_ntfs(name);
  return ntfs == ".git" || ntfs == "git~1";
}

bool TreeEntry::is_gitmodules() const {
  return git_path_is_gitfile(name.data(), name.size(), GIT_PATH_GITFILE_GITMODULES,
                             GIT_PATH_FS_GENERIC) != 0;
}

Result<std::vector<TreeEntry>> check_tree(std::string_view raw) {
  std::vector<TreeEntry> entries;
  std::unordered_set<std::string_view> names;
  while (!raw.empty()) {
    auto entry = take_entry(raw);
    if (!entry) return tl::unexpected<Error>(entry.error());
    if (!names.insert(entry->name).second) return bad_tree("a name twice");
    if (!entries.empty() && !in_order(entries.back(), *entry))
      return bad_tree("names out of order");
    entries.push_back(*entry);
  }
  return entries;
}

Result<CommitLinks> check_commit(std::string_view raw) {
  CommitLinks links;
  std::string_view line;
  if (raw.find('\0') != std::string_view::npos) return bad_commit("a NUL");
  if (!take_line(raw, "tree", line) || !parse_link(line, links.tree)) return bad_commit("no tree");
  while (take_line(raw, "parent", line)) {
    if (links.parents.size() == kMaxParents) return bad_commit("too many parents");
    if (!parse_link(line, links.parents.emplace_back())) return bad_commit("a malformed parent");
  }
  if (!take_line(raw, "author", line) || !is_identity(line))
    return bad_commit("a malformed author");
  if (!take_line(raw, "committer", line) || !is_identity(line))
    return bad_commit("a malformed committer");
  if (raw.find("\n\n") == std::string_view::npos && !raw.starts_with('\n'))
    return bad_commit("no message");
  return links;
}

}  // namespace muster::actors::git
