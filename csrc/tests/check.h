// The little that a plain test program needs: a check that says where and what, and a count at the
// end.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "cpu/isa.h"

namespace ortho::test {

inline int failures = 0;
inline const char* context = "";

#define CHECK(condition, ...)                                                             \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d [%s] %s: ", __FILE__, __LINE__, ::ortho::test::context, \
                   #condition);                                                           \
      std::fprintf(stderr, __VA_ARGS__);                                                  \
      std::fprintf(stderr, "\n");                                                         \
      ++::ortho::test::failures;                                                          \
    }                                                                                     \
  } while (0)

inline int Result() {
  if (failures > 0) std::fprintf(stderr, "%d checks failed\n", failures);
  return failures > 0;
}

// A small generator of our own: the same numbers on every machine. Uniform in (-1, 1).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  double Next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX
    return static_cast<double>(static_cast<int64_t>(state_ >> 11) - (int64_t{1} << 52)) /
           static_cast<double>(int64_t{1} << 52);
  }

 private:
  uint64_t state_;
};

// 64-byte aligned storage, filled with NaN so that what was not written shows.
template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t n) : storage_(static_cast<size_t>(n) + 64 / sizeof(T), T(NAN)) {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    data_ = storage_.data() + (64 - address % 64) % 64 / sizeof(T);
  }
  T* data() { return data_; }
  T& operator[](int64_t i) { return data_[i]; }

 private:
  std::vector<T> storage_;
  T* data_;
};

template <typename T>
void Fill(Random& random, Buffer<T>& buffer, int64_t n) {
  for (int64_t i = 0; i < n; ++i) buffer[i] = static_cast<T>(random.Next());
}

// Every table that can run here, and the AVX-512 geometry in narrower registers (kernels_wide.cc),
// so that the tiles of a machine we may not have are run all the same.
extern const cpu::KernelTable kWideKernels;

inline std::vector<const cpu::KernelTable*> AllTables() {
  std::vector<const cpu::KernelTable*> tables = {&kWideKernels};
  for (const cpu::KernelTable* const* row = cpu::RunnableKernels(); *row; ++row)
    tables.push_back(*row);
  return tables;
}

// Runs test(table) on each of them; the exit status of the program.
template <typename Test>
int OnEveryTable(const Test& test) {
  for (const cpu::KernelTable* table : AllTables()) {
    context = table->name;
    test(*table);
  }
  return Result();
}

// Runs test(kernels, random) on both arithmetics of a table.
template <typename Test>
void OnBothTypes(const cpu::KernelTable& table, const Test& test) {
  Random first(1), second(2);
  test(table.f32, first);
  test(table.f64, second);
}

}  // namespace ortho::test
