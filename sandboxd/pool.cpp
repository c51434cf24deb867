#include "sandboxd/pool.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>

#include "storage/base/files.hpp"

namespace muster::sandbox {

namespace {

constexpr std::size_t kMaxLines = 1000;        // environments that are remembered
constexpr std::size_t kMaxAsked = 64;          // times of each
constexpr std::int64_t kAfterFailureMs = 60'000;
constexpr std::uint64_t kLowMemoryPart = 8;
constexpr std::size_t kMaxSaidLines = 32;      // to the engine, of those remembered

std::int64_t idle_ms(const WarmSettings& settings) { return settings.idle_minutes * 60'000ll; }

/// What a sandbox made ahead takes after; the attempt's own, which may be much, is not kept.
wire::SandboxSpecT likeness(const wire::SandboxSpecT& spec) {
  wire::SandboxSpecT like;
  like.url = spec.url;
  like.base_branch = spec.base_branch;
  like.image = spec.image;
  like.network = spec.network;
  like.disk_bytes = spec.disk_bytes;
  return like;
}

std::uint64_t meminfo(const std::string& text, const std::string& key) {
  const std::size_t at = text.find(key);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + key.size(), nullptr, 10);
}

}  // namespace

unsigned warm_target(const std::deque<std::int64_t>& asked, std::int64_t now, const WarmSettings& settings) {
  const auto recent = std::count_if(asked.begin(), asked.end(),
                                    [&](std::int64_t at) { return now - at <= idle_ms(settings); });
  return recent < 2 ? 0 : std::min(static_cast<unsigned>(recent) - 1, settings.per_environment);
}

bool memory_is_low() {
  const std::string text = read_file("/proc/meminfo", 1u << 16).value_or("");
  const std::uint64_t total = meminfo(text, "MemTotal:"), available = meminfo(text, "MemAvailable:");
  return total > 0 && available < total / kLowMemoryPart;
}

WarmPool::WarmPool(Host& host, Loop& loop, std::function<unsigned()> number)
    : host_(host), loop_(loop), number_(std::move(number)), worker_(std::make_unique<Workers>(1)) {}

WarmPool::~WarmPool() {
  give_up_ = true;
  worker_.reset();  // what it has begun is over, what waited is dropped
  if (making_) remove_warm(host_, making_->id);
  for (const auto& [id, slot] : removing_) remove_warm(host_, id);
  for (const auto& [key, line] : lines_)
    for (const auto& warm : line.waiting) remove_warm(host_, warm.id);
}

std::optional<WarmSandbox> WarmPool::take(const std::string& key) {
  const auto found = lines_.find(key);
  if (key.empty() || found == lines_.end() || found->second.waiting.empty()) return std::nullopt;
  WarmSandbox warm = std::move(found->second.waiting.front());
  found->second.waiting.pop_front();
  return warm;
}

void WarmPool::placed(const wire::SandboxSpecT& spec, const Started& started) {
  if (host_.config.warm_pool.max == 0 || started.warm_key.empty()) return;
  const bool hit = started.warm_reuse == wire::Reuse::hit;
  ++(hit ? hits_ : misses_);
  if (!lines_.contains(started.warm_key) && lines_.size() >= kMaxLines) return;
  Line& line = lines_[started.warm_key];
  ++(hit ? line.hits : line.misses);
  line.asked.push_back(boot_ms());
  if (line.asked.size() > kMaxAsked) line.asked.pop_front();
  line.like = std::make_shared<const wire::SandboxSpecT>(likeness(spec));
  line.started = started;
  grow(boot_ms());
}

std::size_t WarmPool::count() const {
  std::size_t n = making_ ? 1 : 0;
  for (const auto& [key, line] : lines_) n += line.waiting.size();
  return n;
}

void WarmPool::tick(bool may_grow) {
  if (host_.config.warm_pool.max == 0) return;
  if (!may_grow || memory_is_low()) return clear();
  const std::int64_t now = boot_ms();
  shrink(now);
  grow(now);
}

/// What is not asked for any more, and what has died.
void WarmPool::shrink(std::int64_t now) {
  const auto& settings = host_.config.warm_pool;
  for (auto it = lines_.begin(); it != lines_.end();) {
    Line& line = it->second;
    const unsigned target = warm_target(line.asked, now, settings);
    std::erase_if(line.waiting, [&](const WarmSandbox& warm) {
      const bool lives = !host_.ops.exit_code(warm.id) && host_.ops.supervised(warm.id);
      if (!lives) remove(warm);
      return !lives;
    });
    while (line.waiting.size() > target) {
      remove(line.waiting.front());
      line.waiting.pop_front();
    }
    const bool over = line.waiting.empty() && now - line.asked.back() > idle_ms(settings);
    it = over ? lines_.erase(it) : std::next(it);
  }
}

/// The one that was asked for last gets the next; it takes the place of one that was not asked for for longest.
void WarmPool::grow(std::int64_t now) {
  if (making_) return;
  const auto& settings = host_.config.warm_pool;
  Line* best = nullptr;
  Line* oldest = nullptr;
  const std::string* key = nullptr;
  for (auto& [name, line] : lines_) {
    if (!line.waiting.empty() && (oldest == nullptr || line.asked.back() < oldest->asked.back())) oldest = &line;
    const bool wants = line.waiting.size() < warm_target(line.asked, now, settings) && now >= line.not_before;
    if (!wants || (best != nullptr && line.asked.back() <= best->asked.back())) continue;
    best = &line;
    key = &name;
  }
  if (best == nullptr) return;
  if (count() >= settings.max) {
    if (oldest == nullptr || oldest == best || best->asked.back() - oldest->asked.back() < idle_ms(settings) / 2) return;
    remove(oldest->waiting.front());
    oldest->waiting.pop_front();
  }
  make(*key, *best);
}

void WarmPool::make(const std::string& key, Line& line) {
  making_ = Making{new_warm_id(), key, number_(), true};
  give_up_ = false;
  worker_->post([this, making = *making_, like = line.like, started = line.started] {
    auto warm = make_warm(host_, *like, started, making.id, making.slot, [this] { return give_up_.load(); });
    if (!warm) remove_warm(host_, making.id);
    loop_.post([this, warm = std::move(warm)]() mutable { made(std::move(warm)); });
  });
}

void WarmPool::made(Result<WarmSandbox> warm) {
  const Making making = *making_;
  making_.reset();
  const auto line = lines_.find(making.key);
  if (!warm) {
    if (making.wanted) spdlog::info("no sandbox could be made ahead: {}", warm.error().message);
    if (line != lines_.end()) line->second.not_before = boot_ms() + kAfterFailureMs;
    return;
  }
  if (line == lines_.end() || !making.wanted) return remove(*warm);
  spdlog::debug("{}: waits for {}", warm->id, line->second.like->url);
  line->second.waiting.push_back(std::move(*warm));
  grow(boot_ms());
}

void WarmPool::remove(const WarmSandbox& warm) {
  removing_[warm.id] = warm.slot;
  worker_->post([this, id = warm.id] {
    remove_warm(host_, id);
    loop_.post([this, id] { removing_.erase(id); });
  });
}

void WarmPool::clear() {
  for (auto& [key, line] : lines_) {
    for (const auto& warm : line.waiting) remove(warm);
    line.waiting.clear();
  }
  if (making_) {
    making_->wanted = false;
    give_up_ = true;
  }
}

bool WarmPool::ended(const std::string& id) {
  for (auto& [key, line] : lines_) {
    const auto found = std::find_if(line.waiting.begin(), line.waiting.end(),
                                    [&](const WarmSandbox& warm) { return warm.id == id; });
    if (found == line.waiting.end()) continue;
    remove(*found);
    line.waiting.erase(found);
    return true;
  }
  return (making_ && making_->id == id) || removing_.contains(id);
}

std::set<unsigned> WarmPool::slots() const {
  std::set<unsigned> taken;
  if (making_) taken.insert(making_->slot);
  for (const auto& [id, slot] : removing_) taken.insert(slot);
  for (const auto& [key, line] : lines_)
    for (const auto& warm : line.waiting) taken.insert(warm.slot);
  return taken;
}

wire::WarmPoolStateT WarmPool::state() const {
  const std::int64_t now = boot_ms();
  wire::WarmPoolStateT state;
  state.max = host_.config.warm_pool.max;
  state.making = making_ ? 1 : 0;
  state.waiting = static_cast<std::uint32_t>(count()) - state.making;
  state.hits = hits_;
  state.misses = misses_;
  std::vector<const Line*> latest;
  for (const auto& [key, line] : lines_) latest.push_back(&line);
  std::sort(latest.begin(), latest.end(),
            [](const Line* a, const Line* b) { return a->asked.back() > b->asked.back(); });
  latest.resize(std::min(latest.size(), kMaxSaidLines));
  for (const Line* line : latest) {
    auto said = std::make_unique<wire::WarmPoolLineT>();
    said->url = line->like->url;
    said->branch = line->started.mirror.base_branch;
    said->image = line->like->image;
    said->waiting = static_cast<std::uint32_t>(line->waiting.size());
    said->wanted = warm_target(line->asked, now, host_.config.warm_pool);
    said->hits = line->hits;
    said->misses = line->misses;
    state.lines.push_back(std::move(said));
  }
  return state;
}

std::set<std::string> WarmPool::in_use() const {
  std::set<std::string> keys;
  for (const auto& [key, line] : lines_)
    if (!line.waiting.empty() || (making_ && making_->key == key)) keys.insert(Mirrors::key(line.like->url));
  return keys;
}

}  // namespace muster::sandbox
