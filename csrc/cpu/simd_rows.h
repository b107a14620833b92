// Sums and combinations of long rows. Included by kernels_simd.h alone.
#pragma once

#include "cpu/simd_storage.h"

namespace ortho::cpu {
namespace {

template <typename T>
void Combine(int64_t n, T alpha, const T* a, T beta, const T* b, T* c) {
  if (b == nullptr)
    for (int64_t i = 0; i < n; ++i) c[i] = alpha * a[i];
  else
    for (int64_t i = 0; i < n; ++i) c[i] = alpha * a[i] + beta * b[i];
}

// Two rows at a time, each with its own sums: half as long a chain of dependent additions.
template <typename T, int kVectors>
void WeighRowsTile(int64_t rows, const T* x, const T* a, T* y) {
  using V = Vector<T>;
  constexpr int kW = kVector<T>, kStride = kPanel<T>;
  V even[kVectors] = {}, odd[kVectors] = {};
  int64_t r = 0;
  for (; r + 2 <= rows; r += 2) {
    const V p = Broadcast(x[r]), q = Broadcast(x[r + 1]);
    ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) {
      even[v] += p * At(a + r * kStride + v * kW);
      odd[v] += q * At(a + (r + 1) * kStride + v * kW);
    }
  }
  if (r < rows) {
    const V p = Broadcast(x[r]);
    ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) even[v] += p * At(a + r * kStride + v * kW);
  }
  ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) At(y + v * kW) = even[v] + odd[v];
}

template <typename T>
void WeighRows(int vectors, int64_t rows, const T* x, const T* a, T* y) {
  switch (vectors) {
    case 1:
      return WeighRowsTile<T, 1>(rows, x, a, y);
    case 2:
      return WeighRowsTile<T, 2>(rows, x, a, y);
    default:
      return WeighRowsTile<T, 3>(rows, x, a, y);
  }
}

// Four vectors of partial sums in double: short dependency chains, one fixed order.
template <typename T>
double Dot(int64_t n, const T* x, const T* y) {
  constexpr int kW = kVector<double>, kSums = 4;
  Vector<double> sum[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kW <= n; i += kSums * kW)
    ORTHO_UNROLL for (int s = 0; s < kSums; ++s) sum[s] +=
        LoadVector<double>(x + i + s * kW) * LoadVector<double>(y + i + s * kW);
  double rest = 0;
  for (; i < n; ++i) rest += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  sum[0] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  double total = 0;
  for (int lane = 0; lane < kW; ++lane) total += sum[0][lane];
  return total + rest;
}

template <typename T>
void Rotate(int64_t n, T c, T s, T* __restrict x, T* __restrict y) {
  for (int64_t i = 0; i < n; ++i) {
    const T p = x[i], q = y[i];
    x[i] = c * p - s * q;
    y[i] = s * p + c * q;
  }
}

}  // namespace
}  // namespace ortho::cpu
