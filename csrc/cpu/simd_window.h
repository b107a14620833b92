// Dot products of many rows with one vector: the only pass over the window of op window_step_. The
// vector's block stays in the first-level cache, the rows come from memory, several at once, and
// memory's bandwidth bounds it.
//
// float32: products and sums in float64, where the products are exact. bfloat16: products in
// float32, where they are exact; sums in float32 over kSpan elements, then in float64.
#pragma once

#include "cpu/simd_step.h"
#include "cpu/simd_storage.h"

namespace ortho::cpu {
namespace {

constexpr int kRowsAtOnce = 4;

// The processor's own prefetching stops at the end of a page. Beyond the end of an array this is a
// hint that goes nowhere, and integers may go there.
ORTHO_INLINE void FetchAhead(const void* p) {
  constexpr uintptr_t kBytes = 1024;
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) + kBytes));
}

ORTHO_INLINE double SumOfLanes(Vector<double> x) {
  double total = 0;
  for (int lane = 0; lane < kVector<double>; ++lane) total += x[lane];
  return total;
}

template <typename S>
struct RowDots;

template <>
struct RowDots<float> {
  static constexpr int64_t kStep = 2 * kVector<double>;

  template <int kRows>
  static ORTHO_INLINE void Add(int64_t n, const float* const (&rows)[kRows], const float* g,
                               double* sums) {
    Vector<double> low[kRows] = {}, high[kRows] = {};
    for (int64_t i = 0; i < n; i += kStep) {
      const Vector<double> x = LoadVector<double>(g + i);
      const Vector<double> y = LoadVector<double>(g + i + kVector<double>);
      ORTHO_UNROLL for (int r = 0; r < kRows; ++r) {
        FetchAhead(rows[r] + i);
        low[r] += LoadVector<double>(rows[r] + i) * x;
        high[r] += LoadVector<double>(rows[r] + i + kVector<double>) * y;
      }
    }
    ORTHO_UNROLL for (int r = 0; r < kRows; ++r) sums[r] += SumOfLanes(low[r] + high[r]);
  }
};

template <>
struct RowDots<Bfloat> {
  static constexpr int64_t kStep = 2 * kVector<float>, kSpan = 16 * kStep;

  static ORTHO_INLINE WordVector Pairs(const Bfloat* p) {
    return *reinterpret_cast<const typename LooseVector<uint32_t, Bfloat>::Type*>(p);
  }

  template <int kRows>
  static ORTHO_INLINE void Add(int64_t n, const Bfloat* const (&rows)[kRows], const Bfloat* g,
                               double* sums) {
    for (int64_t begin = 0; begin < n; begin += kSpan) {
      const int64_t end = begin + kSpan < n ? begin + kSpan : n;
      FloatVector even[kRows] = {}, odd[kRows] = {};
      for (int64_t i = begin; i < end; i += kStep) {
        const WordVector pairs = Pairs(g + i);
        const FloatVector x = WidenUpper(pairs << 16, Bfloat{});
        const FloatVector y = WidenUpper(pairs & 0xffff0000u, Bfloat{});
        ORTHO_UNROLL for (int r = 0; r < kRows; ++r) {
          FetchAhead(rows[r] + i);
          const WordVector row = Pairs(rows[r] + i);
          even[r] += WidenUpper(row << 16, Bfloat{}) * x;
          odd[r] += WidenUpper(row & 0xffff0000u, Bfloat{}) * y;
        }
      }
      ORTHO_UNROLL for (int r = 0; r < kRows; ++r) {
        double total = 0;
        for (int lane = 0; lane < kVector<float>; ++lane)
          total += static_cast<double>(even[r][lane]) + static_cast<double>(odd[r][lane]);
        sums[r] += total;
      }
    }
  }
};

template <typename S, int kRows>
ORTHO_INLINE void AddDots(int64_t n, const S* first, int64_t stride, const S* g, double* sums) {
  constexpr int64_t kStep = RowDots<S>::kStep;
  const S* rows[kRows];
  ORTHO_UNROLL for (int r = 0; r < kRows; ++r) rows[r] = first + r * stride;
  const int64_t whole = n / kStep * kStep, rest = n - whole;
  RowDots<S>::Add(whole, rows, g, sums);
  if (rest == 0) return;
  // What is left goes through room for a whole step; zeros beyond it add nothing.
  S room[kRows + 1][kStep] = {};
  const auto bytes = static_cast<decltype(sizeof(S))>(rest) * sizeof(S);
  __builtin_memcpy(room[kRows], g + whole, bytes);
  ORTHO_UNROLL for (int r = 0; r < kRows; ++r) {
    __builtin_memcpy(room[r], rows[r] + whole, bytes);
    rows[r] = room[r];
  }
  RowDots<S>::Add(kStep, rows, room[kRows], sums);
}

template <typename S>
void DotRows(int64_t rows, int64_t n, const void* window, int64_t stride, const void* vector,
             double* sums) {
  const S *row = static_cast<const S*>(window), *g = static_cast<const S*>(vector);
  for (; rows >= kRowsAtOnce; rows -= kRowsAtOnce) {
    AddDots<S, kRowsAtOnce>(n, row, stride, g, sums);
    row += kRowsAtOnce * stride;
    sums += kRowsAtOnce;
  }
  for (; rows > 0; --rows, row += stride, ++sums) AddDots<S, 1>(n, row, stride, g, sums);
}

}  // namespace
}  // namespace ortho::cpu
