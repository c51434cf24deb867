// The file: "MSTSTEP1", the name of the running message or 0, then suspects, the newest first: a name, and at how
// many ends of the process it was running. Native byte order: it is of no use on another machine.
#include "engine/core/breadcrumb.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "storage/base/files.hpp"

namespace muster::engine {

namespace {

constexpr std::array<char, 8> kMagic{'M', 'S', 'T', 'S', 'T', 'E', 'P', '1'};
constexpr std::size_t kSuspects = 15;
constexpr std::uint64_t kEnds = 2;

}  // namespace

struct Breadcrumb::Page {
  struct Suspect {
    std::uint64_t name;
    std::uint64_t ends;
  };
  std::array<char, 8> magic;
  std::uint64_t running;
  std::array<Suspect, kSuspects> suspects;
};

Result<std::unique_ptr<Breadcrumb>> Breadcrumb::open(const std::filesystem::path& file) {
  const Fd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640));
  if (!fd.valid()) return fail_errno(file.string(), errno);
  // With its blocks: a hole that can't be filled later would end the process by SIGBUS.
  if (const int wrong = ::posix_fallocate(fd.get(), 0, sizeof(Page)); wrong != 0)
    return fail_errno(file.string(), wrong);
  void* mapped =
      ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (mapped == MAP_FAILED) return fail_errno("mapping " + file.string(), errno);
  std::unique_ptr<Breadcrumb> crumb(new Breadcrumb(static_cast<Page*>(mapped)));
  if (crumb->page_->magic != kMagic) {
    std::memset(mapped, 0, sizeof(Page));
    crumb->page_->magic = kMagic;
  }
  crumb->count_the_last();
  return crumb;
}

Breadcrumb::~Breadcrumb() { ::munmap(page_, sizeof(Page)); }

void Breadcrumb::count_the_last() {
  const std::uint64_t name = std::exchange(page_->running, 0);
  if (name == 0) return;
  auto& suspects = page_->suspects;
  auto at = std::find_if(suspects.begin(), suspects.end(),
                         [&](const Page::Suspect& s) { return s.name == name; });
  const std::uint64_t ends = at == suspects.end() ? 0 : at->ends;
  if (at == suspects.end()) --at;  // The oldest makes room.
  std::move_backward(suspects.begin(), at, at + 1);
  suspects.front() = {name, ends + 1};
}

// Atomic, so that the compiler keeps both writes around a step that it may see to be pure.
void Breadcrumb::enter(std::uint64_t name) {
  std::atomic_ref(page_->running).store(name, std::memory_order_release);
}
void Breadcrumb::leave() {
  std::atomic_ref(page_->running).store(0, std::memory_order_release);
}

bool Breadcrumb::condemned(std::uint64_t name) const {
  for (const Page::Suspect& suspect : page_->suspects) {
    if (suspect.name == 0) return false;
    if (suspect.name == name) return suspect.ends >= kEnds;
  }
  return false;
}

}  // namespace muster::engine
