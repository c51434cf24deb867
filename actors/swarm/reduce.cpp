#include "actors/swarm/reduce.hpp"

#include <algorithm>
#include <limits>
#include <set>

#include "actors/swarm/markdown_template.hpp"

namespace muster::actors::swarm {
namespace {

using nlohmann::json;

/// One value with the facet that gave it; facets are in order of their names.
struct Item {
  const std::string* facet;
  const json* value;
};
using Items = std::vector<Item>;

const json* at(const json& value, const json::json_pointer& pointer) {
  return value.contains(pointer) ? &value.at(pointer) : nullptr;
}

tl::unexpected<Error> wrong(const Item& item, const std::string& what) {
  return fail(Errc::invalid, "facet " + *item.facet + ": " + what);
}

/// The elements of the lists that facets gave.
Result<Items> elements(const Items& lists) {
  Items items;
  for (const Item& list : lists) {
    if (!list.value->is_array()) return wrong(list, "must be a list");
    if (items.size() + list.value->size() > kMaxReducedItems)
      return fail(Errc::refused, "more than " + std::to_string(kMaxReducedItems) + " items");
    for (const json& element : *list.value) items.push_back({list.facet, &element});
  }
  return items;
}

Result<void> unite(const Reducer& reducer, const Items& items, Reduction& to) {
  std::vector<Items> groups;  // In the order in which keys are first seen.
  std::map<std::string, std::size_t> by_key;
  for (const Item& item : items) {
    const json* key = at(*item.value, reducer.key);
    if (key == nullptr) return wrong(item, "an item without its key " + reducer.key.to_string());
    const auto [found, fresh] = by_key.emplace(key->dump(), groups.size());
    if (fresh) groups.emplace_back();
    Items& group = groups[found->second];
    const bool known = std::any_of(group.begin(), group.end(),
                                   [&](const Item& other) { return *other.value == *item.value; });
    if (known) continue;
    if (!group.empty() && reducer.on_conflict == OnConflict::refuse)
      return fail(Errc::conflict, "facets " + *group[0].facet + " and " + *item.facet +
                                      " differ about " + key->dump());
    group.push_back(item);
  }
  to.value = json::array();
  for (const Items& group : groups) {
    if (reducer.on_conflict == OnConflict::all)
      for (const Item& item : group) to.value.push_back(*item.value);
    else
      to.value.push_back(
          *(reducer.on_conflict == OnConflict::last ? group.back() : group.front()).value);
  }
  return {};
}

Result<void> add(const Items& items, Reduction& to) {
  std::int64_t whole = 0;
  double real = 0;
  bool exact = true;
  for (const Item& item : items) {
    if (!item.value->is_number()) return wrong(item, "must be a number");
    real += item.value->get<double>();
    const bool fits = item.value->is_number_integer() &&
                      (!item.value->is_number_unsigned() ||
                       item.value->get<std::uint64_t>() <=
                           static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
    exact =
        exact && fits && !__builtin_add_overflow(whole, item.value->get<std::int64_t>(), &whole);
  }
  to.value = exact ? json(whole) : json(real);
  return {};
}

Result<void> extreme(const Items& items, bool largest, Reduction& to) {
  const json* best = nullptr;
  for (const Item& item : items) {
    if (!item.value->is_number()) return wrong(item, "must be a number");
    if (best == nullptr || (largest ? *best < *item.value : *item.value < *best)) best = item.value;
  }
  to.decided = best != nullptr;
  if (best != nullptr) to.value = *best;
  return {};
}

/// Keeps the first `limit`.
void take(const Items& items, std::size_t limit, Reduction& to) {
  to.value = json::array();
  const std::size_t kept = limit == 0 ? items.size() : std::min(limit, items.size());
  for (std::size_t i = 0; i < kept; ++i) to.value.push_back(*items[i].value);
  to.left_out = items.size() - kept;
}

/// Sorts by what stands under reducer.key, facets' order deciding between equals.
Result<void> order(const Reducer& reducer, Items& items, bool falling) {
  for (const Item& item : items) {
    const json* key = at(*item.value, reducer.key);
    if (key == nullptr || (falling && !key->is_number()))
      return wrong(item, "an item without " + reducer.key.to_string());
  }
  std::stable_sort(items.begin(), items.end(), [&](const Item& a, const Item& b) {
    const json &left = a.value->at(reducer.key), &right = b.value->at(reducer.key);
    return falling ? right < left : left < right;
  });
  return {};
}

void vote(const Reducer& reducer, const Items& items, std::size_t facets, Reduction& to) {
  std::map<std::string, Items> ballots;
  for (const Item& item : items) ballots[item.value->dump()].push_back(item);
  const std::size_t quorum = reducer.quorum != 0 ? reducer.quorum : facets / 2 + 1;
  std::size_t most = 0, winners = 0;
  const json* winner = nullptr;
  json votes = json::array();
  for (const auto& [text, voters] : ballots) {
    json names = json::array();
    for (const Item& voter : voters) names.push_back(*voter.facet);
    votes.push_back({{"value", *voters[0].value}, {"facets", names}});
    winners = voters.size() > most ? 1 : winners + (voters.size() == most ? 1 : 0);
    if (voters.size() > most) winner = voters[0].value;
    most = std::max(most, voters.size());
  }
  to.decided = most >= quorum && winners == 1;
  to.value = {{"value", to.decided ? *winner : json(nullptr)}, {"votes", votes}};
}

Result<void> apply(const Reducer& reducer, Items items, std::size_t facets, Reduction& to) {
  switch (reducer.kind) {
    case ReducerKind::sum:
      return add(items, to);
    case ReducerKind::min:
    case ReducerKind::max:
      return extreme(items, reducer.kind == ReducerKind::max, to);
    case ReducerKind::vote:
      vote(reducer, items, facets, to);
      return {};
    case ReducerKind::unite:
    case ReducerKind::concat:
    case ReducerKind::top:
      break;
    case ReducerKind::markdown:
      return fail(Errc::invalid, "a template is filled, and reduces nothing");
  }
  auto all = elements(items);
  if (!all) return tl::unexpected<Error>(all.error());
  if (reducer.kind == ReducerKind::unite) return unite(reducer, *all, to);
  if (reducer.kind == ReducerKind::top || reducer.ordered)
    if (auto ok = order(reducer, *all, reducer.kind == ReducerKind::top); !ok) return ok;
  take(*all, reducer.limit, to);
  return {};
}

/// Reads the keys of a declaration; the first mistake stays.
class Declaration {
 public:
  explicit Declaration(const json& declared) : declared_(declared) {}

  void pointer(const char* key, json::json_pointer& to) {
    const json* value = find(key);
    if (value == nullptr) return mistake(std::string(key) + " is missing");
    try {
      to = json::json_pointer(value->is_string() ? value->get<std::string>() : "x");
    } catch (const json::parse_error&) {
      mistake(std::string(key) + " must be a JSON pointer, such as /items");
    }
  }
  void text(const char* key, std::string& to) {
    const json* value = find(key);
    if (value == nullptr || !value->is_string()) return mistake(std::string(key) + " is missing");
    to = value->get<std::string>();
    if (const std::string trouble = trouble_in_template(to); !trouble.empty())
      mistake(std::string(key) + " " + trouble);
  }
  void count(const char* key, std::size_t& to) {
    const json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_number_unsigned() || *value == 0U || *value > kMaxReducedItems)
      return mistake(std::string(key) + " must be a count");
    to = value->get<std::size_t>();
  }
  /// The position of the word; 0 when the key is absent and may be.
  std::size_t choice(const char* key, const std::vector<std::string>& words, bool required) {
    const json* value = find(key);
    if (value == nullptr && !required) return 0;
    for (std::size_t i = 0; value != nullptr && i < words.size(); ++i)
      if (*value == words[i]) return i;
    std::string all;
    for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
    mistake(std::string(key) + " must be one of " + all);
    return 0;
  }
  bool has(const char* key) const { return declared_.contains(key); }
  Result<void> finish() {
    for (const auto& entry : declared_.items())
      if (known_.count(entry.key()) == 0) mistake("unknown key " + entry.key());
    if (!mistake_.empty()) return fail(Errc::invalid, "reducer: " + mistake_);
    return {};
  }

 private:
  const json* find(const char* key) {
    known_.insert(key);
    return declared_.contains(key) ? &declared_[key] : nullptr;
  }
  void mistake(const std::string& what) {
    if (mistake_.empty()) mistake_ = what;
  }
  const json& declared_;
  std::set<std::string> known_;
  std::string mistake_;
};

}  // namespace

Result<Reducer> parse_reducer(const json& declared) {
  if (!declared.is_object()) return fail(Errc::invalid, "reducer: must be a mapping");
  Declaration from(declared);
  Reducer reducer;
  reducer.kind = static_cast<ReducerKind>(from.choice(
      "kind", {"union", "sum", "min", "max", "concat", "vote", "top", "template"}, true));
  if (reducer.kind != ReducerKind::markdown) from.pointer("from", reducer.from);
  switch (reducer.kind) {
    case ReducerKind::unite:
      from.pointer("key", reducer.key);
      reducer.on_conflict = static_cast<OnConflict>(
          from.choice("on_conflict", {"refuse", "first", "last", "all"}, false));
      break;
    case ReducerKind::concat:
      reducer.ordered = from.has("order_by");
      if (reducer.ordered) from.pointer("order_by", reducer.key);
      from.count("limit", reducer.limit);
      break;
    case ReducerKind::vote:
      from.count("quorum", reducer.quorum);
      break;
    case ReducerKind::top:
      from.pointer("by", reducer.key);
      from.count("limit", reducer.limit);
      break;
    case ReducerKind::markdown:
      from.text("text", reducer.text);
      break;
    case ReducerKind::sum:
    case ReducerKind::min:
    case ReducerKind::max:
      break;
  }
  if (auto ok = from.finish(); !ok) return tl::unexpected<Error>(ok.error());
  return reducer;
}

Result<Reduction> reduce(const Reducer& reducer, const std::vector<std::string>& facets,
                         const std::map<std::string, json>& results) {
  const std::set<std::string> names(facets.begin(), facets.end());
  Reduction reduction;
  Items items;
  for (const std::string& name : names) {
    const auto result = results.find(name);
    const json* value = result == results.end() ? nullptr : at(result->second, reducer.from);
    if (value == nullptr)
      reduction.missing.push_back(name);
    else
      items.push_back({&name, value});
  }
  if (auto ok = apply(reducer, items, names.size(), reduction); !ok)
    return tl::unexpected<Error>(ok.error());
  if (items.empty()) reduction.decided = false;
  return reduction;
}

}  // namespace muster::actors::swarm
