// Products of panels. Included by kernels_simd.h alone.
#pragma once

#include "cpu/simd_vector.h"

namespace ortho::cpu {
namespace {

// How sums of T take up operands of the same type. kernels_pairs.h has another arithmetic.
template <typename T>
struct MultiplyAdd {
  using Operand = T;
  using Sum = T;
  static Vector<T> Load(const T* p) { return At(p); }
  static Vector<T> Spread(T x) { return Broadcast(x); }
  static Vector<T> Add(Vector<T> sum, Vector<T> left, Vector<T> right) {
    return sum + left * right;
  }
};

// kTileRows x (kVectors vectors) sums at once, as many as the registers hold.
template <class Arithmetic, int kVectors, int kTileRows, typename S = typename Arithmetic::Operand,
          typename T = typename Arithmetic::Sum>
ORTHO_INLINE void ProductTile(int64_t k, const S* __restrict a, const S* __restrict b, T alpha,
                              const T* d, T beta, T* c) {
  constexpr int kW = kVector<T>, kStride = kPanel<T>;
  Vector<T> sum[kTileRows][kVectors] = {};
  for (int64_t i = 0; i < k; ++i, a += kStride, b += kStride) {
    decltype(Arithmetic::Load(b)) right[kVectors];
    ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) right[v] = Arithmetic::Load(b + v * kW);
    ORTHO_UNROLL for (int r = 0; r < kTileRows; ++r) {
      const auto left = Arithmetic::Spread(a[r]);
      ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) sum[r][v] =
          Arithmetic::Add(sum[r][v], left, right[v]);
    }
  }
  ORTHO_UNROLL for (int r = 0; r < kTileRows; ++r) {
    ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) {
      const int64_t at = r * kStride + v * kW;
      if (d != nullptr)
        At(c + at) = sum[r][v] * alpha + At(d + at) * beta;
      else
        At(c + at) = sum[r][v] * alpha;
    }
  }
}

// The rows of one panel of c. Where it is one vector wide a tile has three times the rows, so that
// no fewer sums hide the latency of an addition.
template <class Arithmetic, int kVectors, typename S = typename Arithmetic::Operand,
          typename T = typename Arithmetic::Sum>
void ProductRows(int64_t rows, int64_t k, const S* a, int64_t a_panel, const S* b, T alpha,
                 const T* d, T beta, T* c) {
  constexpr int kStride = kPanel<T>, kTall = kVectors == 1 ? 3 * kRows<T> : kRows<T>;
  for (; rows > 0; rows -= kStride, a += a_panel) {
    const int64_t here = rows < kStride ? rows : kStride;
    int64_t r = 0;
    const auto advance = [&](int64_t step) {
      r += step;
      c += step * kStride;
      if (d != nullptr) d += step * kStride;
    };
    for (; r + kTall <= here; advance(kTall))
      ProductTile<Arithmetic, kVectors, kTall>(k, a + r, b, alpha, d, beta, c);
    for (; r < here; advance(kRows<T>))
      ProductTile<Arithmetic, kVectors, kRows<T>>(k, a + r, b, alpha, d, beta, c);
  }
}

template <class Arithmetic, typename S = typename Arithmetic::Operand,
          typename T = typename Arithmetic::Sum>
void Product(int vectors, int64_t rows, int64_t k, const S* a, int64_t a_panel, const S* b, T alpha,
             const T* d, T beta, T* c) {
  switch (vectors) {
    case 1:
      return ProductRows<Arithmetic, 1>(rows, k, a, a_panel, b, alpha, d, beta, c);
    case 2:
      return ProductRows<Arithmetic, 2>(rows, k, a, a_panel, b, alpha, d, beta, c);
    default:
      return ProductRows<Arithmetic, 3>(rows, k, a, a_panel, b, alpha, d, beta, c);
  }
}

template <typename T>
void Transpose(const T* source, int64_t source_stride, T* target, int64_t target_stride) {
  constexpr int kW = kVector<T>;
  Vector<T> x[kW];
  ORTHO_UNROLL for (int r = 0; r < kW; ++r) x[r] = At(source + r * source_stride);
  TransposeRegisters<T>(x);
  ORTHO_UNROLL for (int r = 0; r < kW; ++r) At(target + r * target_stride) = x[r];
}

template <typename T>
void Mirror(int64_t side, T* a) {
  constexpr int kW = kVector<T>, kStride = kPanel<T>;
  const auto at = [=](int64_t r, int64_t c) {
    return a + c / kStride * kStride * side + r * kStride + c % kStride;
  };
  for (int64_t c = kW; c < side; c += kW) {
    const T* above = at(0, c);
    for (int64_t r = 0; r < c; r += kW) Transpose(above + r * kStride, kStride, at(c, r), kStride);
  }
}

}  // namespace
}  // namespace ortho::cpu
