// The bfloat16 products of a kernel table, in compiler vectors, for instruction-set files that have
// included kernels_simd.h. They say how a vector of sums takes up a vector of pairs:
//
//   struct Dot { static FloatVector Add(FloatVector sum, PairVector a, PairVector b); };
#pragma once

#include "cpu/dot_pair.h"
#include "cpu/kernels_simd.h"

namespace ortho::cpu {
namespace {

using FloatVector = Vector<float>;
typedef int32_t PairVector __attribute__((vector_size(ORTHO_VECTOR_BYTES), may_alias));

template <class Dot>
struct DotProduct {
  using Operand = BfloatPair;
  using Sum = float;
  static PairVector Load(const BfloatPair* p) { return *reinterpret_cast<const PairVector*>(p); }
  static PairVector Spread(BfloatPair pair) {
    int32_t word;
    __builtin_memcpy(&word, &pair, sizeof(word));
    return word - PairVector{};
  }
  static FloatVector Add(FloatVector sum, PairVector left, PairVector right) {
    return Dot::Add(sum, left, right);
  }
};

// Words are moved and nothing is computed: a float vector carries any bits.
inline void TransposePairs(const BfloatPair* source, int64_t source_stride, BfloatPair* target,
                           int64_t target_stride) {
  Transpose<float>(reinterpret_cast<const float*>(source), source_stride,
                   reinterpret_cast<float*>(target), target_stride);
}

template <class Dot>
constexpr PairKernels MakePairKernels() {
  return {kVector<float>, kRows<float>, kPanel<float>, Product<DotProduct<Dot>>,
          TransposePairs, Interleave,   RoundToPairs};
}

}  // namespace
}  // namespace ortho::cpu
