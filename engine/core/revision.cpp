#include "engine/core/revision.hpp"

#include "storage/base/ids.hpp"
#include "storage/journal/journal.hpp"

namespace muster::engine {
namespace {

constexpr std::size_t kDigits = 16;
// An Errc of its own would be the only other mark; the words are kept with the call's answer, too.
constexpr std::string_view kOutdated = "it has changed since: its revision is ";

bool lists(std::string_view revisions, std::string_view wanted) {
  while (!revisions.empty()) {
    const std::size_t blank = std::min(revisions.find(' '), revisions.size());
    if (revisions.substr(0, blank) == wanted) return true;
    revisions.remove_prefix(std::min(blank + 1, revisions.size()));
  }
  return false;
}

}  // namespace

std::string revision_of(std::string_view state, const NamedRows& rows) {
  std::string text(state);
  for (const auto& [key, value] : rows) {
    text += '\0' + key + '\0';
    text += value;
  }
  return sha256_hex(text).substr(0, kDigits);
}

std::optional<Reply> check_only_if(const Envelope& message, const KindOps& kind, const void* state,
                                   RowReader& rows) {
  if (message.only_if.empty()) return std::nullopt;
  const std::string& prefix = message.only_if_rows;
  const NamedRows counted =
      prefix.empty() ? NamedRows() : rows.rows(prefix, storage::prefix_end(prefix), kRevisionRows);
  const std::string revision = revision_of(kind.encode_state(state), counted);
  if (lists(message.only_if, revision)) return std::nullopt;
  return Reply{Errc::conflict, std::string(kOutdated) + revision};
}

std::optional<std::string> is_outdated(const Error& error) {
  if (error.code != Errc::conflict || !error.message.starts_with(kOutdated)) return std::nullopt;
  return error.message.substr(kOutdated.size());
}

}  // namespace muster::engine
