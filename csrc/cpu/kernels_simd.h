// The kernel table in compiler vectors. Each instruction-set file sets ORTHO_VECTOR_BYTES (16, 32,
// 64) and ORTHO_TILE_ROWS, includes this and names its table.
#pragma once

#include "cpu/convert.h"
#include "cpu/kernel_table.h"
#include "cpu/kernels_step.h"
#include "cpu/vectors.h"

namespace ortho::cpu {
namespace {

template <typename T>
constexpr int kPanel = 3 * kVector<T>;
// Tiles must not straddle two panels, so never more rows than a vector has elements.
template <typename T>
constexpr int kRows = ORTHO_TILE_ROWS < kVector<T> ? ORTHO_TILE_ROWS : kVector<T>;

template <typename T, int kVectors>
inline __attribute__((always_inline)) void ProductTile(int64_t k, const T* __restrict a,
                                                       const T* __restrict b, T alpha, const T* d,
                                                       T beta, T* c) {
  using V = typename VectorOf<T>::V;
  constexpr int kW = kVector<T>, kStride = kPanel<T>;
  V sum[kRows<T>][kVectors] = {};
  for (int64_t i = 0; i < k; ++i, a += kStride, b += kStride) {
    V right[kVectors];
    ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) right[v] = At(b + v * kW);
    ORTHO_UNROLL for (int r = 0; r < kRows<T>; ++r) {
      const V left = Broadcast(a[r]);
      ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) sum[r][v] += left * right[v];
    }
  }
  if (d != nullptr) {
    ORTHO_UNROLL for (int r = 0; r < kRows<T>; ++r) {
      ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) {
        const int64_t at = r * kStride + v * kW;
        At(c + at) = sum[r][v] * alpha + At(d + at) * beta;
      }
    }
  } else {
    ORTHO_UNROLL for (int r = 0; r < kRows<T>; ++r) {
      ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) At(c + r * kStride + v * kW) =
          sum[r][v] * alpha;
    }
  }
}

template <typename T>
void Product(int vectors, int64_t k, const T* a, const T* b, T alpha, const T* d, T beta, T* c) {
  switch (vectors) {
    case 1:
      return ProductTile<T, 1>(k, a, b, alpha, d, beta, c);
    case 2:
      return ProductTile<T, 2>(k, a, b, alpha, d, beta, c);
    default:
      return ProductTile<T, 3>(k, a, b, alpha, d, beta, c);
  }
}

template <typename T>
void ProductPair(int64_t k, const T* a0, const T* a1, const T* b, T alpha, const T* d, T beta,
                 T* c) {
  using V = typename VectorOf<T>::V;
  constexpr int kStride = kPanel<T>, kTile = kRows<T>;
  V sum[2 * kTile] = {};
  for (int64_t i = 0; i < k; ++i, a0 += kStride, a1 += kStride, b += kStride) {
    const V right = At(b);
    ORTHO_UNROLL for (int r = 0; r < kTile; ++r) {
      sum[r] += Broadcast(a0[r]) * right;
      sum[kTile + r] += Broadcast(a1[r]) * right;
    }
  }
  ORTHO_UNROLL for (int r = 0; r < 2 * kTile; ++r) {
    if (d != nullptr)
      At(c + r * kStride) = sum[r] * alpha + At(d + r * kStride) * beta;
    else
      At(c + r * kStride) = sum[r] * alpha;
  }
}

// Eklundh's transpose in registers: log2(W) rounds, each exchanging blocks of half the size.
template <typename T>
inline __attribute__((always_inline)) void TransposeRegisters(
    typename VectorOf<T>::V (&x)[kVector<T>]) {
  using V = typename VectorOf<T>::V;
  using Index = typename VectorOf<T>::Index;
  constexpr int kW = kVector<T>;
  ORTHO_UNROLL for (int half = 1; half < kW; half *= 2) {
    Index low, high;
    ORTHO_UNROLL for (int c = 0; c < kW; ++c) {
      low[c] = (c & half) ? kW + c - half : c;
      high[c] = (c & half) ? kW + c : c + half;
    }
    ORTHO_UNROLL for (int r = 0; r < kW; ++r) {
      if (r & half) continue;
      const V p = x[r], q = x[r + half];
      x[r] = __builtin_shuffle(p, q, low);
      x[r + half] = __builtin_shuffle(p, q, high);
    }
  }
}

