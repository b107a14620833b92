// Compiler vectors of ORTHO_VECTOR_BYTES, which the file of an instruction set sets. No intrinsics:
// the compiler's vector types say all that is needed, and the same text runs at every width.
#pragma once

#include <cstdint>

namespace ortho::cpu {
namespace {

#define ORTHO_UNROLL _Pragma("GCC unroll 16")

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
constexpr int kVector = ORTHO_VECTOR_BYTES / static_cast<int>(sizeof(T));
template <typename T>
typename VectorOf<T>::V& At(T* p) {
  return *reinterpret_cast<typename VectorOf<T>::V*>(p);
}
template <typename T>
const typename VectorOf<T>::V& At(const T* p) {
  return *reinterpret_cast<const typename VectorOf<T>::V*>(p);
}

// x - 0 is x for every x, and compilers know it; 0 + x is not (for -0), and costs an addition.
template <typename T>
inline typename VectorOf<T>::V Broadcast(T x) {
  return x - typename VectorOf<T>::V{};
}

}  // namespace
}  // namespace ortho::cpu
