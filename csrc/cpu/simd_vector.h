// The vectors of one instruction set, in the compiler's own vector types. Each instruction-set file
// sets ORTHO_VECTOR_BYTES (16, 32, 64) and ORTHO_TILE_ROWS first. No intrinsics: vector types say
// all that is needed, and the same text runs at every width.
#pragma once

#include "cpu/convert.h"
#include "cpu/kernel_table.h"

#define ORTHO_UNROLL _Pragma("GCC unroll 16")
#define ORTHO_INLINE inline __attribute__((always_inline))

namespace ortho::cpu {
namespace {

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float V __attribute__((vector_size(ORTHO_VECTOR_BYTES), may_alias));
  typedef int32_t Index __attribute__((vector_size(ORTHO_VECTOR_BYTES)));
};
template <>
struct VectorOf<double> {
  typedef double V __attribute__((vector_size(ORTHO_VECTOR_BYTES), may_alias));
  typedef int64_t Index __attribute__((vector_size(ORTHO_VECTOR_BYTES)));
};
template <typename T>
using Vector = typename VectorOf<T>::V;

template <typename T>
constexpr int kVector = ORTHO_VECTOR_BYTES / static_cast<int>(sizeof(T));
template <typename T>
constexpr int kPanel = 3 * kVector<T>;
// Tiles must not straddle two panels, so never more rows than a vector has elements.
template <typename T>
constexpr int kRows = ORTHO_TILE_ROWS < kVector<T> ? ORTHO_TILE_ROWS : kVector<T>;

template <typename T>
ORTHO_INLINE Vector<T>& At(T* p) {
  return *reinterpret_cast<Vector<T>*>(p);
}
template <typename T>
ORTHO_INLINE const Vector<T>& At(const T* p) {
  return *reinterpret_cast<const Vector<T>*>(p);
}

// x - 0 is x for every x, and compilers know it; 0 + x is not (for -0), and costs an addition.
template <typename T>
ORTHO_INLINE Vector<T> Broadcast(T x) {
  return x - Vector<T>{};
}

template <int... kIndices>
struct Indices {};
template <typename T>
using Lanes = Indices<__integer_pack(kVector<T>)...>;

// Where the diagonal blocks of size kHalf stay, and the others change places. The masks must be
// constants to the compiler before it knows what loops unroll to: otherwise it shuffles by table.
template <typename T, int kHalf, int... kLanes>
ORTHO_INLINE void ExchangeBlocks(Vector<T>& p, Vector<T>& q, Indices<kLanes...>) {
  using Index = typename VectorOf<T>::Index;
  constexpr int kW = kVector<T>;
  const Vector<T> low =
      __builtin_shuffle(p, q, Index{(kLanes & kHalf ? kW + kLanes - kHalf : kLanes)...});
  q = __builtin_shuffle(p, q, Index{(kLanes & kHalf ? kW + kLanes : kLanes + kHalf)...});
  p = low;
}

// Eklundh's transpose in registers: log2(W) rounds, each exchanging blocks of half the size.
template <typename T, int kHalf = 1>
ORTHO_INLINE void TransposeRegisters(Vector<T> (&x)[kVector<T>]) {
  if constexpr (kHalf < kVector<T>) {
    ORTHO_UNROLL for (int r = 0; r < kVector<T>; ++r) {
      if ((r & kHalf) == 0) ExchangeBlocks<T, kHalf>(x[r], x[r + kHalf], Lanes<T>{});
    }
    TransposeRegisters<T, 2 * kHalf>(x);
  }
}

}  // namespace
}  // namespace ortho::cpu