template <typename T>
void Transpose(const T* source, int64_t source_stride, T* target, int64_t target_stride) {
  constexpr int kW = kVector<T>;
  typename VectorOf<T>::V x[kW];
  ORTHO_UNROLL for (int r = 0; r < kW; ++r) x[r] = At(source + r * source_stride);
  TransposeRegisters<T>(x);
  ORTHO_UNROLL for (int r = 0; r < kW; ++r) At(target + r * target_stride) = x[r];
}

template <typename T, typename S>
void LoadTransposed(int64_t rows, int64_t columns, const void* source, int64_t stride, T scale,
                    T* target, int64_t target_stride) {
  using V = typename VectorOf<T>::V;
  constexpr int kW = kVector<T>;
  const S* from = static_cast<const S*>(source);
  int64_t r = 0;
  for (; columns == kW && r + kW <= rows; r += kW) {
    V x[kW];
    ORTHO_UNROLL for (int c = 0; c < kW; ++c) {
      alignas(ORTHO_VECTOR_BYTES) T row[kW];
      for (int i = 0; i < kW; ++i) row[i] = static_cast<T>(Widen(from[c * stride + r + i]));
      x[c] = At(row) * scale;
    }
    TransposeRegisters<T>(x);
    ORTHO_UNROLL for (int i = 0; i < kW; ++i) At(target + (r + i) * target_stride) = x[i];
  }
  for (; r < rows; ++r)
    for (int64_t c = 0; c < kW; ++c)
      target[r * target_stride + c] =
          c < columns ? static_cast<T>(Widen(from[c * stride + r])) * scale : T(0);
}

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
  using V = typename VectorOf<T>::V;
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
  constexpr int kLanes = 4 * ORTHO_VECTOR_BYTES / 8;
  double sum[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane)
      sum[lane] += static_cast<double>(x[i + lane]) * static_cast<double>(y[i + lane]);
  for (int lane = 0; i < n; ++i, ++lane)
    sum[lane] += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  double total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += sum[lane];
  return total;
}

template <typename T>
void Rotate(int64_t n, T c, T s, T* __restrict x, T* __restrict y) {
  for (int64_t i = 0; i < n; ++i) {
    const T p = x[i], q = y[i];
    x[i] = c * p - s * q;
    y[i] = s * p + c * q;
  }
}

template <typename T>
constexpr Kernels<T> MakeKernels() {
  return {kVector<T>,
          kRows<T>,
          kPanel<T>,
          Product<T>,
          ProductPair<T>,
          Transpose<T>,
          Cholesky<T>,
          Combine<T>,
          WeighRows<T>,
          Dot<T>,
          Rotate<T>,
          {Load<T, Half>, Load<T, Bfloat>, Load<T, float>, Load<T, double>},
          {LoadTransposed<T, Half>, LoadTransposed<T, Bfloat>, LoadTransposed<T, float>,
           LoadTransposed<T, double>},
          {Store<T, Half>, Store<T, Bfloat>, Store<T, float>, Store<T, double>}};
}

constexpr KernelTable MakeKernelTable(const char* name) {
  return {name,
          MakeKernels<float>(),
          MakeKernels<double>(),
          {MaxAbsHalf, MaxAbsBfloat, MaxAbsFloat, MaxAbsDouble},
          {RoundToHalf, RoundToBfloat},
          {Step<Half>, Step<Bfloat>, Step<float>, Step<double>}};
}

}  // namespace
}  // namespace ortho::cpu
