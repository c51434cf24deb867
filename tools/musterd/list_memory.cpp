#include "tools/musterd/list_memory.hpp"

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

bool ToldRows::tell(const std::string& name, std::size_t content, std::uint64_t at) {
  const std::lock_guard lock(mutex_);
  const auto [told, fresh] = rows_.try_emplace(name);
  if (!fresh && told->second.there && !told->second.again && told->second.content == content)
    return false;
  told->second = {content, at, true, false};
  if (rows_.size() > kMost) {
    known_ = false;
    rows_.clear();
  }
  return true;
}

std::vector<std::string> ToldRows::tell_left(const std::set<std::string>& there,
                                             std::uint64_t at) {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> left;
  for (auto& [name, told] : rows_) {
    if ((!told.there && !told.again) || there.contains(name)) continue;
    told = {0, at, false, false};
    left.push_back(name);
  }
  return left;
}

void ToldRows::rewind(std::uint64_t at) {
  const std::lock_guard lock(mutex_);
  for (auto& [name, told] : rows_) told.again = told.again || told.at > at;
}

void ToldRows::forget() {
  const std::lock_guard lock(mutex_);
  known_ = false;
  rows_.clear();
}

void ToldRows::restart() {
  const std::lock_guard lock(mutex_);
  known_ = true;
  rows_.clear();
}

bool ToldRows::known() const {
  const std::lock_guard lock(mutex_);
  return known_;
}

std::size_t ToldRows::size() const {
  const std::lock_guard lock(mutex_);
  return rows_.size();
}

std::shared_ptr<ToldRows> ToldRows::copy() const {
  auto other = std::make_shared<ToldRows>();
  const std::lock_guard lock(mutex_);
  other->known_ = known_;
  other->rows_ = rows_;
  return other;
}

ListNames::ListNames() : salt_(random_salt()) {}

std::string ListNames::next() {
  constexpr std::size_t kDigits = 16;
  return sha256_hex(salt_ + std::to_string(++made_)).substr(0, kDigits);
}

}  // namespace muster::musterd
