// Which message a shard is stepping, in a mapped file: when the process dies of the step the kernel keeps it, and
// the next start knows. A message that was running at two ends of the process is condemned; the shard parks it
// without stepping it a third time.
//
//   auto crumb = Breadcrumb::open(directory / "shard-0.running");   // counts what it finds there
//   crumb->condemned(name) ? park(…) : (crumb->enter(name), step(…), crumb->leave());
//
// Names are fingerprint()s. Belongs to the shard's strand. The file needs no sync: after a power cut it is of no
// use, and a wrong name in it condemns nothing that exists.
#pragma once

#include <filesystem>
#include <memory>

#include "engine/core/interfaces.hpp"

namespace muster::engine {

class Breadcrumb final : public StepMark {
 public:
  /// Makes the file when it is missing; one that is not a breadcrumb is begun anew.
  static Result<std::unique_ptr<Breadcrumb>> open(const std::filesystem::path& file);
  ~Breadcrumb() override;
  Breadcrumb(const Breadcrumb&) = delete;
  Breadcrumb& operator=(const Breadcrumb&) = delete;

  void enter(std::uint64_t name) override;
  void leave() override;
  [[nodiscard]] bool condemned(std::uint64_t name) const override;

 private:
  struct Page;
  explicit Breadcrumb(Page* page) : page_(page) {}
  /// What was running when the last process ended counts once more.
  void count_the_last();

  Page* page_;  ///< The mapping.
};

}  // namespace muster::engine
