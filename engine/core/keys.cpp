#include "engine/core/keys.hpp"

#include "storage/journal/journal.hpp"

namespace muster::engine::keys {

using storage::get_be64;
using storage::prefix_end;
using storage::put_be32;
using storage::put_be64;

namespace {

constexpr char kHead = 'h';
constexpr char kRow = 'r';
constexpr char kSnapshot = 'p';
constexpr char kArchive = 'a';

void put_escaped(std::string& out, std::string_view text) {
  for (std::size_t nul = text.find('\0'); nul != text.npos; nul = text.find('\0')) {
    out.append(text.substr(0, nul + 1)).push_back('\xff');
    text.remove_prefix(nul + 1);
  }
  out += text;
}

std::string escaped(std::string_view text) {
  std::string out;
  put_escaped(out, text);
  return out;
}

constexpr std::string_view kEnd("\0\x01", 2);

std::string ended(std::string_view text) { return escaped(text).append(kEnd); }

/// Takes what ended() wrote off the front of `text`.
std::optional<std::string> take_ended(std::string_view& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\0') {
      out += text[i];
      continue;
    }
    if (++i == text.size()) return std::nullopt;
    if (text[i] == '\x01') {
      text.remove_prefix(i + 1);
      return out;
    }
    out += '\0';
  }
  return std::nullopt;
}

std::size_t size_of(const ActorId& id) {
  return 1 + id.org.size() + 1 + id.kind.size() + 1 + id.key.size() + 1;
}

/// And room for `more`, so that a key is one allocation.
void put_actor(std::string& out, const ActorId& id, std::size_t more) {
  out.reserve(out.size() + size_of(id) + more);
  out += static_cast<char>(id.slot());
  for (const std::string* part : {&id.org, &id.kind, &id.key}) {
    out += *part;
    out += '\0';
  }
}

std::string with_actor(const ActorId& id, char sort, std::string_view rest, std::size_t more = 0) {
  std::string out;
  put_actor(out, id, 1 + rest.size() + more);
  out += sort;
  out += rest;
  return out;
}

std::optional<std::string> take_part(std::string_view& text) {
  const std::size_t end = text.find('\0');
  if (end == text.npos) return std::nullopt;
  std::string part(text.substr(0, end));
  text.remove_prefix(end + 1);
  return part;
}

}  // namespace

std::string actor(const ActorId& id) {
  std::string out;
  put_actor(out, id, 0);
  return out;
}

std::optional<ActorId> take_actor(std::string_view& text) {
  if (text.empty()) return std::nullopt;
  text.remove_prefix(1);
  auto org = take_part(text);
  auto kind = org ? take_part(text) : std::nullopt;
  auto key = kind ? take_part(text) : std::nullopt;
  if (!key) return std::nullopt;
  return ActorId{std::move(*org), std::move(*kind), std::move(*key)};
}

std::string head(const ActorId& id) { return with_actor(id, kHead, {}); }

std::string archive(const ActorId& id) { return with_actor(id, kArchive, {}); }

std::string row(const ActorId& id, std::string_view row) { return with_actor(id, kRow, row); }

std::pair<std::string, std::string> rows(const ActorId& id, std::string_view lower,
                                         std::string_view upper) {
  return {row(id, lower), upper.empty() ? prefix_end(row(id, "")) : row(id, upper)};
}

std::string snapshot(const ActorId& id, std::uint64_t decision) {
  std::string out = with_actor(id, kSnapshot, {}, sizeof decision);
  put_be64(out, decision);
  return out;
}

std::string_view row_name(std::string_view row_key, const ActorId& id) {
  return row_key.substr(size_of(id) + 1);
}

std::string sequence(Sequence sequence) {
  std::string out;
  put_be64(out, sequence);
  return out;
}

std::string audit(std::uint64_t position, std::uint32_t ordinal) {
  std::string out = keys::sequence(position);
  put_be32(out, ordinal);
  return out;
}

std::string backlog(const ActorId& id, Lane lane, Sequence sequence) {
  std::string out = with_actor(id, static_cast<char>(lane), {}, sizeof sequence);
  put_be64(out, sequence);
  return out;
}

std::string timer(Instant due, const ActorId& id, std::string_view name) {
  std::string out;
  put_be64(out, static_cast<std::uint64_t>(due.unix_ms < 0 ? 0 : due.unix_ms));
  put_actor(out, id, name.size());
  return out.append(name);
}

Instant timer_due(std::string_view key) { return {static_cast<std::int64_t>(get_be64(key))}; }

std::string effect(const ActorId& id, Sequence sequence, std::uint32_t ordinal) {
  std::string out;
  put_actor(out, id, sizeof sequence + sizeof ordinal);
  put_be64(out, sequence);
  put_be32(out, ordinal);
  return out;
}

std::string call(std::string_view api_key) { return "k" + std::string(api_key); }
std::string channel(std::string_view channel) { return "c" + std::string(channel); }
std::string source(std::uint32_t shard) {
  std::string out = "x";
  put_be32(out, shard);
  return out;
}

std::string outbox(std::uint32_t destination, std::uint64_t number) {
  std::string out;
  put_be32(out, destination);
  put_be64(out, number);
  return out;
}

std::uint64_t outbox_number(std::string_view key) { return get_be64(key.substr(4)); }

std::string index(std::string_view index, std::string_view key, const ActorId& id) {
  std::string out;
  out.reserve(index.size() + key.size() + 2 * kEnd.size() + size_of(id));
  put_escaped(out, index);
  out += kEnd;
  put_escaped(out, key);
  out += kEnd;
  put_actor(out, id, 0);
  return out;
}

std::pair<std::string, std::string> index_range(std::string_view index, std::string_view lower,
                                                std::string_view upper) {
  const std::string all = ended(index);
  return {all + escaped(lower), upper.empty() ? prefix_end(all) : all + escaped(upper)};
}

std::optional<IndexKey> parse_index(std::string_view text) {
  if (!take_ended(text)) return std::nullopt;
  auto key = take_ended(text);
  if (!key) return std::nullopt;
  auto id = take_actor(text);
  if (!id) return std::nullopt;
  return IndexKey{std::move(*key), std::move(*id)};
}

}  // namespace muster::engine::keys
