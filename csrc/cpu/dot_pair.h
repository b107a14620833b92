// One lane of vdpbf16ps, to the bit: what products of bfloat16 are everywhere, with and without
// that instruction. Included by the instruction-set files: no standard library here.
//
//   sum <- sum + a.second b.second,   sum <- sum + a.first b.first
//
// Each of the two is a fused multiply-add, rounded once to the nearest float32, ties to even.
// Subnormal operands and sums count as zero and subnormal results become zero, with their sign,
// whatever the thread's floating-point mode. (Which of several NaNs comes out is not modelled.)
#pragma once

#include "cpu/convert.h"
#include "cpu/kernel_table.h"

namespace ortho::cpu {
namespace {

inline float WithoutSubnormal(float x) {
  return __builtin_fabsf(x) < 0x1p-126f ? __builtin_copysignf(0.0f, x) : x;
}

// The product of two bfloat16 numbers is exact in float64, and so short that its sum with a float32
// number, rounded to float64 and then to float32, is the sum rounded once (53 >= 2 x 24 + 2).
inline float FusedMultiplyAdd(float x, float y, float sum) {
  const double exact = static_cast<double>(WithoutSubnormal(x)) * WithoutSubnormal(y) +
                       static_cast<double>(WithoutSubnormal(sum));
  // Subnormal is what would round to less than 2^-126 if exponents had no lower end.
  const bool subnormal = __builtin_fabs(exact) < 0x1p-126 - 0x1p-151;
  return subnormal ? static_cast<float>(__builtin_copysign(0.0, exact)) : static_cast<float>(exact);
}

inline float DotPair(float sum, BfloatPair a, BfloatPair b) {
  sum = FusedMultiplyAdd(ToFloat(Bfloat{a.second}), ToFloat(Bfloat{b.second}), sum);
  return FusedMultiplyAdd(ToFloat(Bfloat{a.first}), ToFloat(Bfloat{b.first}), sum);
}

// ---- Loops over storage, the same text for every instruction set
// -----------------------------------

inline void Interleave(int64_t n, const uint16_t* first, const uint16_t* second,
                       BfloatPair* target) {
  for (int64_t i = 0; i < n; ++i) target[i] = {first[i], second[i]};
}

inline void RoundToPairs(int64_t n, const float* first, const float* second, BfloatPair* target) {
  for (int64_t i = 0; i < n; ++i) target[i] = {ToBfloat(first[i]).bits, ToBfloat(second[i]).bits};
}

}  // namespace
}  // namespace ortho::cpu
