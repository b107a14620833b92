// The diagonal block of a Cholesky factorization. Included by kernels_simd.h alone.
#pragma once

#include "cpu/simd_vector.h"

namespace ortho::cpu {
namespace {

// Right-looking, row by row; the inverse takes the same eliminations on an identity.
template <typename T, int kVectors>
T CholeskyTile(T* a, T* inverse) {
  using V = typename VectorOf<T>::V;
  constexpr int kW = kVector<T>, kStride = kPanel<T>, kN = kVectors * kW;
  for (int r = 0; r < kN; ++r) {
    ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) At(inverse + r * kStride + v * kW) = V{};
    inverse[r * kStride + r] = T(1);
  }
  T smallest = a[0];
  for (int k = 0; k < kN; ++k) {
    T* row = a + k * kStride;
    T* inverse_row = inverse + k * kStride;
    const T pivot = row[k];
    smallest = pivot < smallest ? pivot : smallest;
    if (!(pivot > T(0))) return pivot;
    T root;
    if constexpr (sizeof(T) == 4)
      root = __builtin_sqrtf(pivot);
    else
      root = __builtin_sqrt(pivot);
    const T scale = T(1) / root;
    V u[kVectors], m[kVectors];
    ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) {
      u[v] = At(row + v * kW) *= scale;
      m[v] = At(inverse_row + v * kW) *= scale;
    }
    for (int i = k + 1; i < kN; ++i) {
      const V factor = Broadcast(row[i]);
      ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) {
        At(a + i * kStride + v * kW) -= factor * u[v];
        At(inverse + i * kStride + v * kW) -= factor * m[v];
      }
    }
  }
  return smallest;
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
