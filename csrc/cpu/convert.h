// Storage types to float and back, branch-free so that a compiler can vectorize the loops around
// them. Included by the instruction-set files: no standard library here.
#pragma once

#include <cstdint>

namespace ortho::cpu {
namespace {  // each instruction set keeps its own copy

struct Half {
  uint16_t bits;
};
struct Bfloat {
  uint16_t bits;
};

inline float FloatFromBits(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

inline uint32_t BitsOf(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits;
}

inline uint64_t BitsOf(double value) {
  uint64_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// binary16 to binary32. A normal number moves its exponent bias from 15 to 127; a subnormal one is
// completed to a normal one by an addition, then brought back by a subtraction that is exact.
inline float ToFloat(Half half) {
  const uint32_t sign = (half.bits & 0x8000u) << 16, rest = half.bits & 0x7fffu;
  const uint32_t normal = (rest << 13) + ((rest < 0x7c00u ? 112u : 224u) << 23);
  const float subnormal = FloatFromBits((rest << 13) + (113u << 23)) - FloatFromBits(113u << 23);
  const uint32_t magnitude = rest < 0x0400u ? BitsOf(subnormal) : normal;
  return FloatFromBits(sign | magnitude);
}

// binary32 to binary16, nearest, ties to even. Below 2^-14 the floating-point adder does the
// rounding.
inline Half ToHalf(float value) {
  const uint32_t bits = BitsOf(value), sign = (bits >> 16) & 0x8000u, rest = bits & 0x7fffffffu;
  constexpr uint32_t kMagic = (127u - 15u + 23u - 10u + 1u) << 23;
  const uint32_t subnormal = BitsOf(FloatFromBits(rest) + FloatFromBits(kMagic)) - kMagic;
  const uint32_t normal = (rest - (112u << 23) + 0xfffu + ((rest >> 13) & 1u)) >> 13;
  uint32_t magnitude = rest < (113u << 23) ? subnormal : normal;
  magnitude = rest >= (143u << 23) ? 0x7c00u : magnitude;  // from 2^16 on: Inf
  magnitude = rest > (255u << 23) ? 0x7e00u : magnitude;   // NaN
  return Half{static_cast<uint16_t>(sign | magnitude)};
}

inline float ToFloat(Bfloat value) {
  return FloatFromBits(static_cast<uint32_t>(value.bits) << 16);
}

inline Bfloat ToBfloat(float value) {
  const uint32_t bits = BitsOf(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return Bfloat{static_cast<uint16_t>(nan ? (bits >> 16) | 0x40u : rounded)};
}

inline float Widen(Half x) { return ToFloat(x); }
inline float Widen(Bfloat x) { return ToFloat(x); }
inline float Widen(float x) { return x; }
inline double Widen(double x) { return x; }

template <typename S>
struct Narrow;
template <>
struct Narrow<Half> {
  template <typename T>
  static Half From(T x) {
    return ToHalf(static_cast<float>(x));
  }
};
template <>
struct Narrow<Bfloat> {
  template <typename T>
  static Bfloat From(T x) {
    return ToBfloat(static_cast<float>(x));
  }
};
template <>
struct Narrow<float> {
  template <typename T>
  static float From(T x) {
    return static_cast<float>(x);
  }
};
template <>
struct Narrow<double> {
  template <typename T>
  static double From(T x) {
    return static_cast<double>(x);
  }
};

// ---- Loops over storage: the same text for every instruction set, vectorized by the compiler
// ----------

template <typename T, typename S>
void Load(int64_t rows, int64_t columns, const void* source, int64_t stride, T scale, T* target,
          int64_t target_stride) {
  const S* from = static_cast<const S*>(source);
  for (int64_t r = 0; r < rows; ++r, from += stride, target += target_stride)
    for (int64_t c = 0; c < columns; ++c) target[c] = static_cast<T>(Widen(from[c])) * scale;
}

template <typename T, typename S>
void Store(int64_t rows, int64_t columns, const T* source, int64_t source_stride, void* target,
           int64_t stride) {
  S* to = static_cast<S*>(target);
  for (int64_t r = 0; r < rows; ++r, source += source_stride, to += stride)
    for (int64_t c = 0; c < columns; ++c) to[c] = Narrow<S>::From(source[c]);
}

// |x| as an integer orders like |x| as a number, with Inf and every NaN above the finite ones, so a
// single integer maximum answers both questions.
template <typename Bits, Bits kInfinity, Bits kSignless>
Bits MaxMagnitude(int64_t n, const Bits* x) {
  Bits largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const Bits magnitude = x[i] & kSignless;
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest < kInfinity ? largest : kInfinity;
}

inline double MaxAbsHalf(int64_t n, const void* x) {
  return ToFloat(Half{static_cast<uint16_t>(
      MaxMagnitude<int16_t, 0x7c00, 0x7fff>(n, static_cast<const int16_t*>(x)))});
}
inline double MaxAbsBfloat(int64_t n, const void* x) {
  return ToFloat(Bfloat{static_cast<uint16_t>(
      MaxMagnitude<int16_t, 0x7f80, 0x7fff>(n, static_cast<const int16_t*>(x)))});
}
inline double MaxAbsFloat(int64_t n, const void* x) {
  return FloatFromBits(static_cast<uint32_t>(
      MaxMagnitude<int32_t, 0x7f800000, 0x7fffffff>(n, static_cast<const int32_t*>(x))));
}
inline double MaxAbsDouble(int64_t n, const void* x) {
  const int64_t bits = MaxMagnitude<int64_t, 0x7ff0000000000000, 0x7fffffffffffffff>(
      n, static_cast<const int64_t*>(x));
  double value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

inline void RoundToHalf(int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] = ToFloat(ToHalf(x[i]));
}
inline void RoundToBfloat(int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] = ToFloat(ToBfloat(x[i]));
}

}  // namespace
}  // namespace ortho::cpu
