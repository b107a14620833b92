// The diagonal block of a Cholesky factorization. Included by kernels_simd.h alone.
#pragma once

#include "cpu/simd_vector.h"

namespace ortho::cpu {
namespace {

inline double SquareRoot(double x) { return __builtin_sqrt(x); }
inline float SquareRoot(float x) { return __builtin_sqrtf(x); }

// Columns kBlock * W to (kBlock + 1) * W of the factorization below, in vectors that are not zero.
template <typename T, int kVectors, int kBlock>
ORTHO_INLINE T EliminateColumns(T* a, T* inverse, T smallest) {
  using V = Vector<T>;
  constexpr int kW = kVector<T>, kStride = kPanel<T>, kN = kVectors * kW;
  for (int k = kBlock * kW; k < (kBlock + 1) * kW; ++k) {
    T* row = a + k * kStride;
    T* inverse_row = inverse + k * kStride;
    const T pivot = row[k];
    smallest = pivot < smallest ? pivot : smallest;
    if (!(pivot > T(0))) return pivot;
    // The next pivot waits for a division only: rows are divided by the root when they are through.
    const V reciprocal = Broadcast(T(1) / pivot);
    V u[kVectors], m[kVectors];
    ORTHO_UNROLL for (int v = kBlock; v < kVectors; ++v) u[v] = At(row + v * kW) * reciprocal;
    ORTHO_UNROLL for (int v = 0; v <= kBlock; ++v) m[v] = At(inverse_row + v * kW) * reciprocal;
    for (int i = k + 1; i < kN; ++i) {
      const V factor = Broadcast(row[i]);
      ORTHO_UNROLL for (int v = kBlock; v < kVectors; ++v) At(a + i * kStride + v * kW) -=
          factor * u[v];
      ORTHO_UNROLL for (int v = 0; v <= kBlock; ++v) At(inverse + i * kStride + v * kW) -=
          factor * m[v];
    }
    const V root = Broadcast(SquareRoot(pivot));
    ORTHO_UNROLL for (int v = kBlock; v < kVectors; ++v) At(row + v * kW) = u[v] * root;
    ORTHO_UNROLL for (int v = 0; v <= kBlock; ++v) At(inverse_row + v * kW) = m[v] * root;
  }
  if constexpr (kBlock + 1 < kVectors)
    return EliminateColumns<T, kVectors, kBlock + 1>(a, inverse, smallest);
  return smallest;
}

// Right-looking, row by row; the inverse takes the same eliminations on an identity.
template <typename T, int kVectors>
T CholeskyTile(T* a, T* inverse) {
  constexpr int kW = kVector<T>, kStride = kPanel<T>;
  for (int r = 0; r < kVectors * kW; ++r) {
    ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) At(inverse + r * kStride + v * kW) =
        Vector<T>{};
    inverse[r * kStride + r] = T(1);
  }
  return EliminateColumns<T, kVectors, 0>(a, inverse, a[0]);
}

template <typename T>
T Cholesky(int n, T* a, T* inverse) {
  switch (n / kVector<T>) {
    case 1:
      return CholeskyTile<T, 1>(a, inverse);
    case 2:
      return CholeskyTile<T, 2>(a, inverse);
    default:
      return CholeskyTile<T, 3>(a, inverse);
  }
}

}  // namespace
}  // namespace ortho::cpu
