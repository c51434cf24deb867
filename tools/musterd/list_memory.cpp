#include "tools/musterd/list_memory.hpp"

#include <algorithm>
#include <random>

#include "storage/base/ids.hpp"

namespace muster::musterd {
namespace {

std::size_t hash_of(std::string_view name) {
  return std::hash<std::string_view>()(name);
}

std::string random_salt() {
  std::random_device random;
  return std::to_string(random()) + "-" + std::to_string(random());
}

}  // namespace

void GivenItems::add(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (all_) {
    items_.erase(hash_of(name));
    return;
  }
  items_.insert(hash_of(name));
  if (items_.size() <= kMost) return;
  all_ = true;
  items_.clear();
}

bool GivenItems::take(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (!all_) return items_.erase(hash_of(name)) > 0;
  if (items_.size() >= kMost) items_.clear();
  return items_.insert(hash_of(name)).second;
}

void GivenItems::forget() {
  const std::lock_guard lock(mutex_);
  all_ = true;
  items_.clear();
}

std::size_t GivenItems::size() const {
  const std::lock_guard lock(mutex_);
  return items_.size();
}

std::shared_ptr<GivenItems> GivenItems::copy() const {
  auto other = std::make_shared<GivenItems>();
  const std::lock_guard lock(mutex_);
  other->all_ = all_;
  other->items_ = items_;
  return other;
}

ListMemory::ListMemory() : salt_(random_salt()) {}

ListMemory::Named ListMemory::begin() {
  const std::lock_guard lock(mutex_);
  return keep(std::make_shared<GivenItems>());
}

ListMemory::Named ListMemory::find(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto found = by_name_.find(std::string(name));
  if (found != by_name_.end()) {
    kept_.splice(kept_.end(), kept_, found->second);
    return *found->second;
  }
  auto unknown = std::make_shared<GivenItems>();
  unknown->forget();
  return keep(std::move(unknown));
}

ListMemory::Named ListMemory::copy(std::string_view name) {
  const Named original = find(name);
  const std::lock_guard lock(mutex_);
  return keep(original.given->copy());
}

ListMemory::Named ListMemory::keep(std::shared_ptr<GivenItems> given) {
  constexpr std::size_t kNameDigits = 16;
  Named list{sha256_hex(salt_ + std::to_string(++made_)).substr(0, kNameDigits), std::move(given)};
  by_name_[list.name] = kept_.insert(kept_.end(), list);
  bound();
  return list;
}

/// What streams added meanwhile is counted when another list comes.
void ListMemory::bound() {
  std::size_t items = 0;
  for (const Named& list : kept_) items += list.given->size();
  while (kept_.size() > 1 && (items > kMostItems || kept_.size() > kMostLists)) {
    items -= std::min(items, kept_.front().given->size());
    by_name_.erase(kept_.front().name);
    kept_.pop_front();
  }
}

}  // namespace muster::musterd
