// The bfloat16 products of a kernel table, in compiler vectors, for instruction-set files that have
// included kernels_simd.h. They say how a vector of sums takes up a vector of pairs:
//
//   struct Dot { static FloatVector Add(FloatVector sum, PairVector a, PairVector b); };
#pragma once

#include "cpu/dot_pair.h"
#include "cpu/kernels_simd.h"

namespace ortho::cpu {
namespace {

using FloatVector = VectorOf<float>::V;
typedef int32_t PairVector __attribute__((vector_size(ORTHO_VECTOR_BYTES), may_alias));

inline const PairVector& PairsAt(const BfloatPair* p) {
  return *reinterpret_cast<const PairVector*>(p);
}

inline PairVector BroadcastPair(const BfloatPair& pair) {
  int32_t word;
  __builtin_memcpy(&word, &pair, sizeof(word));
  return word - PairVector{};
}

// kTiles tiles of rows, one after the other in a, c and d.
template <class Dot, int kTiles, int kVectors>
inline __attribute__((always_inline)) void PairProductTile(int64_t k,
                                                           const BfloatPair* (&a)[kTiles],
                                                           const BfloatPair* b, float alpha,
                                                           const float* d, float beta, float* c) {
  constexpr int kW = kVector<float>, kStride = kPanel<float>, kTile = kRows<float>;
  FloatVector sum[kTiles * kTile][kVectors] = {};
  for (int64_t i = 0; i < k; ++i, b += kStride) {
    PairVector right[kVectors];
    ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) right[v] = PairsAt(b + v * kW);
    ORTHO_UNROLL for (int r = 0; r < kTiles * kTile; ++r) {
      const PairVector left = BroadcastPair(a[r / kTile][r % kTile]);
      ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) sum[r][v] =
          Dot::Add(sum[r][v], left, right[v]);
    }
    ORTHO_UNROLL for (int t = 0; t < kTiles; ++t) a[t] += kStride;
  }
  ORTHO_UNROLL for (int r = 0; r < kTiles * kTile; ++r) {
    ORTHO_UNROLL for (int v = 0; v < kVectors; ++v) {
      const int64_t at = r * kStride + v * kW;
      const FloatVector scaled = sum[r][v] * alpha;
      At(c + at) = d != nullptr ? scaled + At(d + at) * beta : scaled;
    }
  }
}

template <class Dot>
void PairProduct(int vectors, int64_t k, const BfloatPair* a, const BfloatPair* b, float alpha,
                 const float* d, float beta, float* c) {
  const BfloatPair* tiles[1] = {a};
  switch (vectors) {
    case 1:
      return PairProductTile<Dot, 1, 1>(k, tiles, b, alpha, d, beta, c);
    case 2:
      return PairProductTile<Dot, 1, 2>(k, tiles, b, alpha, d, beta, c);
    default:
      return PairProductTile<Dot, 1, 3>(k, tiles, b, alpha, d, beta, c);
  }
}

template <class Dot>
void PairProductPair(int64_t k, const BfloatPair* a0, const BfloatPair* a1, const BfloatPair* b,
                     float alpha, const float* d, float beta, float* c) {
  const BfloatPair* tiles[2] = {a0, a1};
  PairProductTile<Dot, 2, 1>(k, tiles, b, alpha, d, beta, c);
}

// Words are moved and nothing is computed: a float vector carries any bits.
inline void TransposePairs(const BfloatPair* source, int64_t source_stride, BfloatPair* target,
                           int64_t target_stride) {
  Transpose<float>(reinterpret_cast<const float*>(source), source_stride,
                   reinterpret_cast<float*>(target), target_stride);
}

template <class Dot>
constexpr PairKernels MakePairKernels() {
  return {kVector<float>,       kRows<float>,   kPanel<float>, PairProduct<Dot>,
          PairProductPair<Dot>, TransposePairs, Interleave,    RoundToPairs};
}

}  // namespace
}  // namespace ortho::cpu
