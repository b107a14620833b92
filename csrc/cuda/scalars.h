// Elements of any storage type: where they lie, into float32 and back, powers of two, and the
// exponent of the largest one.
#pragma once

#include <climits>
#include <cmath>

#include "cuda/launch.h"
#include "cuda/polar_problem.h"

namespace ortho::cuda {

// By way of the reciprocal: a division would be twenty instructions.
__device__ __forceinline__ int32_t Offset(const PackedAxis& axis, int32_t i) {
  int32_t outer = static_cast<int32_t>(__umulhi(static_cast<uint32_t>(i), axis.reciprocal));
  int32_t inner = i - outer * axis.inner_size;
  if (inner >= axis.inner_size) {  // it was rounded: too little by one at most
    inner -= axis.inner_size;
    ++outer;
  }
  return outer * axis.jump + inner * axis.step;
}

// body(T*) to the elements of x.
template <typename Body>
__device__ __forceinline__ void WithType(const PackedMatrix& x, Body body) {
#if defined(__CUDA_ARCH__)
  __builtin_assume(__isGlobal(x.data));  // or else it would be loaded from as if it might be shared
#endif
  switch (x.dtype) {
    case Dtype::kFloat16:
      return body(static_cast<__half*>(x.data));
    case Dtype::kBfloat16:
      return body(static_cast<__nv_bfloat16*>(x.data));
    case Dtype::kFloat32:
      return body(static_cast<float*>(x.data));
    default:
      return body(static_cast<double*>(x.data));
  }
}

__device__ __forceinline__ float Load(const __half* x) { return __half2float(*x); }
__device__ __forceinline__ float Load(const __nv_bfloat16* x) { return __bfloat162float(*x); }
__device__ __forceinline__ float Load(const float* x) { return *x; }
__device__ __forceinline__ double Load(const double* x) { return *x; }

// (A result that goes straight from a call to memory is a store that the emulator cannot see.)
__device__ __forceinline__ void Store(float x, __half* to) {
  const __half rounded = __float2half_rn(x);
  *to = rounded;
}
__device__ __forceinline__ void Store(float x, __nv_bfloat16* to) {
  const __nv_bfloat16 rounded = __float2bfloat16_rn(x);
  *to = rounded;
}
__device__ __forceinline__ void Store(float x, float* to) { *to = x; }
__device__ __forceinline__ void Store(float x, double* to) { *to = x; }

// x 2^exponent in two factors: 2^149, which the smallest float32 needs, is none itself.
__device__ __forceinline__ float Scale(float x, int exponent) {
  const int first = exponent / 2;
  return x * __uint_as_float(static_cast<uint32_t>(127 + first) << 23) *
         __uint_as_float(static_cast<uint32_t>(127 + exponent - first) << 23);
}
__device__ __forceinline__ float Scale(double x, int exponent) {
  const int first = exponent / 2;
  return static_cast<float>(x * __hiloint2double((1023 + first) << 20, 0) *
                            __hiloint2double((1023 + exponent - first) << 20, 0));
}

// |x| as an integer: in the same order, and NaN above Inf above all numbers.
__device__ __forceinline__ int32_t Magnitude(float x) {
  return static_cast<int32_t>(__float_as_uint(x) & 0x7FFFFFFF);
}
__device__ __forceinline__ int64_t Magnitude(double x) {
  return __double_as_longlong(x) & 0x7FFFFFFFFFFFFFFF;
}

// The exponent of a magnitude, or what there is in its place.
constexpr int kNotFinite = INT_MAX, kAllZero = INT_MIN;
__device__ __forceinline__ int Exponent(int32_t magnitude) {
  if (magnitude == 0) return kAllZero;
  const bool finite = magnitude < 0x7F800000;
  return finite ? ilogbf(__uint_as_float(static_cast<uint32_t>(magnitude))) : kNotFinite;
}
__device__ __forceinline__ int Exponent(int64_t magnitude) {
  if (magnitude == 0) return kAllZero;
  const bool finite = magnitude < 0x7FF0000000000000;
  return finite ? ilogb(__longlong_as_double(magnitude)) : kNotFinite;
}

}  // namespace ortho::cuda
