// Scratch memory handed out from one block that the caller owns.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ortho::cpu {

// The same code measures and runs: measuring, nothing is touched, and peak() is what to ask for.
class Scratch {
 public:
  static constexpr size_t kAlignment = 64;

  Scratch() = default;  // measures
  explicit Scratch(void* base) : base_(static_cast<char*>(base)), measuring_(false) {}

  template <typename T>
  T* Take(int64_t elements) {
    char* at = measuring_ ? nullptr : base_ + used_;
    used_ += (static_cast<size_t>(elements) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    peak_ = used_ > peak_ ? used_ : peak_;
    return reinterpret_cast<T*>(at);
  }

  bool measuring() const { return measuring_; }
  size_t peak() const { return peak_; }
  size_t used() const { return used_; }
  void Release(size_t mark) { used_ = mark; }  // gives back all that was taken since used() == mark

 private:
  char* base_ = nullptr;
  bool measuring_ = true;
  size_t used_ = 0, peak_ = 0;
};

}  // namespace ortho::cpu
