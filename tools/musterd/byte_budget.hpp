// Bytes that may be in memory at once, over all who share the budget. For one thread.
#pragma once

#include <cstddef>

namespace muster::musterd {

class ByteBudget {
 public:
  explicit ByteBudget(std::size_t limit) : left_(limit) {}

  /// What one user holds; given back when it goes.
  class Share {
   public:
    explicit Share(ByteBudget& budget) : budget_(budget) {}
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() { budget_.left_ += taken_; }
    /// False, with nothing taken, when that much is not left.
    bool take(std::size_t bytes) {
      if (bytes > budget_.left_) return false;
      budget_.left_ -= bytes;
      taken_ += bytes;
      return true;
    }

   private:
    ByteBudget& budget_;
    std::size_t taken_ = 0;
  };

 private:
  std::size_t left_;
};

}  // namespace muster::musterd
