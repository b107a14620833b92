// The elementwise half of an optimiser step (step_rule.h) in one pass over memory: every number is
// loaded, widened, narrowed and stored once. Bound by memory in float32 and float64, and in half
// types by conversions.
#pragma once

#include "cpu/convert.h"
#include "cpu/step_rule.h"
#include "cpu/vectors.h"

namespace ortho::cpu {
namespace {

// ---- Storage, aligned to its elements and no more; half types by convert.h's own operations ------

typedef uint32_t WordVector __attribute__((vector_size(ORTHO_VECTOR_BYTES)));
typedef uint16_t HalfwordVector
    __attribute__((vector_size(ORTHO_VECTOR_BYTES / 2), aligned(2), may_alias));
using FloatVector = VectorOf<float>::V;
using SignedVector = VectorOf<float>::Index;  // AVX2 compares no other integers

inline WordVector Words(uint32_t word) { return WordVector{} + word; }

inline FloatVector WidenVector(WordVector bits, Bfloat) {
  return reinterpret_cast<FloatVector>(bits << 16);
}
inline FloatVector WidenVector(WordVector bits, Half) {
  const WordVector sign = (bits & 0x8000u) << 16, rest = bits & 0x7fffu, one = Words(113u << 23);
  const SignedVector size = reinterpret_cast<SignedVector>(rest);
  const WordVector normal = (rest << 13) + (size < 0x7c00 ? Words(112u << 23) : Words(224u << 23));
  const FloatVector subnormal =
      reinterpret_cast<FloatVector>((rest << 13) + one) - reinterpret_cast<FloatVector>(one);
  return reinterpret_cast<FloatVector>(
      sign | (size < 0x0400 ? reinterpret_cast<WordVector>(subnormal) : normal));
}

inline WordVector NarrowVector(FloatVector x, Bfloat) {
  const WordVector bits = reinterpret_cast<WordVector>(x);
  return (x == x ? bits + 0x7fffu + ((bits >> 16) & 1u) : bits | 0x400000u) >> 16;
}
inline WordVector NarrowVector(FloatVector x, Half) {
  const WordVector bits = reinterpret_cast<WordVector>(x), rest = bits & 0x7fffffffu;
  const SignedVector size = reinterpret_cast<SignedVector>(rest);
  const WordVector magic = Words((127u - 15u + 23u - 10u + 1u) << 23);
  const WordVector subnormal =
      reinterpret_cast<WordVector>(reinterpret_cast<FloatVector>(rest) +
                                   reinterpret_cast<FloatVector>(magic)) -
      magic;
  const WordVector normal = (rest - (112u << 23) + 0xfffu + ((rest >> 13) & 1u)) >> 13;
  WordVector magnitude = size < (113 << 23) ? subnormal : normal;
  magnitude = size >= (143 << 23) ? Words(0x7c00u) : magnitude;
  magnitude = size > (255 << 23) ? Words(0x7e00u) : magnitude;
  return ((bits >> 16) & 0x8000u) | magnitude;
}

template <typename S>
struct Storage {  // float, double
  using Wide = S;
  using V = typename VectorOf<S>::V;
  typedef S Loose __attribute__((vector_size(ORTHO_VECTOR_BYTES), aligned(sizeof(S)), may_alias));
  static V Load(const S* p) { return *reinterpret_cast<const Loose*>(p); }
  static void Store(V x, S* p) { *reinterpret_cast<Loose*>(p) = x; }
};
template <typename S>
struct HalfStorage {
  using Wide = float;
  static FloatVector Load(const S* p) {
    const HalfwordVector bits = *reinterpret_cast<const HalfwordVector*>(p);
    return WidenVector(__builtin_convertvector(bits, WordVector), S{});
  }
  static void Store(FloatVector x, S* p) {
    *reinterpret_cast<HalfwordVector*>(p) =
        __builtin_convertvector(NarrowVector(x, S{}), HalfwordVector);
  }
};
template <>
struct Storage<Half> : HalfStorage<Half> {};
template <>
struct Storage<Bfloat> : HalfStorage<Bfloat> {};

// ---- The rule ------------------------------------------------------------------------------------

// A product that is rounded by itself: the compiler would fuse it into the sum that it goes to.
template <typename V>
inline V Rounded(V product) {
#ifdef __FMA__
  asm("" : "+v"(product));
#endif
  return product;
}

template <typename T>
struct StepNumbers {
  using V = typename VectorOf<T>::V;
  const V scale, carried, coming, momentum, decay, kept, lr;
  StepNumbers(const StepRule& rule, double by)
      : scale(All(by)),
        carried(All(rule.carried)),
        coming(All(rule.coming)),
        momentum(All(rule.momentum)),
        decay(All(rule.decay)),
        kept(All(rule.kept)),
        lr(All(rule.lr)) {}
  static V All(double x) { return Broadcast(static_cast<T>(x)); }
};

// torch.lerp's two forms: each is exact at its own end.
template <typename V>
inline V Lerp(V from, V to, V weight, bool to_is_far) {
  const V way = to - from;
  return to_is_far ? weight * way + from : (weight - 1) * way + to;
}

// Vectors whose work is interleaved, so that none waits for another's results.
constexpr int kStepVectors = 4;

template <typename S>
inline __attribute__((always_inline)) void StepGroup(
    const StepRule& rule, const StepNumbers<typename Storage<S>::Wide>& by, const S* from, S* buffer,
    S* weight, S* direction) {
  using T = typename Storage<S>::Wide;
  using V = typename VectorOf<T>::V;
  constexpr int kN = kStepVectors, kW = kVector<T>;
  V g[kN], v[kN], w[kN] = {};
  ORTHO_UNROLL for (int k = 0; k < kN; ++k) {
    g[k] = Rounded(Storage<S>::Load(from + k * kW) * by.scale);
  }
  if (direction == nullptr || rule.coupled) {
    ORTHO_UNROLL for (int k = 0; k < kN; ++k) w[k] = Storage<S>::Load(weight + k * kW);
  }
  if (rule.coupled) {
    ORTHO_UNROLL for (int k = 0; k < kN; ++k) g[k] = by.decay * w[k] + g[k];
  }
  if (buffer != nullptr) {
    ORTHO_UNROLL for (int k = 0; k < kN; ++k) v[k] = Storage<S>::Load(buffer + k * kW);
    if (rule.average) {
      const bool far = by.coming[0] < T(0.5);
      ORTHO_UNROLL for (int k = 0; k < kN; ++k) v[k] = Lerp(v[k], g[k], by.coming, far);
    } else {
      ORTHO_UNROLL for (int k = 0; k < kN; ++k) {
        v[k] = by.coming * g[k] + Rounded(by.carried * v[k]);
      }
    }
    ORTHO_UNROLL for (int k = 0; k < kN; ++k) Storage<S>::Store(v[k], buffer + k * kW);
    if (!rule.nesterov) {
      ORTHO_UNROLL for (int k = 0; k < kN; ++k) g[k] = v[k];
    } else if (rule.average) {
      const bool far = by.momentum[0] < T(0.5);
      ORTHO_UNROLL for (int k = 0; k < kN; ++k) g[k] = Lerp(g[k], v[k], by.momentum, far);
    } else {
      ORTHO_UNROLL for (int k = 0; k < kN; ++k) g[k] = by.momentum * v[k] + g[k];
    }
  }
  if (direction != nullptr) {
    ORTHO_UNROLL for (int k = 0; k < kN; ++k) Storage<S>::Store(g[k], direction + k * kW);
    return;
  }
  if (rule.decoupled) {
    ORTHO_UNROLL for (int k = 0; k < kN; ++k) w[k] = Rounded(by.kept * w[k]);
  }
  ORTHO_UNROLL for (int k = 0; k < kN; ++k) {
    Storage<S>::Store(w[k] - by.lr * g[k], weight + k * kW);
  }
}

template <typename S>
void Step(const StepRule& rule, double scale, int64_t n, const StepArrays& at) {
  constexpr int64_t kN = kStepVectors * kVector<typename Storage<S>::Wide>;
  const StepNumbers<typename Storage<S>::Wide> by(rule, scale);
  const S* g = static_cast<const S*>(at.g);
  S *v = static_cast<S*>(at.v), *w = static_cast<S*>(at.w), *d = static_cast<S*>(at.direction);
  for (; n >= kN; n -= kN) {
    StepGroup(rule, by, g, v, w, d);
    g += kN;
    if (v) v += kN;
    if (w) w += kN;
    if (d) d += kN;
  }
  if (n == 0) return;
  // What is left goes through room for a whole group.
  const auto bytes = static_cast<decltype(sizeof(S))>(n) * sizeof(S);
  S room[4][kN] = {};
  __builtin_memcpy(room[0], g, bytes);
  if (v) __builtin_memcpy(room[1], v, bytes);
  if (w) __builtin_memcpy(room[2], w, bytes);
  StepGroup(rule, by, room[0], v ? room[1] : nullptr, room[2], d ? room[3] : nullptr);
  if (v) __builtin_memcpy(v, room[1], bytes);
  if (d)
    __builtin_memcpy(d, room[3], bytes);
  else
    __builtin_memcpy(w, room[2], bytes);
}

}  // namespace
}  // namespace ortho::cpu
