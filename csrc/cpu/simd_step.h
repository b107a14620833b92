// The elementwise half of an optimiser step (step_rule.h) in one pass over memory: every number is
// loaded, widened, narrowed and stored once. Bound by memory in float32 and float64, and in half
// types by conversions.
#pragma once

#include "cpu/simd_vector.h"
#include "cpu/step_rule.h"

namespace ortho::cpu {
namespace {

// Vectors whose work is interleaved, so that none waits for another's results.
constexpr int kStepVectors = 4;

// ---- Storage, aligned to its elements and no more
// ------------------------------------------------

template <typename T, typename S>
struct LooseVector {
  typedef T Type __attribute__((vector_size(ORTHO_VECTOR_BYTES), aligned(sizeof(S)), may_alias));
};

// kStepVectors vectors, in an order of elements that is the same for every operand of one type.
template <typename S>
struct Storage {  // float, double
  using Wide = S;
  using V = typename VectorOf<S>::V;
  static void Load(const S* p, V (&x)[kStepVectors]) {
    ORTHO_UNROLL for (int k = 0; k < kStepVectors; ++k) {
      x[k] = *reinterpret_cast<const typename LooseVector<S, S>::Type*>(p + k * kVector<S>);
    }
  }
  static void Store(const V (&x)[kStepVectors], S* p) {
    ORTHO_UNROLL for (int k = 0; k < kStepVectors; ++k) {
      *reinterpret_cast<typename LooseVector<S, S>::Type*>(p + k * kVector<S>) = x[k];
    }
  }
};

typedef uint32_t WordVector __attribute__((vector_size(ORTHO_VECTOR_BYTES)));
using FloatVector = VectorOf<float>::V;
using SignedVector = VectorOf<float>::Index;  // AVX2 compares no other integers

inline WordVector Words(uint32_t word) { return WordVector{} + word; }

// convert.h's operations, on half types in the upper half of a word. Widening takes zeros in the
// lower half, narrowing leaves anything there.
inline FloatVector WidenUpper(WordVector words, Bfloat) {
  return reinterpret_cast<FloatVector>(words);
}
inline FloatVector WidenUpper(WordVector words, Half) {
  const WordVector sign = words & 0x80000000u, one = Words(113u << 23);
  const WordVector rest = (words & 0x7fffffffu) >> 3;  // where a float has its exponent
  const SignedVector size = reinterpret_cast<SignedVector>(rest);
  const WordVector bias = size < (0x7c00 << 13) ? Words(112u << 23) : Words(224u << 23);
  const FloatVector subnormal =
      reinterpret_cast<FloatVector>(rest + one) - reinterpret_cast<FloatVector>(one);
  return reinterpret_cast<FloatVector>(
      sign | (size < (0x0400 << 13) ? reinterpret_cast<WordVector>(subnormal) : rest + bias));
}

// A NaN was widened or is the processor's own: its lower half is zeros, so that none is rounded up
// into a number.
inline WordVector NarrowToUpper(FloatVector x, Bfloat) {
  const WordVector bits = reinterpret_cast<WordVector>(x);
  return bits + 0x7fffu + ((bits >> 16) & 1u);
}
inline WordVector NarrowToUpper(FloatVector x, Half) {
  const WordVector bits = reinterpret_cast<WordVector>(x), rest = bits & 0x7fffffffu;
  const SignedVector size = reinterpret_cast<SignedVector>(rest);
  const WordVector magic = Words((127u - 15u + 23u - 10u + 1u) << 23);
  const WordVector subnormal = reinterpret_cast<WordVector>(reinterpret_cast<FloatVector>(rest) +
                                                            reinterpret_cast<FloatVector>(magic)) -
                               magic;
  const WordVector normal = (rest - (112u << 23) + 0xfffu + ((rest >> 13) & 1u)) >> 13;
  WordVector magnitude = size < (113 << 23) ? subnormal : normal;
  magnitude = size >= (143 << 23) ? Words(0x7c00u) : magnitude;
  magnitude = size > (255 << 23) ? Words(0x7e00u) : magnitude;
  return (bits & 0x80000000u) | (magnitude << 16);
}

// Every word gives an element to two vectors: nothing has to cross lanes.
template <typename S>
struct HalfStorage {
  using Wide = float;
  static void Load(const S* p, FloatVector (&x)[kStepVectors]) {
    ORTHO_UNROLL for (int k = 0; k < kStepVectors; k += 2) {
      const WordVector words =
          *reinterpret_cast<const typename LooseVector<uint32_t, S>::Type*>(p + k * kVector<float>);
      x[k] = WidenUpper(words << 16, S{});
      x[k + 1] = WidenUpper(words & 0xffff0000u, S{});
    }
  }
  static void Store(const FloatVector (&x)[kStepVectors], S* p) {
    ORTHO_UNROLL for (int k = 0; k < kStepVectors; k += 2) {
      *reinterpret_cast<typename LooseVector<uint32_t, S>::Type*>(p + k * kVector<float>) =
          (NarrowToUpper(x[k], S{}) >> 16) | (NarrowToUpper(x[k + 1], S{}) & 0xffff0000u);
    }
  }
};
template <>
struct Storage<Half> : HalfStorage<Half> {};
template <>
struct Storage<Bfloat> : HalfStorage<Bfloat> {};

// ---- The rule
// ------------------------------------------------------------------------------------

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
inline V Lerp(V from, V to, V weight, bool near) {
  const V way = to - from;
  return near ? weight * way + from : (weight - 1) * way + to;
}

template <typename S>
inline __attribute__((always_inline)) void StepGroup(
    const StepRule& rule, const StepNumbers<typename Storage<S>::Wide>& by, const S* from,
    S* buffer, S* weight, S* direction) {
  using T = typename Storage<S>::Wide;
  constexpr int kN = kStepVectors;
  typename VectorOf<T>::V g[kN], v[kN], w[kN] = {};
  Storage<S>::Load(from, g);
  ORTHO_UNROLL for (int k = 0; k < kN; ++k) g[k] = Rounded(g[k] * by.scale);
  if (rule.coupled || direction == nullptr) Storage<S>::Load(weight, w);
  if (rule.coupled) {
    ORTHO_UNROLL for (int k = 0; k < kN; ++k) g[k] = by.decay * w[k] + g[k];
  }
  if (buffer != nullptr) {
    Storage<S>::Load(buffer, v);
    if (rule.average) {
      const bool near = by.coming[0] < T(0.5);
      ORTHO_UNROLL for (int k = 0; k < kN; ++k) v[k] = Lerp(v[k], g[k], by.coming, near);
    } else {
      ORTHO_UNROLL for (int k = 0; k < kN; ++k) {
        v[k] = by.coming * g[k] + Rounded(by.carried * v[k]);
      }
    }
    Storage<S>::Store(v, buffer);
    if (!rule.nesterov) {
      ORTHO_UNROLL for (int k = 0; k < kN; ++k) g[k] = v[k];
    } else if (rule.average) {
      const bool near = by.momentum[0] < T(0.5);
      ORTHO_UNROLL for (int k = 0; k < kN; ++k) g[k] = Lerp(g[k], v[k], by.momentum, near);
    } else {
      ORTHO_UNROLL for (int k = 0; k < kN; ++k) g[k] = by.momentum * v[k] + g[k];
    }
  }
  if (direction != nullptr) return Storage<S>::Store(g, direction);
  if (rule.decoupled) {
    ORTHO_UNROLL for (int k = 0; k < kN; ++k) w[k] = Rounded(by.kept * w[k]);
  }
  ORTHO_UNROLL for (int k = 0; k < kN; ++k) w[k] = w[k] - by.lr * g[k];
  Storage<S>::Store(w, weight);
}

// What is about to be written comes from main memory, and the processor's own prefetching does not
// keep up with so many streams. Beyond the end it is a hint that goes nowhere.
template <typename S, int64_t kN>
inline void PrefetchGroup(const S* p) {
  constexpr int64_t kAhead = 2048, kLine = 64, kBytes = kN * static_cast<int64_t>(sizeof(S));
  for (int64_t at = 0; at < kBytes; at += kLine)
    __builtin_prefetch(reinterpret_cast<const char*>(p) + kAhead + at, 1);
}

template <typename S>
void Step(const StepRule& rule, double scale, int64_t n, const StepArrays& at) {
  constexpr int64_t kN = kStepVectors * kVector<typename Storage<S>::Wide>;
  const StepNumbers<typename Storage<S>::Wide> by(rule, scale);
  const S* g = static_cast<const S*>(at.g);
  S *v = static_cast<S*>(at.v), *w = static_cast<S*>(at.w), *d = static_cast<S*>(at.direction);
  for (; n >= kN; n -= kN) {
    if (v) PrefetchGroup<S, kN>(v);
    if (w) PrefetchGroup<S, kN>(w);
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
