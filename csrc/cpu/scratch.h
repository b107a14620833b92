// Scratch memory handed out from one block that the caller owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace ortho::cpu {

// The same code measures and runs: measuring, nothing is touched, and peak() is what to ask for.
class Scratch {
 public:
  static constexpr size_t kAlignment = 64;

  Scratch() = default;  // measures
  Scratch(void* base, size_t capacity)
      : base_(static_cast<char*>(base)), capacity_(capacity), measuring_(false) {}

  template <typename T>
  T* Take(int64_t elements) {
    char* at = measuring_ ? nullptr : base_ + used_;
    used_ += (static_cast<size_t>(elements) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    peak_ = used_ > peak_ ? used_ : peak_;
    if (used_ > capacity_ &&
        !measuring_) {  // measured wrongly: our mistake, and not to be survived
      std::fprintf(stderr, "ortho: a kernel wants %zu bytes of the %zu it asked for\n", used_,
                   capacity_);
      std::abort();
    }
    return reinterpret_cast<T*>(at);
  }

  bool measuring() const { return measuring_; }
  size_t peak() const { return peak_; }
  size_t used() const { return used_; }
  void Release(size_t mark) { used_ = mark; }  // gives back all that was taken since used() == mark

 private:
  char* base_ = nullptr;
  size_t capacity_ = 0, used_ = 0, peak_ = 0;
  bool measuring_ = true;
};

}  // namespace ortho::cpu
