#include "sandboxd/loop.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>

namespace muster::sandbox {

std::int64_t boot_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

Result<std::unique_ptr<Loop>> Loop::make() {
  Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return fail_errno("eventfd", errno);
  Fd inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify.valid()) return fail_errno("inotify", errno);
  return std::unique_ptr<Loop>(new Loop(std::move(wake), std::move(inotify)));
}

void Loop::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (tasks_.size() > 1) return;  // woken already
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);
}

void Loop::every(Duration period, std::function<void()> tick) {
  timers_.push_back({period.count(), boot_ms() + period.count(), std::move(tick)});
}

Result<int> Loop::watch(const std::string& path, std::uint32_t mask,
                        std::function<void(std::string_view)> changed) {
  const int number = ::inotify_add_watch(inotify_.get(), path.c_str(), mask);
  if (number < 0) return fail_errno("watch " + path, errno);
  watches_[number] = std::move(changed);
  return number;
}

void Loop::unwatch(int number) {
  if (watches_.erase(number) > 0) ::inotify_rm_watch(inotify_.get(), number);
}

void Loop::stop() {
  stopped_ = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);
}

void Loop::run() {
  while (!stopped_) {
    std::array<pollfd, 2> polled{{{wake_.get(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}}};
    ::poll(polled.data(), polled.size(), wait_ms());
    if (polled[0].revents != 0) run_tasks();
    if (polled[1].revents != 0) run_watches();
    run_timers();
  }
}

int Loop::wait_ms() const {
  std::int64_t until = boot_ms() + 60'000;
  for (const auto& timer : timers_) until = std::min(until, timer.due);
  return static_cast<int>(std::max<std::int64_t>(0, until - boot_ms()));
}

void Loop::run_tasks() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t n = ::read(wake_.get(), &count, sizeof count);
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (auto& task : tasks) task();
}

void Loop::run_timers() {
  const std::int64_t now = boot_ms();
  for (std::size_t i = 0; i < timers_.size(); ++i) {
    if (timers_[i].due > now) continue;
    timers_[i].due = now + timers_[i].period;
    const auto tick = timers_[i].tick;  // may add timers
    tick();
  }
}

void Loop::run_watches() {
  alignas(inotify_event) std::array<char, 65536> buffer{};
  std::set<std::pair<int, std::string>> changed;  // many events of one file are one
  ssize_t n = 0;
  while ((n = ::read(inotify_.get(), buffer.data(), buffer.size())) > 0)
    for (ssize_t at = 0; at < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      changed.emplace(event->wd, event->len > 0 ? event->name : "");
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  for (const auto& [number, name] : changed) {
    const auto found = watches_.find(number);
    if (found == watches_.end()) continue;
    const auto call = found->second;  // may unwatch itself
    call(name);
  }
}

Workers::Workers(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    tasks_.clear();
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Workers::post(std::function<void()> task, bool urgent) {
  {
    const std::lock_guard lock(mutex_);
    if (urgent) {
      tasks_.push_front(std::move(task));
    } else {
      tasks_.push_back(std::move(task));
    }
  }
  changed_.notify_one();
}

void Workers::work() {
  while (true) {
    std::function<void()> task;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopped_ || !tasks_.empty(); });
      if (stopped_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace muster::sandbox
