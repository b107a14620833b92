// Blocks of numbers on their way from and to storage. Included by kernels_simd.h alone.
#pragma once

#include "cpu/simd_vector.h"

namespace ortho::cpu {
namespace {

template <typename S>
constexpr bool kIsNumber = false;  // to the compiler: it knows no half types
template <>
constexpr bool kIsNumber<float> = true;
template <>
constexpr bool kIsNumber<double> = true;

// Spelled out, which compilers turn into one conversion; __builtin_convertvector becomes four.
template <typename T, typename S, int... kLanes>
ORTHO_INLINE Vector<T> WidenVector(const S* from, Indices<kLanes...>) {
  return Vector<T>{static_cast<T>(from[kLanes])...};
}

// A vector of T from as many stored numbers, wherever they lie.
template <typename T, typename S>
ORTHO_INLINE Vector<T> LoadVector(const S* from) {
  constexpr int kW = kVector<T>;
  if constexpr (kIsNumber<S>) {
    return WidenVector<T>(from, Lanes<T>{});
  } else {
    alignas(ORTHO_VECTOR_BYTES) T x[kW];
    for (int i = 0; i < kW; ++i) x[i] = static_cast<T>(Widen(from[i]));
    return At(x);
  }
}

template <typename T, typename S>
ORTHO_INLINE void StoreVector(const Vector<T>& x, S* to) {
  typedef S Stored __attribute__((vector_size(kVector<T> * sizeof(S))));
  const Stored narrow = __builtin_convertvector(x, Stored);
  __builtin_memcpy(to, &narrow, sizeof(narrow));
}

template <typename T, typename S>
ORTHO_INLINE void LoadRow(int64_t columns, const S* from, T scale, T* to) {
  constexpr int kW = kVector<T>;
  int64_t c = 0;
  for (; c + kW <= columns; c += kW) StoreVector<T>(LoadVector<T>(from + c) * scale, to + c);
  for (; c < columns; ++c) to[c] = static_cast<T>(Widen(from[c])) * scale;
}

template <typename T, typename S>
ORTHO_INLINE void StoreRow(int64_t columns, const T* from, S* to) {
  constexpr int kW = kVector<T>;
  int64_t c = 0;
  for (; c + kW <= columns; c += kW) StoreVector<T>(LoadVector<T>(from + c), to + c);
  for (; c < columns; ++c) to[c] = static_cast<S>(from[c]);
}

// Rows as long as a panel is wide, which most are, without a loop.
template <typename T, typename S>
void LoadRows(int64_t rows, int64_t columns, const void* source, int64_t stride, T scale, T* target,
              int64_t target_stride) {
  if constexpr (kIsNumber<S>) {
    const S* from = static_cast<const S*>(source);
    const auto each = [=](auto length) {
      for (int64_t r = 0; r < rows; ++r)
        LoadRow<T>(length(), from + r * stride, scale, target + r * target_stride);
    };
    if (columns == kPanel<T>)
      each([] { return int64_t{kPanel<T>}; });
    else
      each([=] { return columns; });
  } else {
    Load<T, S>(rows, columns, source, stride, scale, target, target_stride);
  }
}

template <typename T, typename S>
void StoreRows(int64_t rows, int64_t columns, const T* source, int64_t source_stride, void* target,
               int64_t stride) {
  if constexpr (kIsNumber<S>) {
    S* to = static_cast<S*>(target);
    const auto each = [=](auto length) {
      for (int64_t r = 0; r < rows; ++r)
        StoreRow<T>(length(), source + r * source_stride, to + r * stride);
    };
    if (columns == kPanel<T>)
      each([] { return int64_t{kPanel<T>}; });
    else
      each([=] { return columns; });
  } else {
    Store<T, S>(rows, columns, source, source_stride, target, stride);
  }
}

template <typename T, typename S>
void LoadTransposed(int64_t rows, int64_t columns, const void* source, int64_t stride, T scale,
                    T* target, int64_t target_stride) {
  constexpr int kW = kVector<T>;
  const S* from = static_cast<const S*>(source);
  int64_t r = 0;
  for (; columns == kW && r + kW <= rows; r += kW) {
    Vector<T> x[kW];
    ORTHO_UNROLL for (int c = 0; c < kW; ++c) x[c] = LoadVector<T>(from + c * stride + r) * scale;
    TransposeRegisters<T>(x);
    ORTHO_UNROLL for (int i = 0; i < kW; ++i) At(target + (r + i) * target_stride) = x[i];
  }
  for (; r < rows; ++r)
    for (int64_t c = 0; c < kW; ++c)
      target[r * target_stride + c] =
          c < columns ? static_cast<T>(Widen(from[c * stride + r])) * scale : T(0);
}

}  // namespace
}  // namespace ortho::cpu
